import { generate, type Packet } from 'mqtt-packet';
import type { Identity } from './clients/client.ts';
import { filterText } from './clients/mqtt-topic.ts';

/** Conversations by MQTT that a node would answer, each as one run of bytes. */
export function mqttConversations({ thing, key }: Identity, channel: string): readonly Buffer[] {
  const topic = filterText({ channel, subtopic: '' });
  const run = (...packets: Packet[]): Buffer => Buffer.concat(packets.map((packet) => generate(packet)));
  const hello = (clientId: string, clean: boolean, more: object = {}): Packet => ({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clientId,
    clean,
    keepalive: 30,
    username: thing,
    password: Buffer.from(key),
    ...more,
  });
  const publish = (qos: 0 | 1 | 2, more: object = {}): Packet => ({
    cmd: 'publish',
    topic,
    payload: '[{"n":"t","u":"Cel","v":1}]',
    qos,
    retain: false,
    dup: false,
    ...(qos === 0 ? {} : { messageId: 10 + qos }),
    ...more,
  });
  const subscribe = (...topics: string[]): Packet => ({
    cmd: 'subscribe',
    messageId: 5,
    subscriptions: topics.map((each, index) => ({ topic: each, qos: (index % 3) as 0 | 1 | 2 })),
  });
  const will = { topic, payload: Buffer.from('will'), qos: 1, retain: true };
  return [
    run(hello('a', true), publish(0), publish(1), publish(2), { cmd: 'pubrel', messageId: 12 }, { cmd: 'disconnect' }),
    run(hello('b', false), subscribe(topic, `${topic}/#`, '#', `$share/g/${topic}`), publish(1, { retain: true }), {
      cmd: 'pingreq',
    }),
    run(hello('c', true, { will }), publish(1, { topic: `${topic}/a/b/senml-json` }), publish(2, { dup: true })),
    run(
      hello('d', false),
      { cmd: 'puback', messageId: 1 },
      { cmd: 'pubrec', messageId: 2 },
      { cmd: 'pubcomp', messageId: 3 },
    ),
    run(hello('e', false), subscribe('+/+/+/#', '$SYS/#'), {
      cmd: 'unsubscribe',
      messageId: 6,
      unsubscriptions: ['#', topic],
    }),
    run(
      hello('', true, { protocolId: 'MQIsdp', protocolVersion: 3, clientId: 'f' }),
      publish(1, { topic: `m/x/c/${channel}/y` }),
    ),
    run(
      hello('g', true),
      publish(0, { payload: '' }),
      publish(0, { payload: Buffer.alloc(2_000, 0xff), topic: `${topic}/octet-stream` }),
    ),
    run(hello('h', true, { username: 'nobody', password: Buffer.from('wrong') })),
    run(publish(1)),
  ];
}

export const MQTT_TOKENS: readonly Buffer[] = [
  [0x00],
  [0xff, 0xff, 0xff, 0x7f],
  [0xff, 0xff, 0xff, 0xff, 0xff],
  [0x80, 0x00],
  [0x30, 0x02, 0x00, 0x00],
  [0x32, 0x00],
  [0x36, 0x05, 0x00, 0x01, 0x61, 0x00, 0x01],
  [0x62, 0x02, 0x00, 0x00],
  [0x82, 0x05, 0x00, 0x01, 0x00, 0x00, 0x00],
  [0xa2, 0x02, 0x00, 0x01],
  [0xc0, 0x00],
  [0xe0, 0x00],
  [0xf0, 0x00],
  [0x10, 0x00],
  [0xed, 0xa0, 0x80],
  [0xc0, 0x80],
]
  .map((bytes) => Buffer.from(bytes))
  .concat(
    ['#', '+', '/', '//', '$SYS/', '$share//', 'channels/', 'messages', '\0', 'ct/', '%2f'].map((text) =>
      Buffer.from(text),
    ),
  );

/** A frame as clients send it.  @source RFC 6455 §5.2 */
export function frame(opcode: number, payload: Buffer, { final = true, masked = true, reserved = 0 } = {}): Buffer {
  const { length } = payload;
  const size = length < 126 ? Buffer.from([length]) : Buffer.from([126, length >> 8, length & 0xff]);
  size[0] = (size[0] as number) | (masked ? 0x80 : 0);
  const mask = Buffer.from([1, 2, 3, 4]);
  const body = masked ? Buffer.from(payload.map((byte, index) => byte ^ (mask[index % 4] as number))) : payload;
  return Buffer.concat([
    Buffer.from([(final ? 0x80 : 0) | (reserved << 4) | opcode]),
    size,
    ...(masked ? [mask] : []),
    body,
  ]);
}

/** WebSockets that a node would open, and what is sent through them. */
export function webSocketConversations(identity: Identity, channel: string): readonly Buffer[] {
  const open = (path: string, more = ''): Buffer =>
    Buffer.from(
      `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
        `Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Thing ${identity.key}\r\n${more}\r\n`,
    );
  const text = (value: unknown): Buffer =>
    frame(1, Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)));
  const path = `/channels/${channel}/messages`;
  const close = frame(8, Buffer.from([3, 232]));
  const tunnel = (bytes: Buffer): Buffer => frame(2, bytes);
  return [
    Buffer.concat([
      open(`${path}?ack=1`),
      text('[{"n":"t","v":1}]'),
      frame(2, Buffer.from([0, 1, 2])),
      frame(9, Buffer.from('ping')),
      close,
    ]),
    Buffer.concat([
      open(`${path}/a?filter=a/%23`),
      frame(1, Buffer.from('{"a":'), { final: false }),
      frame(0, Buffer.from('1}')),
      close,
    ]),
    Buffer.concat([
      open('/ws'),
      text({ type: 'subscribe', id: '1', channel, subtopic: '#', from: '0-0' }),
      text({ type: 'publish', id: '2', channel, subtopic: 'x', content_type: 'application/json', payload: '{"x":1}' }),
      text({ type: 'publish', id: '3', channel, payload_base64: 'AAEC' }),
      text({ type: 'unsubscribe', id: '4', subscription: '1' }),
      text('not json'),
      close,
    ]),
    Buffer.concat([
      open('/ws'),
      text({ type: 'authenticate', key: 'wrong' }),
      frame(10, Buffer.alloc(0)),
      frame(3, Buffer.from('?')),
    ]),
    Buffer.concat([open(`/ws${path}?authorization=${identity.key}`), frame(1, Buffer.from([0xff, 0xfe])), close]),
    Buffer.concat([
      open('/ws'),
      frame(1, Buffer.from('{}'), { masked: false }),
      frame(2, Buffer.alloc(200), { reserved: 4 }),
    ]),
    Buffer.concat([
      open('/mqtt', 'Sec-WebSocket-Protocol: mqtt\r\n'),
      ...mqttConversations(identity, channel).slice(0, 3).map(tunnel),
    ]),
    Buffer.concat([open('/mqtt', 'Sec-WebSocket-Protocol: mqttv3.1\r\n'), text('text'), close]),
    Buffer.from(
      `GET ${path}/live?filter=%23 HTTP/1.1\r\nHost: a\r\nAuthorization: Thing ${identity.key}\r\nLast-Event-ID: 0-0\r\n\r\n`,
    ),
  ];
}

export const WEB_SOCKET_TOKENS: readonly Buffer[] = [
  [0x81, 0x80, 0, 0, 0, 0],
  [0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
  [0x81, 0xfe, 0x00, 0x01],
  [0x88, 0x80, 0, 0, 0, 0],
  [0x89, 0xfe, 0x01, 0x00],
  [0x00, 0x80, 0, 0, 0, 0],
  [0xf1, 0x80, 0, 0, 0, 0],
  [0x81, 0x01, 0x41],
  [0xff],
]
  .map((bytes) => Buffer.from(bytes))
  .concat(
    ['\r\n', '\r\n\r\n', 'Upgrade: h2c\r\n', '?from=9999999999-1', '%00', '"__proto__":', '[[[[[', '"', '\\u0000'].map(
      (text) => Buffer.from(text),
    ),
  );
