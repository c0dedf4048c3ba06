import type { IPublishPacket } from 'mqtt-packet';
import { describe, expect, test } from 'vitest';
import { TestSocket } from './live/testing/test-socket.ts';
import { until } from './mqtt/testing/until.ts';
import { CHANNEL, KEY, ORG, THING } from './testing/gate.ts';
import { type OpenNode, openNode } from './testing/open-node.ts';

// What all protocols do alike at the border of a node.

const AUTH = { authorization: `Thing ${KEY}` };
const post = (node: OpenNode, path: string, body = '[{"n":"t","v":1}]', more: Record<string, string> = {}) =>
  fetch(node.url + path, {
    method: 'POST',
    body,
    headers: { ...AUTH, 'content-type': 'application/senml+json', ...more },
  });
const packet = (topic: string, messageId: number, payload = 'x'): IPublishPacket => ({
  cmd: 'publish',
  topic,
  payload,
  qos: 1,
  retain: false,
  dup: false,
  messageId,
});
const refusals = async (node: OpenNode, protocol: string, reason: string): Promise<number> => {
  const metric = await node.metrics.registry.getSingleMetric('millrace_ingest_messages_total')?.get();
  const found = metric?.values.find(({ labels }) => labels.protocol === protocol && labels.reason === reason);
  return found?.value ?? 0;
};

describe('what the gate refuses is written down', () => {
  test('by HTTP, with who, what, where from and why; what it allows is not', async () => {
    await using node = await openNode();
    expect((await post(node, '/channels/room/messages/a')).status).toBe(202);
    expect(node.denials).toEqual([]);
    expect((await post(node, '/channels/secret/messages/a/b')).status).toBe(403);
    expect((await post(node, '/channels/off/messages')).status).toBe(403);
    expect((await post(node, '/channels/other/messages')).status).toBe(403);
    expect((await post(node, '/channels/nowhere/messages')).status).toBe(404);
    expect(node.denials).toEqual([
      'http publish channels/secret/messages/a/b: not_allowed',
      'http publish channels/off/messages: channel_disabled',
      'http publish channels/other/messages: denied_by_policy',
      'http publish channels/nowhere/messages: no_such_channel',
    ]);
    const [denial] = node.denied;
    expect(denial).toMatchObject({ org: ORG, principal: { subject: { id: THING } } });
    expect(denial?.context).toMatchObject({ remoteAddress: '127.0.0.1', tls: false });
    expect(denial?.context.nowMs).toBeGreaterThan(Date.now() - 60_000);
  });

  test('where the address names another organisation, too', async () => {
    await using node = await openNode();
    expect((await post(node, '/m/elsewhere/c/room/x')).status).toBe(404);
    expect(node.denials).toEqual(['http publish channels/room/messages/x: no_such_channel']);
  });

  test('once more when the answer had to be waited for', async () => {
    await using node = await openNode();
    node.gate.cold = true;
    expect((await post(node, '/channels/secret/messages')).status).toBe(403);
    expect(node.denials).toEqual(['http publish channels/secret/messages: not_allowed']);
  });

  test('of an MQTT publish, subscription and will', async () => {
    await using node = await openNode();
    const publisher = await node.mqtt({ clientId: 'p' });
    publisher.send(packet('channels/secret/messages/a', 1));
    await publisher.end();
    expect(node.denials).toEqual(['mqtt publish channels/secret/messages/a: not_allowed']);
    const subscriber = await node.mqtt({ clientId: 's' });
    subscriber.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: ['channels/room/messages/#', 'channels/secret/messages/+', '$share/g/channels/other/messages'].map(
        (topic) => ({ topic, qos: 1 as const }),
      ),
    });
    expect((await subscriber.next('suback')).granted).toEqual([1, 128, 128]);
    expect(node.denials.slice(1).toSorted()).toEqual([
      'mqtt subscribe channels/other/messages: denied_by_policy',
      'mqtt subscribe channels/secret/messages/+: not_allowed',
    ]);
    const will = { topic: 'channels/off/messages', payload: Buffer.from('w'), qos: 0 as const, retain: false };
    await expect(node.mqtt({ clientId: 'w', will })).rejects.toThrow('CONNACK 5');
    expect(node.denials.slice(3)).toEqual(['mqtt publish channels/off/messages: channel_disabled']);
  });

  test('of a will that is no longer allowed when it is due', async () => {
    await using node = await openNode();
    const will = { topic: `channels/${CHANNEL}/messages`, payload: Buffer.from('w'), qos: 0 as const, retain: false };
    const client = await node.mqtt({ will });
    node.gate.unwritable.add(CHANNEL);
    client.destroy();
    await until('it is written down', () => node.denials.length === 1);
    expect(node.denials).toEqual([`mqtt publish channels/${CHANNEL}/messages: not_allowed`]);
    expect(node.log.count).toBe(0);
  });

  test('by WebSocket and event stream', async () => {
    await using node = await openNode();
    await TestSocket.refused(`${node.wsUrl}/channels/secret/messages/a`, AUTH);
    expect(node.denials).toEqual([
      'ws publish channels/secret/messages/a: not_allowed',
      'ws subscribe channels/secret/messages/a: not_allowed',
    ]);
    expect((await fetch(`${node.url}/channels/secret/messages/live`, { headers: AUTH })).status).toBe(403);
    expect(node.denials[2]).toBe('http subscribe channels/secret/messages/#: not_allowed');
    using many = await TestSocket.open(`${node.wsUrl}/ws`, AUTH);
    await many.ask({ type: 'subscribe', id: '1', channel: 'nowhere', subtopic: 'x' });
    await many.ask({ type: 'publish', id: '2', channel: 'secret', payload: 'x' });
    expect(node.denials.slice(3)).toEqual([
      'ws subscribe channels/nowhere/messages/x: no_such_channel',
      'ws publish channels/secret/messages: not_allowed',
    ]);
  });

  test('not where a socket may only read, until it tries to publish', async () => {
    await using node = await openNode();
    node.gate.unwritable.add('room');
    using socket = await TestSocket.open(`${node.wsUrl}/channels/room/messages?ack=1`, AUTH);
    expect(node.denials).toEqual([]);
    socket.send('x');
    expect(await socket.nextJson()).toMatchObject({ status: 403 });
    expect(node.denials).toEqual(['ws publish channels/room/messages: not_allowed']);
  });
});

describe('a thing is there', () => {
  test('as long as its MQTT connection or its socket is', async () => {
    await using node = await openNode();
    const client = await node.mqtt();
    expect(node.present).toEqual([`${THING} mqtt`]);
    using socket = await TestSocket.open(`${node.wsUrl}/channels/room/messages`, AUTH);
    using many = await TestSocket.open(`${node.wsUrl}/ws`);
    expect(node.present).toEqual([`${THING} mqtt`, `${THING} ws`]);
    await many.ask({ type: 'authenticate', key: 'many-other' });
    expect(node.present).toEqual([`${THING} mqtt`, `${THING} ws`, 'many-other ws']);
    client.destroy();
    socket.ws.close();
    many.ws.close();
    await until('nobody is there', () => node.present.length === 0);
  });

  test('not by a CONNECT that is refused', async () => {
    await using node = await openNode();
    await expect(node.mqtt({ password: Buffer.from('unknown') })).rejects.toThrow('CONNACK 4');
    expect(node.present).toEqual([]);
  });

  test('for a moment with each HTTP request', async () => {
    await using node = await openNode();
    await post(node, '/channels/room/messages');
    await post(node, '/channels/secret/messages');
    expect(node.seen).toEqual([`${THING} http`, `${THING} http`]);
  });
});

describe('the rate of a channel', () => {
  test('is one for HTTP and MQTT together: HTTP is told when, MQTT is read later and loses nothing', async () => {
    await using node = await openNode();
    node.gate.limits = { messagesPerSecond: 0.25 };
    const client = await node.mqtt();
    const begun = performance.now();
    expect((await post(node, '/channels/room/messages')).status).toBe(202);
    const refused = await post(node, '/channels/room/messages');
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    expect(await refused.json()).toMatchObject({ detail: 'Too many messages on this channel.' });
    expect(await refusals(node, 'http', 'channel_rate')).toBe(1);
    client.send(packet(`channels/${CHANNEL}/messages`, 1));
    expect((await client.next('puback')).messageId).toBe(1);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(3_900);
    expect(client.closed).toBe(false);
    // Other channels are not concerned.
    expect((await post(node, '/channels/chan-free/messages')).status).toBe(202);
  });

  test('counts all messages of a batch', async () => {
    await using node = await openNode();
    node.gate.limits = { messagesPerSecond: 1 };
    const batch = (lines: number) =>
      post(node, '/channels/room/messages/batch', Array(lines).fill('{"a":1}').join('\n'), {
        'content-type': 'application/x-ndjson',
      });
    expect((await batch(50)).status).toBe(202);
    const refused = await batch(1);
    expect(refused.status).toBe(429);
    // 49 messages in debt.
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(5);
    expect(node.log.count).toBe(50);
  });

  test('makes a WebSocket wait, with and without acknowledgements, and nothing is lost', async () => {
    await using node = await openNode();
    node.gate.limits = { messagesPerSecond: 10 };
    using told = await TestSocket.open(`${node.wsUrl}/channels/room/messages?ack=1`, AUTH);
    using silent = await TestSocket.open(`${node.wsUrl}/channels/room/messages`, { authorization: 'Thing many-b' });
    using many = await TestSocket.open(`${node.wsUrl}/ws`, { authorization: 'Thing many-c' });
    for (let index = 0; index < 6; index++) {
      told.send('a');
      silent.send('b');
      many.send({ type: 'publish', id: String(index), channel: 'room', payload: 'c' });
    }
    await until('all came', () => node.log.count === 18);
    const acks = (): number => told.frames.filter((frame) => frame.startsWith('{"ack"')).length;
    await until('all are acknowledged', () => acks() === 6 && many.frames.length === 6);
    expect(many.frames.every((frame) => frame.startsWith('{"type":"ack"'))).toBe(true);
    expect([told.closing, silent.closing, many.closing]).toEqual([null, null, null]);
  });

  test('holds a will back, and publishes it', async () => {
    await using node = await openNode();
    node.gate.limits = { messagesPerSecond: 2 };
    const will = { topic: `channels/${CHANNEL}/messages`, payload: Buffer.from('w'), qos: 0 as const, retain: false };
    const client = await node.mqtt({ will });
    for (let index = 0; index < 2; index++) await post(node, '/channels/room/messages');
    client.destroy();
    await until('it is there', () => node.log.count === 3);
  });

  test('costs a client nothing of its own rate while it waits for the channel', async () => {
    await using node = await openNode({ MILLRACE_HTTP_RATE_PER_SECOND: '0.01', MILLRACE_HTTP_RATE_BURST: '3' });
    node.gate.limits = { messagesPerSecond: 0.01 };
    expect((await post(node, '/channels/room/messages')).status).toBe(202);
    for (let tries = 0; tries < 10; tries++) await post(node, '/channels/room/messages');
    node.gate.limits = {};
    node.gate.changed();
    expect((await post(node, '/channels/room/messages')).status).toBe(202);
  });

  test('holds as it is now: a new one at the next message', async () => {
    await using node = await openNode();
    node.gate.limits = { messagesPerSecond: 0.01 };
    expect((await post(node, '/channels/room/messages')).status).toBe(202);
    expect((await post(node, '/channels/room/messages')).status).toBe(429);
    node.gate.limits = {};
    node.gate.changed();
    expect((await post(node, '/channels/room/messages')).status).toBe(202);
  });
});

describe('the size of a message on a channel', () => {
  const limits = { payloadBytesMax: 20 };
  const exact = '[{"n":"t","v":1234}]';
  const more = `${exact} `;

  test('is 413 by HTTP, and so is a line of a batch', async () => {
    await using node = await openNode();
    node.gate.limits = limits;
    expect((await post(node, '/channels/room/messages', exact)).status).toBe(202);
    const refused = await post(node, '/channels/room/messages', more);
    expect(refused.status).toBe(413);
    expect(await refused.json()).toMatchObject({ detail: 'A message of this channel has at most 20 bytes.' });
    const batch = await post(node, '/channels/room/messages/batch', `${exact}\n${more}`, {
      'content-type': 'application/x-ndjson',
    });
    expect(batch.status).toBe(413);
    expect(await batch.json()).toMatchObject({ detail: expect.stringContaining('Line 2') });
    expect(node.log.count).toBe(1);
    expect(await refusals(node, 'http', 'channel_too_large')).toBe(2);
  });

  test('ends an MQTT connection, as any publish that is too large does', async () => {
    await using node = await openNode();
    node.gate.limits = limits;
    const client = await node.mqtt();
    client.send(packet(`channels/${CHANNEL}/messages`, 1, exact), packet(`channels/${CHANNEL}/messages`, 2, more));
    await client.end();
    expect(node.log.count).toBe(1);
    expect(await refusals(node, 'mqtt', 'channel_too_large')).toBe(1);
    const will = { topic: `channels/${CHANNEL}/messages`, payload: Buffer.from(more), qos: 0 as const, retain: false };
    await expect(node.mqtt({ will })).rejects.toThrow('CONNACK 5');
  });

  test('is an error frame where frames are answered, and the end of the socket where not', async () => {
    await using node = await openNode();
    node.gate.limits = limits;
    using told = await TestSocket.open(`${node.wsUrl}/channels/room/messages?ack=1`, AUTH);
    told.send(more);
    expect(await told.nextJson()).toMatchObject({ status: 413 });
    using many = await TestSocket.open(`${node.wsUrl}/ws`, AUTH);
    expect(await many.ask({ type: 'publish', id: '1', channel: 'room', payload: more })).toMatchObject({
      type: 'error',
      id: '1',
      status: 413,
    });
    using silent = await TestSocket.open(`${node.wsUrl}/channels/room/messages`, AUTH);
    silent.send(more);
    expect((await silent.closed()).code).toBe(1009);
    expect([told.closing, many.closing]).toEqual([null, null]);
    expect(node.log.count).toBe(0);
  });
});
