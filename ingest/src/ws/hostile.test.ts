import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { until } from '../delivery/testing/stage.ts';
import { AUTH, openLive } from '../live/testing/open-live.ts';
import { TestSocket } from '../live/testing/test-socket.ts';
import { KEY } from '../testing/gate.ts';
import { RawClient } from '../testing/raw-client.ts';

const PATH = '/channels/room/messages/hostile';
const UPGRADE = `GET ${PATH}?ack=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Thing ${KEY}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;
const TEXT = 1;
const BINARY = 2;

/** A client's frame. @param first the whole first byte */
function frame(first: number, payload: string | Buffer, options: { masked?: boolean; size?: number } = {}): Buffer {
  const bytes = Buffer.from(payload);
  const { masked = true, size = bytes.length } = options;
  const head = size < 126 ? Buffer.from([first, size]) : Buffer.alloc(size < 65_536 ? 4 : 10);
  head[0] = first;
  if (size >= 65_536) {
    head[1] = 127;
    head.writeBigUInt64BE(BigInt(size), 2);
  } else if (size >= 126) {
    head[1] = 126;
    head.writeUInt16BE(size, 2);
  }
  if (!masked) return Buffer.concat([head, bytes]);
  head[1] = (head[1] as number) | 0x80;
  const mask = Buffer.from([1, 2, 3, 4]);
  return Buffer.concat([head, mask, bytes.map((byte, index) => byte ^ (mask[index % 4] as number))]);
}

async function upgraded(port: number): Promise<RawClient> {
  const client = new RawClient(port);
  client.write(UPGRADE);
  await until('it is upgraded', () => client.received.includes('\r\n\r\n') || client.closed);
  expect(client.received).toMatch(
    /^HTTP\/1\.1 101 [\s\S]*Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n[\s\S]*\r\n$/,
  );
  client.received = '';
  return client;
}
/** The code of a close frame from the server, which must be all that is left. */
const closeCode = (received: string): number => {
  const bytes = Buffer.from(received, 'latin1');
  expect(bytes[0]).toBe(0x88);
  return bytes.readUInt16BE(2);
};

describe('frames that are wrong', () => {
  test.each([
    ['not masked', frame(0x80 | TEXT, 'x', { masked: false }), 1002],
    ['a reserved bit', frame(0xc0 | TEXT, 'x'), 1002],
    ['other reserved bits', frame(0xb0 | TEXT, 'x'), 1002],
    ['an unknown opcode', frame(0x83, 'x'), 1002],
    ['an unknown control opcode', frame(0x8b, 'x'), 1002],
    ['a continuation of nothing', frame(0x80, 'x'), 1002],
    ['a new message within another', Buffer.concat([frame(TEXT, 'x'), frame(0x80 | TEXT, 'y')]), 1002],
    ['a ping in pieces', frame(0x09, 'x'), 1002],
    ['a ping that is too long', frame(0x89, 'x'.repeat(126)), 1002],
    ['a close of one byte', frame(0x88, 'x'), 1002],
    ['a close with a code that may not be sent', frame(0x88, Buffer.from([0x03, 0xed])), 1002],
    ['text that is no UTF-8', frame(0x80 | TEXT, Buffer.from([0xc3, 0x28])), 1007],
    ['more than a message may have', frame(0x80 | BINARY, 'x', { size: 1_048_577 }), 1009],
    ['an absurd size', frame(0x80 | BINARY, 'x', { size: 2 ** 53 }), 1009],
    [
      'more than a message may have, in pieces',
      Buffer.concat([frame(BINARY, Buffer.alloc(1_000_000)), frame(0x80, Buffer.alloc(100_000))]),
      1009,
    ],
    [
      'a message in too many pieces',
      Buffer.concat([frame(BINARY, 'x'), ...Array.from({ length: 1_100 }, () => frame(0, 'x'))]),
      1008,
    ],
  ])('%s: the socket is closed with its code, and nothing is published', async (_what, bytes, code) => {
    await using live = await openLive();
    const client = await upgraded(live.port);
    client.write(bytes);
    await until('it is closed', () => client.received.length >= 4);
    expect(closeCode(client.received)).toBe(code);
    expect(live.log.count).toBe(0);
    client.destroy();
  });

  test('pieces with a ping in between make one message', async () => {
    await using live = await openLive();
    const client = await upgraded(live.port);
    const bytes = Buffer.concat([frame(TEXT, 'one '), frame(0x89, 'ping'), frame(0, 'two '), frame(0x80, 'three')]);
    for (const byte of bytes) client.write(Buffer.from([byte]));
    await until('all came', () => client.received.includes('{"ack"') && client.received.includes('one two three'));
    expect(client.received.startsWith('\x8a\x04ping')).toBe(true);
    client.destroy();
  });

  test('a flood of pings from who reads no answer is read over: what it does not take is not kept for it', async () => {
    await using live = await openLive();
    const client = await upgraded(live.port);
    client.socket.pause();
    const pings = Buffer.concat(Array.from({ length: 1_000 }, () => frame(0x89, 'x'.repeat(125))));
    for (let index = 0; index < 200; index++) {
      if (!client.socket.write(pings)) await new Promise((resolve) => client.socket.once('drain', resolve));
    }
    client.write(frame(0x80 | TEXT, 'after'));
    await until('it was read to its end', () => live.log.count === 1);
    client.socket.resume();
    await until('the message is acknowledged', () => client.received.includes('{"ack"'));
    expect(client.received.length).toBeLessThan((200 * pings.length * 3) / 4);
    client.destroy();
  });

  test('who floods it and reads no answer is not read; once it reads, each frame is answered', async () => {
    await using live = await openLive();
    const client = await upgraded(live.port);
    client.socket.pause();
    const count = 300_000;
    client.write(Buffer.concat(Array.from({ length: count }, () => frame(0x80 | TEXT, ''))));
    const refused = async (): Promise<number> => {
      const metric = await live.metrics.registry.getSingleMetric('millrace_ingest_messages_total')?.get();
      return metric?.values.find(({ labels }) => labels.reason === 'bad_body')?.value ?? 0;
    };
    // It stands still once all buffers on the way are full.
    for (let before = -1, now = 0; now === 0 || now !== before; ) {
      before = now;
      await new Promise((resolve) => setTimeout(resolve, 300));
      now = await refused();
    }
    client.socket.resume();
    const answer = '{"error":"The message is empty.","status":400}';
    await until('all are answered', () => client.received.length >= count * (answer.length + 2));
    expect(client.received.endsWith(answer)).toBe(true);
    client.destroy();
  });

  test('any bytes end at most their own socket', async () => {
    await using live = await openLive();
    using witness = await TestSocket.open(`${live.wsUrl}/channels/room/messages/witness?ack=1`, AUTH);
    const sound = Buffer.concat([
      frame(0x80 | TEXT, '{"a":1}'),
      frame(0x89, 'ping'),
      frame(0x80 | BINARY, randomBytes(300)),
    ]);
    for (let round = 0; round < 150; round++) {
      const client = await upgraded(live.port);
      const bytes = round % 3 === 0 ? randomBytes(400) : Buffer.from(sound);
      if (round % 3 !== 0) {
        for (let flips = 0; flips < 1 + (round % 8); flips++) {
          const at = Math.floor(Math.random() * bytes.length);
          bytes[at] = (bytes[at] as number) ^ (1 << (round % 8));
        }
      }
      client.write(bytes);
      client.socket.end();
      await client.end();
      client.destroy();
    }
    witness.send('still here');
    await until('the witness is served', () => witness.frames.length === 2);
    const faults = await live.metrics.registry.getSingleMetric('millrace_live_faults_total')?.get();
    expect(faults?.values[0]?.value ?? 0).toBe(0);
  });
});

describe('an upgrade', () => {
  test('comes after the answers to earlier requests; what follows it is no HTTP', async () => {
    await using live = await openLive();
    live.log.stalled = true;
    const client = new RawClient(live.port);
    const post = `POST /channels/room/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Thing ${KEY}\r\nContent-Length: 3\r\n\r\none`;
    client.write(Buffer.concat([Buffer.from(post + UPGRADE), frame(0x80 | TEXT, 'two')]));
    await until('the first is appended', () => live.log.count === 1);
    expect(client.received).toBe('');
    live.log.stalled = false;
    live.log.commit();
    await until('the frame is acknowledged', () => client.received.includes('{"ack"'));
    expect(client.received).toMatch(/^HTTP\/1\.1 202 Accepted\r\n[\s\S]*HTTP\/1\.1 101 Switching/);
    expect(live.log.count).toBe(2);
    client.received = '';
    client.write(post);
    await until('it is no frame', () => client.received.includes('\x88'));
    expect(live.log.count).toBe(2);
    client.destroy();
  });

  test('keeps its place among the connections until it is closed', async () => {
    await using live = await openLive({ MILLRACE_HTTP_CONNECTIONS_MAX: '1' });
    const client = await upgraded(live.port);
    const refused = new RawClient(live.port);
    expect((await refused.answer()).status).toBe(503);
    client.destroy();
    let status = 503;
    while (status === 503) {
      const next = new RawClient(live.port);
      next.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      status = (await next.answer()).status;
      next.destroy();
    }
    expect(status).toBe(404);
  });

  test.each([
    ['without an upgrade', UPGRADE.replace('Upgrade: WebSocket\r\n', '').replace(PATH, '/ws'), 426],
    ['by HTTP/1.0', UPGRADE.replace('HTTP/1.1', 'HTTP/1.0').replace(PATH, '/ws'), 426],
    ['with a body', UPGRADE.replace('Host: x', 'Host: x\r\nContent-Length: 2').replace(PATH, '/ws').concat('{}'), 426],
    ['of another version', UPGRADE.replace('Version: 13', 'Version: 12'), 426],
    ['without a key', UPGRADE.replace(/Sec-WebSocket-Key: .*\r\n/, ''), 400],
    ['with a malformed key', UPGRADE.replace('dGhl', ''), 400],
    ['with malformed sub-protocols', UPGRADE.replace('Host: x', 'Host: x\r\nSec-WebSocket-Protocol: a,,b'), 400],
    ['with a sub-protocol twice', UPGRADE.replace('Host: x', 'Host: x\r\nSec-WebSocket-Protocol: a, a'), 400],
    ['to another protocol is served without', UPGRADE.replace('WebSocket', 'h2c'), 404],
    ['of a path that has none is served without', UPGRADE.replace(PATH, '/things'), 404],
  ])('%s', async (_what, request, status) => {
    await using live = await openLive();
    const client = new RawClient(live.port);
    client.write(request);
    const answer = await client.answer();
    expect(answer.status).toBe(status);
    expect(answer.headers['content-type']).toBe('application/problem+json');
    if (status === 426) expect(answer.headers).toMatchObject({ upgrade: 'websocket', 'sec-websocket-version': '13' });
    client.destroy();
  });

  test('of a client that does not close holds the drain up only so long', async () => {
    await using live = await openLive();
    const client = await upgraded(live.port);
    const begun = performance.now();
    await live.drain(60_000);
    expect(performance.now() - begun).toBeLessThan(30_000);
    expect(closeCode(client.received)).toBe(1001);
    client.destroy();
  });

  test('of a client that is silent is pinged, and then given up', async () => {
    await using live = await openLive({ MILLRACE_WS_PING_MS: '200' });
    const silent = await upgraded(live.port);
    await silent.end();
    expect(silent.received.startsWith('\x89\x00')).toBe(true);
    using lively = await TestSocket.open(live.wsUrl + PATH, AUTH);
    let pings = 0;
    lively.ws.on('ping', () => pings++);
    await until('it was pinged often', () => pings >= 4);
    expect(lively.closing).toBe(null);
  });
});
