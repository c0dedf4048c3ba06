import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { LeshanClient, leshanClassPath, missingLeshan } from './leshan.ts';

interface Reading {
  readonly name: string;
  readonly unit: string;
  readonly value: number;
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: string;
}
interface Told {
  readonly code?: string;
  readonly state?: string;
  readonly values?: readonly { readonly path: string; readonly value: unknown; readonly unit?: string }[];
}

describe.skipIf(missingLeshan !== null)(`Eclipse Leshan${missingLeshan === null ? '' : ` (${missingLeshan})`}`, () => {
  const millrace = new Millrace({ MILLRACE_COAP_PORT: '0', MILLRACE_COAPS_PORT: '0', MILLRACE_LWM2M_AWAKE_MS: '4000' });
  const clients: LeshanClient[] = [];
  let admin: Rest;
  let classPath: string;

  beforeAll(async () => {
    [classPath] = await Promise.all([leshanClassPath(), millrace.start()]);
    admin = await Rest.asAdmin(millrace);
  }, 240_000);
  afterAll(async () => {
    for (const client of clients) await client.end();
    await millrace.dispose();
  }, 120_000);

  const coaps = (): string =>
    (JSON.parse(readFileSync(join(millrace.directory, 'run', 'ready.json'), 'utf8')) as { coaps: string }).coaps;
  const start = (...words: readonly string[]): LeshanClient => {
    const client = new LeshanClient(classPath, words);
    clients.push(client);
    return client;
  };
  const hexKey = (key: string): string => Buffer.from(key, 'utf8').toString('hex');
  const account = (publisher: Publisher, endpoint: string, more: object = {}): Promise<unknown> =>
    admin.json('PUT', `/things/${publisher.thing}/lwm2m`, { endpoint, security: 'none', ...more });
  const command = (publisher: Publisher, operation: string, body: object, wait = 30): Promise<Told> =>
    admin.json<Told>('POST', `/things/${publisher.thing}/lwm2m/${operation}?wait=${wait}`, body);
  const reading = (publisher: Publisher, name: string, value: number): Promise<Reading> =>
    eventually(`${name} ${value}`, 60_000, async () => {
      const { messages } = await publisher.rest.json<{ messages: Reading[] }>(
        'GET',
        `/channels/${publisher.channel}/messages?name=${encodeURIComponent(name)}&limit=100`,
      );
      return messages.find((each) => each.value === value) ?? false;
    });
  const registration = (publisher: Publisher): Promise<number> =>
    admin.raw('GET', `/things/${publisher.thing}/lwm2m/registration`).then(({ status }) => status);

  /** What a server and a client have to do with each other, whatever they speak over. */
  async function converse(client: LeshanClient, publisher: Publisher): Promise<void> {
    await client.said('REGISTERED /rd/');
    // Observed since the registration, as the account says.
    expect(await reading(publisher, '/3303/0/5700', 20)).toMatchObject({
      unit: 'Cel',
      subtopic: 'lwm2m',
      publisher: publisher.thing,
      protocol: 'coap',
    });
    client.tell('set 25.5');
    await reading(publisher, '/3303/0/5700', 25.5);
    for (const [index, format] of ['json', 'cbor'].entries()) {
      client.tell(`set ${30 + index}`);
      client.tell(`send ${format}`);
      expect(await client.said('SENT', index + 1)).toContain('204');
      await reading(publisher, '/3303/0/5700', 30 + index);
    }
    for (const format of ['tlv', 'senml-cbor', 'senml-json', 'json', undefined]) {
      const told = await command(publisher, 'read', { path: '/3303/0', ...(format === undefined ? {} : { format }) });
      expect(told.values).toContainEqual(
        expect.objectContaining({ path: '/3303/0/5700', value: 31, unit: 'Cel', name: 'Sensor Value' }),
      );
    }
    expect(await command(publisher, 'read', { path: '/3/0/9', format: 'text' })).toMatchObject({
      values: [{ path: '/3/0/9', value: 87, unit: '%' }],
    });
    await command(publisher, 'write', { path: '/3303/0/5750', value: 'kitchen' });
    await client.said('WRITTEN /3303/0/5750 kitchen');
    await command(publisher, 'execute', { path: '/3303/0/5605' });
    await client.said('EXECUTED /3303/0/5605');
    expect(await command(publisher, 'discover', { path: '/3303' })).toMatchObject({ code: '2.05' });
    const refused = await admin.raw(
      'POST',
      `/things/${publisher.thing}/lwm2m/read?wait=30`,
      JSON.stringify({ path: '/3303/0/5605' }),
      { 'content-type': 'application/json' },
    );
    expect([refused.status, await refused.text()]).toEqual([502, expect.stringContaining('4.05')]);
    client.tell('update');
    await client.said('UPDATED');
    client.tell('quit');
    await client.said('DEREGISTERED');
    await eventually('the registration to be over', 20_000, async () => (await registration(publisher)) === 404);
  }
  const OBSERVED = { observe: [{ path: '/3303/0/5700', attributes: 'pmin=0&pmax=30' }] };

  test('over CoAP: reports, commands, update, end', async () => {
    const publisher = await newPublisher(admin, 'leshan');
    await account(publisher, 'urn:test:plain', OBSERVED);
    await converse(start(millrace.coap, 'urn:test:plain'), publisher);
  }, 240_000);

  test.each([
    ['without a connection id', []],
    ['with an empty one of its own', ['--cid', '0']],
    ['with one of four bytes', ['--cid', '4']],
  ])(
    'over CoAPS %s: the same, as the thing',
    async (_, words) => {
      const publisher = await newPublisher(admin, 'leshan');
      await account(publisher, `urn:test:${publisher.thing}`, { ...OBSERVED, security: 'dtls' });
      const client = start(
        coaps(),
        `urn:test:${publisher.thing}`,
        ...['--psk', publisher.thing, hexKey(publisher.key)],
        ...words,
      );
      await converse(client, publisher);
    },
    240_000,
  );

  test('over CoAPS without an account, by the id of the thing', async () => {
    const publisher = await newPublisher(admin, 'leshan');
    const client = start(coaps(), publisher.thing, '--psk', publisher.thing, hexKey(publisher.key));
    await client.said('REGISTERED /rd/');
    client.tell('send cbor');
    await client.said('SENT');
    await reading(publisher, '/3303/0/5700', 20);
  }, 120_000);

  test('under the name of another thing, or without DTLS where it is needed, is forbidden', async () => {
    const publisher = await newPublisher(admin, 'leshan');
    const other = await newPublisher(admin, 'other');
    await account(other, 'urn:test:other', { security: 'dtls' });
    const words = ['--psk', publisher.thing, hexKey(publisher.key)];
    expect(await start(coaps(), 'urn:test:other', ...words).said('REGISTRATION FAILED')).toContain('FORBIDDEN');
    expect(await start(millrace.coap, 'urn:test:other').said('REGISTRATION FAILED')).toContain('FORBIDDEN');
  }, 120_000);

  test('in queue mode hears its commands when it wakes', async () => {
    const publisher = await newPublisher(admin, 'leshan');
    await account(publisher, 'urn:test:queue');
    const client = start(millrace.coap, 'urn:test:queue', '--queue');
    await client.said('REGISTERED /rd/');
    expect(await admin.json('GET', `/things/${publisher.thing}/lwm2m/registration`)).toMatchObject({
      queue_mode: true,
    });
    // Beyond its time awake.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    const write = await command(publisher, 'write', { path: '/3303/0/5750', value: 'cellar' }, 1);
    expect(write.state).toBe('queued');
    expect(client.lines.some((line) => line.startsWith('WRITTEN'))).toBe(false);
    client.tell('update');
    await client.said('WRITTEN /3303/0/5750 cellar');
  }, 120_000);

  test('takes firmware in, and tells how it goes', async () => {
    const publisher = await newPublisher(admin, 'leshan');
    await account(publisher, 'urn:test:firmware', { observe: [{ path: '/5/0/3' }, { path: '/5/0/5' }] });
    const client = start(millrace.coap, 'urn:test:firmware');
    await client.said('REGISTERED /rd/');
    await reading(publisher, '/5/0/5', 0);
    const base64 = Buffer.alloc(20_000, 7).toString('base64');
    await command(publisher, 'write', { path: '/5/0/0', value: { base64 } });
    await client.said('WRITTEN /5/0/0 20000 bytes');
    await reading(publisher, '/5/0/3', 2);
    await command(publisher, 'execute', { path: '/5/0/2' });
    await client.said('EXECUTED /5/0/2');
    await reading(publisher, '/5/0/5', 1);
    await command(publisher, 'write', { path: '/5/0/1', value: 'coap://192.0.2.1/firmware' });
    await client.said('WRITTEN /5/0/1 coap://192.0.2.1/firmware');
  }, 120_000);

  test('is bootstrapped over CoAPS to a server with the key of its thing, and over CoAP to one without', async () => {
    for (const secure of [true, false]) {
      const publisher = await newPublisher(admin, 'leshan');
      const endpoint = `urn:test:bootstrap:${publisher.thing}`;
      await account(publisher, endpoint, {
        security: secure ? 'dtls' : 'none',
        bootstrap: { servers: [{ short_id: 7, uri: secure ? coaps() : millrace.coap, lifetime: 300 }] },
      });
      const words = secure ? ['--psk', publisher.thing, hexKey(publisher.key)] : [];
      const client = start(secure ? coaps() : millrace.coap, endpoint, '--bootstrap', ...words);
      await client.said('BOOTSTRAPPED');
      await client.said('REGISTERED /rd/');
      expect(await command(publisher, 'read', { path: '/1/0/0' })).toMatchObject({ values: [{ value: 7 }] });
      client.tell('quit');
      await client.said('DEREGISTERED');
    }
  }, 240_000);

  test('is bootstrapped with the external key of its thing, which is good for nothing else', async () => {
    const publisher = await newPublisher(admin, 'leshan');
    const [name, key] = [`factory-${publisher.thing}`, 'external-key-of-the-factory'];
    await admin.json('PATCH', `/things/${publisher.thing}`, { external_id: name, external_key: key });
    await account(publisher, `urn:test:${name}`, {
      security: 'dtls',
      bootstrap: { servers: [{ short_id: 7, uri: coaps(), lifetime: 300 }] },
    });
    const words = [`urn:test:${name}`, '--psk', name, hexKey(key)];
    expect(await start(coaps(), ...words).said('REGISTRATION FAILED')).toContain('FORBIDDEN');
    const client = start(coaps(), ...words, '--bootstrap');
    await client.said('BOOTSTRAPPED');
    await client.said('REGISTERED /rd/');
    expect(await registration(publisher)).toBe(200);
  }, 120_000);

  test('goes on after the node was killed: its update finds the registration, and it is observed anew', async () => {
    const publisher = await newPublisher(admin, 'leshan');
    await account(publisher, 'urn:test:restart', OBSERVED);
    const port = new URL(millrace.coap.replace('coap:', 'http:')).port;
    const client = start(millrace.coap, 'urn:test:restart');
    await client.said('REGISTERED /rd/');
    await reading(publisher, '/3303/0/5700', 20);
    await millrace.end('SIGKILL');
    (millrace.environment as Record<string, string>).MILLRACE_COAP_PORT = port;
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    const rest = admin.as(`Thing ${publisher.key}`);
    client.tell('update');
    await client.said('UPDATED');
    client.tell('set 33');
    await reading({ ...publisher, rest }, '/3303/0/5700', 33);
    expect(client.lines.filter((line) => line.startsWith('REGISTERED'))).toHaveLength(1);
  }, 240_000);
});
