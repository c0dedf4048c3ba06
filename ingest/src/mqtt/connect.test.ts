import { generate as generatePacket, type IConnectPacket } from 'mqtt-packet';
import { afterEach, describe, expect, test } from 'vitest';
import { CHANNEL, KEY, THING } from '../testing/gate.ts';
import { type OpenMqtt, openMqtt, TOPIC } from './testing/open-mqtt.ts';
import { connectPacket, RawMqtt } from './testing/raw-mqtt.ts';
import { RegistryAway } from './testing/registry-away.ts';
import { until } from './testing/until.ts';

let mqtt: OpenMqtt;
const clients: RawMqtt[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await mqtt.close();
});

function opened(): RawMqtt {
  const client = new RawMqtt(mqtt.port);
  clients.push(client);
  return client;
}
const known: Partial<IConnectPacket> = { username: THING, password: Buffer.from(KEY) };

/** The return code of CONNACK; the connection is over unless it is 0. */
async function answered(fields: Partial<IConnectPacket>): Promise<number> {
  const client = opened().send(connectPacket(fields));
  const { returnCode = -1 } = await client.next('connack');
  if (returnCode !== 0) await client.end();
  return returnCode;
}

describe('CONNECT', () => {
  test('lets in who shows a key, with or without the name of its thing', async () => {
    mqtt = await openMqtt();
    expect(await answered(known)).toBe(0);
    expect(await answered({ password: Buffer.from(KEY), username: '' })).toBe(0);
    expect(await mqtt.count('millrace_mqtt_connects_total', { result: 'accepted' })).toBe(2);
  });

  test.each([
    ['nothing', {}, 4],
    ['an unknown key', { username: THING, password: Buffer.from('no such key') }, 4],
    ["another thing's name", { username: 'somebody', password: Buffer.from(KEY) }, 4],
    ['a name alone', { username: THING }, 4],
    ['the key of a disabled thing', { username: THING, password: Buffer.from('disabled-key') }, 5],
    ['a client id with a control character', { ...known, clientId: 'a\u0007' }, 2],
    ['a client id of 300 bytes', { ...known, clientId: 'x'.repeat(300) }, 2],
    ['no client id for a session that is kept', { ...known, clientId: '', clean: false }, 2],
  ] as const)('refuses who shows %s', async (_what, fields, code) => {
    mqtt = await openMqtt();
    if ('clientId' in fields && fields.clientId === '') {
      // The codec does not write it.
      const bytes = generatePacket(connectPacket({ ...known, clientId: 'x', clean: false }));
      const at = bytes.indexOf(Buffer.from([0, 1, 'x'.charCodeAt(0)]));
      bytes[1] = (bytes[1] as number) - 1;
      const client = opened().send(Buffer.concat([bytes.subarray(0, at), Buffer.from([0, 0]), bytes.subarray(at + 3)]));
      expect((await client.next('connack')).returnCode).toBe(code);
      await client.end();
    } else expect(await answered(fields)).toBe(code);
  });

  test.each(['mrk_0123456789abcdef', 'eyJhbGciOiJFUzI1NiJ9.payload.signature'])(
    'takes %s for what it is, a bearer',
    async (token) => {
      mqtt = await openMqtt();
      const password = Buffer.from(token);
      expect(await answered({ username: '', password })).toBe(4);
      mqtt.gate.tokens.set(token, KEY);
      expect(await answered({ username: '', password })).toBe(0);
      expect(await answered({ username: THING, password })).toBe(0);
      expect(await answered({ username: THING.toUpperCase(), password })).toBe(0);
      expect(await answered({ username: 'token', password })).toBe(0);
      // Whose id it is not.
      expect(await answered({ username: CHANNEL, password })).toBe(4);
    },
  );

  test('is over soon after its token no longer holds', async () => {
    mqtt = await openMqtt();
    const token = 'eyJhbGciOiJFUzI1NiJ9.payload.signature';
    mqtt.gate.tokens.set(token, KEY);
    const client = await mqtt.client({ username: '', password: Buffer.from(token) });
    mqtt.gate.tokens.delete(token);
    mqtt.gate.revoke(KEY);
    await client.end();
    expect(await mqtt.count('millrace_mqtt_closes_total', { reason: 'revoked' })).toBe(1);
  });

  test('by an API key opens a session of its own, which is not its owner’s', async () => {
    mqtt = await openMqtt();
    for (const [token, id] of [
      ['mrk_one', 'scope-1'],
      ['mrk_other', 'scope-2'],
    ] as const) {
      mqtt.gate.tokens.set(token, KEY);
      mqtt.gate.scopes.set(token, { id, org: null, grants: [] });
    }
    const kept = { clientId: 'same', clean: false };
    const present = async (fields: Partial<IConnectPacket>): Promise<boolean | undefined> => {
      const client = opened().send(connectPacket({ ...kept, ...fields }));
      return (await client.next('connack')).sessionPresent;
    };
    const owner = await mqtt.client(kept);
    for (const token of ['mrk_one', 'mrk_other']) {
      expect(await present({ username: '', password: Buffer.from(token) })).toBe(false);
      expect(await present({ username: '', password: Buffer.from(token) })).toBe(true);
    }
    owner.send({ cmd: 'pingreq' });
    await owner.next('pingresp');
    expect(await present(known)).toBe(true);
    await owner.end();
  });

  test('is unavailable while the registry is away', async () => {
    mqtt = await openMqtt();
    mqtt.gate.failure = new RegistryAway();
    expect(await answered(known)).toBe(3);
    mqtt.gate.failure = null;
    expect(await answered(known)).toBe(0);
  });

  test('of MQTT 5 is answered in its own form, of no known level with 1, of no MQTT not at all', async () => {
    mqtt = await openMqtt();
    const five = opened().send(generatePacket(connectPacket({ ...known, protocolVersion: 5 })));
    const bytes: Buffer[] = [];
    five.socket.on('data', (chunk: Buffer) => bytes.push(chunk));
    await five.end();
    expect(Buffer.concat(bytes)).toEqual(Buffer.from([0x20, 3, 0, 0x84, 0]));
    const nine = opened().send(Buffer.from([0x10, 12, 0, 4, ...Buffer.from('MQTT'), 9, 2, 0, 0, 0, 0]));
    expect((await nine.next('connack')).returnCode).toBe(1);
    await nine.end();
    const other = opened().send(Buffer.from([0x10, 12, 0, 4, ...Buffer.from('HTTP'), 4, 2, 0, 0, 0, 0]));
    await other.end();
    expect(other.packets).toEqual([]);
  });

  test('that does not come in time ends the connection', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_CONNECT_MS_MAX: '300' });
    const silent = opened();
    const slow = opened().send(Buffer.from([0x10, 30, 0]));
    await silent.end();
    await slow.end();
  });

  test('comes once, and first', async () => {
    mqtt = await openMqtt();
    const twice = await mqtt.client();
    twice.send(connectPacket(known));
    await twice.end();
    const early = opened().send({ cmd: 'pingreq' });
    await early.end();
    expect(early.packets).toEqual([]);
  });

  test('beyond the connections that there may be is cut off', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_CONNECTIONS_MAX: '2' });
    await mqtt.client({ clientId: 'one' });
    const second = await mqtt.client({ clientId: 'two' });
    await opened().end();
    second.destroy();
    await until('there is room again', async () => {
      const client = opened().send(connectPacket({ ...known, clientId: 'three' }));
      try {
        return (await client.next('connack')).returnCode === 0;
      } catch {
        return false;
      }
    });
  });
});

describe('a will', () => {
  const will = (topic: string, fields: object = {}): Partial<IConnectPacket> => ({
    will: { topic, payload: Buffer.from('gone'), qos: 1, retain: false, ...fields },
  });

  test.each([
    ['a channel that the client may not publish to', 'channels/secret/messages'],
    ['no channel at all', 'elsewhere'],
    ['a topic of the broker', '$SYS/x'],
  ])('for %s is refused at once', async (_what, topic) => {
    mqtt = await openMqtt();
    expect(await answered({ ...known, ...will(topic) })).toBe(5);
  });

  test('is published when the client is lost, and kept if it is to be', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client(will(`${TOPIC}/state`, { retain: true }));
    client.destroy();
    await until('it is kept', () => mqtt.retained.messages.size === 1);
    expect(mqtt.log.count).toBe(1);
    expect([...mqtt.retained.messages.values()][0]).toMatchObject({ subtopic: 'state', publisher: THING });
  });

  test('is not published after DISCONNECT', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client(will(TOPIC));
    client.send({ cmd: 'disconnect' });
    await client.end();
    const next = await mqtt.client();
    next.send({ cmd: 'publish', topic: TOPIC, payload: 'x', qos: 1, retain: false, dup: false, messageId: 1 });
    await next.next('puback');
    expect(mqtt.log.count).toBe(1);
  });

  test.each([
    ['a protocol error', (client: RawMqtt) => client.send(Buffer.from([0xf0, 0]))],
    ['a takeover', () => mqtt.client()],
    ['the end of the node', () => mqtt.drain()],
  ])('is published after %s', async (_what, end) => {
    mqtt = await openMqtt();
    const client = await mqtt.client(will(TOPIC));
    await end(client);
    await until('it is there', () => mqtt.log.count === 1);
    await client.end();
  });

  test('is published when the keep-alive runs out', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client({ ...will(TOPIC), keepalive: 1 });
    await client.end();
    await until('it is there', () => mqtt.log.count === 1);
    expect(await mqtt.count('millrace_mqtt_closes_total', { reason: 'keep_alive' })).toBe(1);
  });

  test('is judged again: who was disabled meanwhile says nothing more', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client(will(TOPIC));
    mqtt.gate.failure = new RegistryAway();
    mqtt.gate.revoke(KEY);
    client.destroy();
    await until('it is lost', async () => (await mqtt.count('millrace_mqtt_wills_total', { outcome: 'lost' })) === 1);
    expect(mqtt.log.count).toBe(0);
  });

  test.each([
    ['an API key that was revoked is not published', true, 'denied'],
    ['a token that ran out is', false, 'published'],
  ] as const)('of %s', async (_what, scoped, outcome) => {
    mqtt = await openMqtt();
    mqtt.gate.tokens.set('mrk_one', KEY);
    if (scoped) mqtt.gate.scopes.set('mrk_one', { id: 'scope-1', org: null, grants: [] });
    const client = await mqtt.client({ ...will(TOPIC), username: '', password: Buffer.from('mrk_one') });
    mqtt.gate.tokens.delete('mrk_one');
    mqtt.gate.scopes.delete('mrk_one');
    mqtt.gate.revoke(scoped ? 'mrk_one' : KEY);
    await client.end();
    await until('it is judged', async () => (await mqtt.count('millrace_mqtt_wills_total', { outcome })) === 1);
    expect(mqtt.log.count).toBe(scoped ? 0 : 1);
  });

  test('is not published once the key has been changed that its client had shown', async () => {
    mqtt = await openMqtt();
    const client = await mqtt.client(will(TOPIC));
    mqtt.gate.revoke(KEY);
    mqtt.gate.epoch++;
    client.destroy();
    const denied = { outcome: 'denied' };
    await until('it is judged', async () => (await mqtt.count('millrace_mqtt_wills_total', denied)) === 1);
    expect(mqtt.log.count).toBe(0);
  });

  test('of a node that goes down is on the log when the drain is over, however long its judgement takes', async () => {
    mqtt = await openMqtt();
    await mqtt.client(will(TOPIC));
    mqtt.gate.undecided.set(THING, () => new Promise((resolve) => setTimeout(resolve, 100)));
    await mqtt.drain();
    expect(mqtt.log.count).toBe(1);
  });
});
