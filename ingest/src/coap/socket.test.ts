import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { networkInterfaces } from 'node:os';
import { createLogger } from '@millrace/core';
import { expect, test } from 'vitest';
import { CHANNEL, KEY, THING } from '../testing/gate.ts';
import type { Peer } from './contract.ts';
import { buildMessage, type CoapMessage, Code, Method, Option, parseMessage, Type } from './message/message.ts';
import { UdpSocket } from './socket.ts';
import { openCoap } from './testing/open-coap.ts';

const options = (port: number, host = '127.0.0.1') => ({
  source: { kind: 'bind', host, port } as const,
  receiveBufferBytes: 65_536,
  sendQueueBytesMax: 65_536,
  logger: createLogger({ level: 'silent' }),
  onDatagram: () => {},
});

test('a port that is taken is told as that', async () => {
  const first = await UdpSocket.open(options(0));
  const port = Number(first.address.split(':').at(-1));
  await expect(UdpSocket.open(options(port))).rejects.toMatchObject({ code: 'COAP_PORT_IN_USE', retry: 'later' });
  first.close();
  const second = await UdpSocket.open(options(port));
  second.close();
  second.close();
});

test('an address that is not ours, and a descriptor that is no socket, are told as that', async () => {
  await expect(UdpSocket.open(options(0, '203.0.113.1'))).rejects.toMatchObject({ code: 'COAP_LISTEN_FAILED' });
  const inherited = { ...options(0), source: { kind: 'inherited', fd: 9_999 } as const };
  await expect(UdpSocket.open(inherited)).rejects.toMatchObject({ code: 'COAP_LISTEN_FAILED', retry: 'never' });
});

test('sending never throws: to port 0, to what is no address, too much, or when it is closed', async () => {
  const socket = await UdpSocket.open(options(0));
  socket.send(Buffer.from('x'), 0, '127.0.0.1');
  socket.send(Buffer.from('x'), 70_000, '127.0.0.1');
  socket.send(Buffer.alloc(70_000), 9, '127.0.0.1');
  socket.send(Buffer.from('x'), 9, '::1');
  await new Promise((resolve) => setTimeout(resolve, 50));
  socket.close();
  socket.send(Buffer.from('x'), 9, '127.0.0.1');
  expect(socket.counts.unsent).toBeGreaterThanOrEqual(3);
});

test('a dual-stack socket answers IPv4 and IPv6, where there is IPv6', async () => {
  const dual = Object.values(networkInterfaces()).some((each) => each?.some(({ address }) => address === '::1'));
  const from: string[] = [];
  const onDatagram = (_datagram: Buffer, { address }: { readonly address: string }): number => from.push(address);
  const socket = await UdpSocket.open({ ...options(0, dual ? '::' : '127.0.0.1'), onDatagram });
  const port = Number(socket.address.split(':').at(-1));
  const clients = [['udp4', '127.0.0.1'] as const, ...(dual ? [['udp6', '::1'] as const] : [])];
  for (const [type, address] of clients) {
    const client = createSocket(type);
    client.bind(0, address);
    await once(client, 'listening');
    client.send('x', port, address);
    const { length } = from;
    await expect.poll(() => from.length, { timeout: 20_000 }).toBe(length + 1);
    const answered = once(client, 'message');
    socket.send(Buffer.from('y'), client.address().port, from.at(-1) as string);
    expect((await answered)[0].toString()).toBe('y');
    client.close();
  }
  expect(from).toEqual(dual ? ['::ffff:127.0.0.1', '::1'] : ['127.0.0.1']);
  socket.close();
});

/** A session of DTLS as its room gives it, that keeps what is sent to it. */
class Session implements Peer {
  readonly key = 'session-1';
  readonly address = '192.0.2.1';
  readonly port = 5_684;
  readonly identity: Peer['identity'];
  verified = true;
  readonly got: CoapMessage[] = [];

  constructor(identity: Peer['identity']) {
    this.identity = identity;
  }

  send(datagram: Buffer): void {
    this.got.push(parseMessage(datagram) as CoapMessage);
  }
}

const post = (messageId: number, query: string): Buffer =>
  buildMessage({
    type: Type.Con,
    code: Method.Post,
    messageId,
    token: Buffer.from([messageId]),
    options: [
      ...['channels', CHANNEL, 'messages'].map((segment) => [Option.UriPath, Buffer.from(segment)] as const),
      ...(query === '' ? [] : [[Option.UriQuery, Buffer.from(query)] as const]),
    ],
    payload: Buffer.from('1'),
  });

test('over a session its identity is the credential, whatever a request says', async () => {
  await using coap = await openCoap();
  const session = new Session({ kind: 'key', identity: THING, key: KEY });
  coap.service.endpoint.receive(post(1, ''), session);
  coap.service.endpoint.receive(post(2, 'auth=a-key-of-nobody'), session);
  await expect.poll(() => session.got.length, { timeout: 20_000 }).toBe(2);
  expect(session.got.map(({ code }) => code)).toEqual([Code.Changed, Code.Changed]);
  expect(coap.seen).toEqual(Array(2).fill(`${THING} coap`));
});

test('a session with a key for the bootstrap publishes nothing, even with the key of a thing', async () => {
  await using coap = await openCoap();
  const session = new Session({ kind: 'bootstrap', thing: THING, externalId: 'x' });
  coap.service.endpoint.receive(post(1, `auth=${KEY}`), session);
  await expect.poll(() => session.got.length, { timeout: 20_000 }).toBe(1);
  expect(session.got[0]?.code).toBe(Code.Unauthorized);
});

test('what one session may is nothing that another may', async () => {
  await using coap = await openCoap();
  const known = new Session({ kind: 'key', identity: THING, key: KEY });
  const unknown = new (class extends Session {
    override readonly key = 'session-2' as 'session-1';
  })({ kind: 'key', identity: 'somebody', key: 'somebody-s-key' });
  coap.service.endpoint.receive(post(1, ''), known);
  coap.service.endpoint.receive(post(1, ''), unknown);
  await expect.poll(() => known.got.length + unknown.got.length, { timeout: 20_000 }).toBe(2);
  expect([known.got[0]?.code, unknown.got[0]?.code]).toEqual([Code.Changed, Code.Unauthorized]);
});

test('a flood of unknown credentials, or of what is no CoAP, is ignored for a while; then its address is heard again', async () => {
  await using coap = await openCoap({ MILLRACE_COAP_FLOOD_BURST: '5', MILLRACE_COAP_FLOOD_PER_SECOND: '1' });
  const client = await coap.client();
  const good = { uri: `channels/${CHANNEL}/messages?auth=${KEY}`, payload: '1' };
  expect((await client.request(good)).code).toBe(Code.Changed);
  for (let n = 0; n < 20; n++) client.socket.send(Buffer.from([0x4f, 1, 2, 3]), client.port, '127.0.0.1');
  await expect
    .poll(() => coap.metric('millrace_coap_dropped_datagrams_total{reason="flood"}'), { timeout: 20_000 })
    .toBeGreaterThan(0);
  // It is sent again and again, as devices do.
  const token = client.newToken();
  const datagram = client.send(good, token);
  const again = setInterval(() => client.socket.send(datagram, client.port, '127.0.0.1'), 200);
  try {
    expect((await client.next(token)).code).toBe(Code.Changed);
  } finally {
    clearInterval(again);
  }
  expect(coap.log.count).toBe(2);
});
