import {
  type DeadLetter,
  EnvelopeEncoder,
  type Log,
  type MessageFate,
  Protocol,
  parseUuid,
  type Reading,
  type Started,
  uuidV7,
} from '@millrace/core';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Registry } from '../registry.ts';
import { ADMIN, Client, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { frame } from '../testing/stand-ins.ts';

describe('queries', () => {
  let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
  let registry: Started<Registry>;
  let client: Client;
  let admin: Client;
  let stranger: Client;
  let device: Client;
  let thing: { id: string; org: string };
  let channel: { id: string };

  beforeAll(async () => {
    postgres = await temporaryPostgres();
    registry = await startRegistry(postgres.url);
    client = Client.over(registry.value);
    admin = await client.asUser(ADMIN.email, ADMIN.password);
    await client.call('POST', '/users', { email: 's@example.org', password: '12345678' });
    stranger = await client.asUser('s@example.org', '12345678');
    const made = (await admin.call('POST', '/things', {})).body;
    thing = made;
    channel = (await admin.call('POST', '/channels', { alias: 'hall' })).body;
    await admin.call('POST', '/connect', { channel_ids: [channel.id], thing_ids: [thing.id] });
    device = client.as(`Basic ${Buffer.from(`${made.id}:${made.key}`).toString('base64')}`);
  });
  beforeEach(() => {
    client.store.asked = null;
    client.store.given = [];
  });
  afterAll(async () => {
    await registry?.stop();
    await postgres?.dispose();
  });

  const reading = (more: Partial<Reading> = {}): Reading => ({
    channel: channel.id,
    subtopic: '',
    publisher: thing.id,
    protocol: 'http',
    name: 't',
    unit: '',
    timeNs: '1792000000123456789',
    ...more,
  });

  test('gives readings by the names of the classic dialect, and leaves out what is absent', async () => {
    client.store.given = [
      reading({ unit: 'Cel', value: 0, sum: 5, updateTime: 60 }),
      reading({ name: 's', stringValue: '' }),
      reading({ name: 'b', boolValue: false }),
      reading({ name: 'd', dataValue: 'AQI', subtopic: 'a/b' }),
    ];
    const { status, body } = await device.call('GET', '/channels/hall/messages');
    expect(status).toBe(200);
    const shared = {
      channel: channel.id,
      subtopic: '',
      publisher: thing.id,
      protocol: 'http',
      time: 1792000000.123456,
    };
    expect(body).toEqual({
      total: 4,
      offset: 0,
      limit: 10,
      messages: [
        { ...shared, name: 't', unit: 'Cel', value: 0, sum: 5, update_time: 60 },
        { ...shared, name: 's', string_value: '' },
        { ...shared, name: 'b', bool_value: false },
        { ...shared, subtopic: 'a/b', name: 'd', data_value: 'AQI' },
      ],
    });
  });

  test('writes times as asked for, ns without loss', async () => {
    client.store.given = [reading()];
    const text = async (format: string) =>
      (await (await device.raw('GET', `/channels/hall/messages?time=${format}`)).text()).match(/"time":([^,}]+)/)?.[1];
    expect(await text('s')).toBe('1792000000.123456');
    expect(await text('ms')).toBe('1792000000123');
    expect(await text('us')).toBe('1792000000123456');
    expect(await text('ns')).toBe('1792000000123456789');
    expect(await text('rfc3339')).toBe('"2026-10-14T17:46:40.123456789Z"');
  });

  test('passes every parameter on to the store', async () => {
    const parameters =
      'offset=5&limit=20&name=t&subtopic=a/b&publisher=p&protocol=mqtt&from=1.5&to=2026-01-01T00:00:00Z&v=0&vs=x&vb=false&vd=AQI=&comparator=ge&order=name&dir=desc&total=exact';
    expect((await device.call('GET', `/channels/${channel.id}/messages?${parameters}`)).status).toBe(200);
    expect(client.store.asked).toEqual({
      org: thing.org,
      channel: channel.id,
      offset: 5,
      limit: 20,
      name: 't',
      subtopic: 'a/b',
      publisher: 'p',
      protocol: 'mqtt',
      fromUs: 1_500_000n,
      toUs: 1_767_225_600_000_000n,
      value: { comparator: 'ge', operand: 0 },
      stringValue: { comparator: 'ge', operand: 'x' },
      boolValue: false,
      dataValue: 'AQI',
      order: 'name',
      direction: 'desc',
      total: 'exact',
    });
  });

  test('names the parameter that is wrong', async () => {
    for (const wrong of [
      'from=yesterday',
      'to=2026-13-01T00:00:00Z',
      'v=ten',
      'v=1e999',
      'vb=yes',
      'vd=+',
      'comparator=like',
      'order=value',
      'dir=up',
      'time=h',
      'protocol=smtp',
      'limit=1001',
      'total=all',
    ]) {
      const answer = await device.call('GET', `/channels/hall/messages?${wrong}`);
      expect([wrong, answer.status]).toEqual([wrong, 400]);
      expect(answer.body.detail).toContain(`"${wrong.split('=')[0]}"`);
    }
  });

  test('a payload comes back byte for byte, and can not become a page of ours', async () => {
    const id = uuidV7();
    const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
    client.store.payloadBytes.set(id, {
      id,
      org: thing.org,
      channel: channel.id,
      subtopic: '',
      publisher: 'another',
      protocol: 'http',
      contentType: 'text/html',
      receivedUs: '0',
      size: 256,
      bytes,
    });
    const response = await device.raw('GET', `/messages/${id}/payload`);
    expect(new Uint8Array(await response.arrayBuffer())).toEqual(bytes);
    expect(response.headers.get('content-type')).toBe('text/html');
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('content-disposition')).toMatch(/^attachment/);
    expect((await stranger.call('GET', `/messages/${id}/payload`)).status).toBe(404);
    expect((await device.call('GET', `/messages/${uuidV7()}/payload`)).status).toBe(404);
  });

  const fate = (more: Partial<MessageFate> = {}): MessageFate => ({
    id: uuidV7(),
    org: thing.org,
    channel: channel.id,
    subtopic: '',
    publisher: thing.id,
    protocol: 'http',
    contentType: 'application/senml+json',
    receivedUs: '1792000000123456',
    size: 30,
    partition: 3,
    offset: 17,
    decision: 'admitted',
    readings: 2,
    deadLetters: 0,
    stored: 'readings',
    reason: '',
    ...more,
  });

  test('tells the fate of a message that is stored, and of one that is dead', async () => {
    const stored = fate();
    const dead = fate({ readings: 0, stored: 'nothing', reason: 'malformed_json', deadLetters: 1 });
    client.store.fates.set(stored.id, stored).set(dead.id, dead);
    expect((await device.call('GET', `/messages/${stored.id}`)).body).toMatchObject({
      id: stored.id,
      status: 'stored',
      received: '2026-10-14T17:46:40.123456Z',
      readings: 2,
      log: { partition: 3, offset: 17 },
    });
    const answer = (await admin.call('GET', `/messages/${dead.id.toUpperCase()}`)).body;
    expect(answer).toMatchObject({
      status: 'dead',
      reason: 'malformed_json',
      detail: 'The payload is no well-formed JSON.',
    });
    expect((await stranger.call('GET', `/messages/${stored.id}`)).status).toBe(404);
    expect((await device.call('GET', '/messages/none')).status).toBe(404);
    // Its ids, but of another organisation, which had them before.
    const foreign = fate({ org: uuidV7() });
    client.store.fates.set(foreign.id, foreign);
    expect((await device.call('GET', `/messages/${foreign.id}`)).status).toBe(404);
  });

  test('finds a message that waits in the log', async () => {
    const encoder = new EnvelopeEncoder();
    const envelope = (id: string, org: string): Uint8Array =>
      encoder
        .encode({
          id: parseUuid(id) as Uint8Array,
          org,
          channel: channel.id,
          subtopic: 's',
          publisher: thing.id,
          protocol: Protocol.mqtt,
          contentType: 'text/plain',
          receivedUs: 1_792_000_000_123_456,
          payload: new Uint8Array(7),
        })
        .slice();
    const [waiting, foreign, processed] = [uuidV7(), uuidV7(), uuidV7()];
    const records = [
      envelope(processed, thing.org),
      Uint8Array.of(1, 2, 3),
      envelope(waiting, thing.org),
      envelope(foreign, uuidV7()),
    ];
    const log = {
      partitionCount: 2,
      extent: async (partition: number) => ({ earliest: 0, next: partition === 1 ? records.length : 0 }),
      committed: async () => ({ offset: 1, metadata: '' }),
      // One record a look, so that the scan has to go on.
      peek: async (partition: number, from: number) =>
        from < records.length ? frame(partition, from, [records[from] as Uint8Array]) : null,
    } as unknown as Log;
    const over = Client.over(registry.value, { log });
    const asDevice = await over.asUser(ADMIN.email, ADMIN.password);
    expect((await asDevice.call('GET', `/messages/${waiting}`)).body).toMatchObject({
      id: waiting,
      status: 'accepted',
      protocol: 'mqtt',
      subtopic: 's',
      size: 7,
      log: { partition: 1, offset: 2 },
    });
    expect((await asDevice.call('GET', `/messages/${processed}`)).status).toBe(404);
    expect((await (await over.asUser('s@example.org', '12345678')).call('GET', `/messages/${foreign}`)).status).toBe(
      404,
    );
  });

  test('lists dead letters, text as text and bytes as base64', async () => {
    const { decision: _, readings: __, deadLetters: ___, stored: ____, size: _____, id, ...where } = fate();
    const letter = (payload: Uint8Array): DeadLetter => ({
      ...where,
      message: id,
      index: null,
      reason: 'malformed_json',
      detail: '',
      payload,
      size: payload.length,
      cursor: '',
    });
    client.store.dead = [letter(Buffer.from('{"é":')), letter(Uint8Array.of(0xff, 0xfe))];
    const { body } = await admin.call('GET', '/dead-letters');
    expect(body).toMatchObject({
      total: 2,
      dead_letters: [
        { id, index: null, reason: 'malformed_json', payload: '{"é":', encoding: 'utf8' },
        { payload: '//4=', encoding: 'base64' },
      ],
    });
    expect((await device.call('GET', '/dead-letters')).status).toBe(403);
  });

  test('says whether it is ready, what it is, and what it can do', async () => {
    // A check that takes three seconds counts as failed: it may, while everything else runs beside.
    await expect
      .poll(() => client.call('GET', '/health/ready'), { timeout: 25_000 })
      .toMatchObject({ status: 200, body: { status: 'pass', checks: { registry: 'pass', store: 'pass' } } });
    client.store.healthy = 'the disk is full';
    expect(await client.call('GET', '/health/ready')).toMatchObject({
      status: 503,
      body: { error: 'the disk is full' },
    });
    // For a load balancer before nodes that take messages all the same.
    expect(await client.call('GET', '/health/ready?exclude=store,postgres')).toMatchObject({
      status: 200,
      body: { status: 'pass', checks: { registry: 'pass' } },
    });
    client.store.healthy = null;
    expect((await client.call('GET', '/version')).body).toEqual({ name: 'millrace', version: '1.2.3' });
    expect((await client.call('GET', '/metrics')).body).toContain('millrace_control_request_seconds');
    expect((await client.call('GET', '/.well-known/jwks.json')).body.keys[0]).not.toHaveProperty('d');
    const document = (await client.call('GET', '/openapi.json')).body;
    expect(document.openapi).toBe('3.1.0');
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining(['/things/{id}', '/connect', '/messages/{id}', '/channels/{id}/messages']),
    );
    const page = (await client.call('GET', '/docs')).body as string;
    expect(page).toContain('/things/{id}');
    // Nothing is loaded from elsewhere.
    expect(page).not.toMatch(/<script|<link|(?:src|href)="https?:|url\(|@import/);
  });
});
