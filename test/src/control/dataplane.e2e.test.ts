import mqtt, { type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';

interface Found {
  readonly name: string;
  readonly time: number;
  readonly value?: number;
}
interface AuditPage {
  readonly entries: readonly {
    readonly action: string;
    readonly outcome: string;
    readonly protocol: string | null;
    readonly actor: { readonly kind: string; readonly id: string | null };
  }[];
}

/** So long something may take on a machine that is busy with everything else. */
const SOON_MS = 30_000;

describe('what the control plane says, the data plane does', { timeout: 120_000 }, () => {
  const millrace = new Millrace();
  const clients: MqttClient[] = [];
  let admin: Rest;
  let publisher: Publisher;

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);
  beforeEach(async () => {
    publisher = await newPublisher(admin, 'subject');
  }, 60_000);
  afterEach(async () => {
    for (const client of clients.splice(0)) await client.endAsync(true).catch(() => undefined);
  });

  const topic = (): string => `channels/${publisher.channel}/messages`;

  /** A client that does not come back by itself.  @throws what CONNACK says */
  async function connect(options: IClientOptions = {}): Promise<{ client: MqttClient; payloads: string[] }> {
    const { thing, key } = publisher;
    const client = mqtt.connect(millrace.mqtt, { username: thing, password: key, reconnectPeriod: 0, ...options });
    clients.push(client);
    const payloads: string[] = [];
    client.on('message', (_topic, payload) => payloads.push(payload.toString()));
    client.on('error', () => undefined);
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
      client.once('close', () => reject(new Error('closed')));
    });
    return { client, payloads };
  }
  const ended = (client: MqttClient): Promise<true> =>
    eventually('the connection ends', SOON_MS, async () => !client.connected && (true as const));

  async function post(body: unknown, contentType = 'application/json', subtopic = ''): Promise<Response> {
    return publisher.rest.raw('POST', `/${topic()}${subtopic}`, JSON.stringify(body), { 'content-type': contentType });
  }
  async function found(count: number): Promise<readonly Found[]> {
    return eventually(`${count} readings`, SOON_MS, async () => {
      const { messages } = await admin.json<{ messages: Found[] }>('GET', `/${topic()}?limit=100`);
      return messages.length >= count && messages.toReversed();
    });
  }
  const change = (body: unknown): Promise<unknown> => admin.json('PATCH', `/channels/${publisher.channel}`, body);

  describe('a frozen organisation', () => {
    let org: string;
    beforeEach(async () => {
      ({ org } = await admin.json<{ org: string }>('GET', `/things/${publisher.thing}`));
    });
    afterEach(() => admin.json('POST', `/orgs/${org}/unfreeze`));

    test('gets nothing in or out, and a session loses nothing of what came before', async () => {
      const session = { clientId: 'subscriber', clean: false };
      const away = await connect(session);
      await away.client.subscribeAsync(`${topic()}/#`, { qos: 1 });
      await away.client.endAsync();
      const { client: online, payloads } = await connect({ clientId: 'online', clean: false });
      await online.subscribeAsync(`${topic()}/#`, { qos: 1 });
      for (let index = 0; index < 5; index++) expect((await post({ index }, undefined, '/a')).status).toBe(202);
      await eventually('what was published before comes', SOON_MS, async () => payloads.length === 5);

      await admin.json('POST', `/orgs/${org}/freeze`);
      await ended(online);
      expect((await post({ index: 99 })).status).toBe(403);
      await expect(connect(session)).rejects.toThrow(/Not authorized/);

      await admin.json('POST', `/orgs/${org}/unfreeze`);
      await eventually(
        'it is let in again',
        SOON_MS,
        async () => (await post({ index: 5 }, undefined, '/a')).status === 202,
      );
      const back = await connect(session);
      await eventually('all comes', SOON_MS, async () => back.payloads.length >= 6);
      expect(back.payloads).toEqual(Array.from({ length: 6 }, (_, index) => JSON.stringify({ index })));
      const again = await connect({ clientId: 'online', clean: false });
      await eventually('it goes on where it stood', SOON_MS, async () => again.payloads.includes('{"index":5}'));
      expect(again.payloads.at(-1)).toBe('{"index":5}');
    });
  });

  test('a subscription outlasts the time that its channel is disabled', async () => {
    const { client, payloads } = await connect();
    await client.subscribeAsync(topic(), { qos: 1 });
    for (let round = 0; round < 3; round++) {
      await admin.json('POST', `/channels/${publisher.channel}/disable`);
      expect((await post({ round: -1 })).status).toBe(403);
      await admin.json('POST', `/channels/${publisher.channel}/enable`);
      expect((await post({ round })).status).toBe(202);
      await eventually('it goes on', SOON_MS, async () => payloads.length === round + 1);
    }
    expect(payloads).toEqual(['{"round":0}', '{"round":1}', '{"round":2}']);
    expect(client.connected).toBe(true);
  });

  describe('a token instead of a key', () => {
    test('lets a thing in by MQTT until it expires; then the connection ends', async () => {
      const { token } = await publisher.rest.json<{ token: string }>('POST', '/things/token', { seconds: 5 });
      const begun = performance.now();
      const { client } = await connect({ username: '', password: token });
      await client.publishAsync(topic(), '{"a":1}', { qos: 1 });
      await ended(client);
      expect(performance.now() - begun).toBeLessThan(SOON_MS);
      await expect(connect({ username: publisher.thing, password: token })).rejects.toThrow();
      await found(1);
    });

    test('must be of whom the user name names', async () => {
      const { token } = await publisher.rest.json<{ token: string }>('POST', '/things/token', { seconds: 600 });
      const other = await newPublisher(admin, 'other');
      await expect(connect({ username: other.thing, password: token })).rejects.toThrow(/Bad username or password/i);
      await connect({ username: publisher.thing, password: token });
    });

    test('of a user may do what its scope covers, and ends when it is revoked', async () => {
      const { id, secret } = await admin.json<{ id: string; secret: string }>('POST', '/keys', {
        name: 'publisher',
        grants: [{ actions: ['publish'], resources: [`channels/${publisher.channel}/*`] }],
      });
      expect(secret).toMatch(/^mrk_/);
      const { client } = await connect({ username: '', password: secret });
      await client.publishAsync(topic(), '{"a":1}', { qos: 1 });
      const [granted] = await client.subscribeAsync(topic(), { qos: 1 }).catch(() => [{ qos: 128 }]);
      expect(granted?.qos ?? 128).toBe(128);
      await admin.json('DELETE', `/keys/${id}`);
      await ended(client);
    });
  });

  describe("a channel's profile", () => {
    test('says which member holds the time, what is kept, and holds from its change on', async () => {
      await change({ profile: { time_field: 'meta.at', time_format: 'ms', fields: ['temp*'] } });
      const body = [
        { meta: { at: 1_700_000_000_000 }, temperature: 20, other: 1 },
        { meta: { at: 'soon' }, temperature: 21 },
        { meta: { at: 1_700_000_001_500 }, temperature: 22 },
      ];
      const sent = await post(body);
      expect(sent.status).toBe(202);
      expect(await found(2)).toMatchObject([
        { name: 'temperature', time: 1_700_000_000, value: 20 },
        { name: 'temperature', time: 1_700_000_001.5, value: 22 },
      ]);
      const { id } = (await sent.json()) as { id: string };
      const dead = await eventually('its dead letter', SOON_MS, async () => {
        const page = await admin.json<{ dead_letters: object[] }>('GET', `/dead-letters?message=${id}`);
        return page.dead_letters.length > 0 && page.dead_letters;
      });
      expect(dead).toMatchObject([{ index: 1, reason: 'bad_time' }]);

      const left = await post([{ n: 'humidity', v: 1 }], 'application/senml+json');
      const { id: filtered } = (await left.json()) as { id: string };
      const fate = await eventually('its fate', SOON_MS, async () => {
        const told = await admin.json<{ status: string; reason?: string }>('GET', `/messages/${filtered}`);
        return told.status !== 'accepted' && told;
      });
      expect(fate.reason).toBe('filtered');

      await change({ profile: {} });
      await post([{ n: 'humidity', v: 2, t: 1_700_000_003 }], 'application/senml+json');
      expect((await found(3)).map(({ name }) => name)).toEqual(['temperature', 'temperature', 'humidity']);
    });
  });

  describe("a channel's limits", () => {
    test('hold for HTTP and MQTT from their change on, until they are lifted', async () => {
      const { client } = await connect();
      await client.publishAsync(topic(), '{"a":1}', { qos: 1 });
      await change({ limits: { payload_bytes_max: 10 } });
      expect((await post({ text: 'much too long' })).status).toBe(413);
      client.publish(topic(), '{"text":"much too long"}', { qos: 1 });
      await ended(client);
      await change({ limits: { messages_per_second: 0.01 } });
      expect((await post({ a: 1 })).status).toBe(202);
      const refused = await post({ a: 1 });
      expect(refused.status).toBe(429);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(1);
      await change({ limits: {} });
      expect((await post({ a: 1 })).status).toBe(202);
    });
  });

  test('what a thing was refused by any protocol stands in the audit', async () => {
    const stranger = await newPublisher(admin, 'stranger');
    const path = `/channels/${stranger.channel}/messages`;
    expect((await publisher.rest.raw('POST', path, '{"a":1}', { 'content-type': 'application/json' })).status).toBe(
      403,
    );
    const { client } = await connect();
    client.publish(`channels/${stranger.channel}/messages/x`, '{"a":1}', { qos: 1 });
    await ended(client);
    const second = await connect();
    await second.client.subscribeAsync(`channels/${stranger.channel}/messages`, { qos: 1 }).catch(() => undefined);
    await eventually('the entries', SOON_MS, async () => {
      const { entries } = await admin.json<AuditPage>(
        'GET',
        `/audit?outcome=denied&limit=100&actor=${publisher.thing}`,
      );
      const told = entries.map(({ action, protocol }) => `${protocol} ${action}`);
      return ['http publish', 'mqtt publish', 'mqtt subscribe'].every((each) => told.some((one) => one.includes(each)));
    });
  });

  test('a thing is online while it is connected, and was last seen by what it did last', async () => {
    const presence = () =>
      admin.json<{ online: boolean; protocol: string | null }>('GET', `/things/${publisher.thing}/presence`);
    const { client } = await connect();
    await eventually('it is online', SOON_MS, async () => (await presence()).online);
    expect((await presence()).protocol).toBe('mqtt');
    await client.endAsync();
    await eventually('it is offline', SOON_MS, async () => !(await presence()).online);
    const other = await newPublisher(admin, 'by http');
    publisher = other;
    await post({ a: 1 });
    await eventually('it was seen', SOON_MS, async () => (await presence()).protocol === 'http');
  });
});
