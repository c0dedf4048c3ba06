import { createPrivateKey, randomBytes, X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { HandshakeType, wholeMessage } from './handshake/message.ts';
import { Reassembly } from './handshake/reassembly.ts';
import { ContentType, plainRecord } from './record.ts';
import { CERTIFICATE, CERTIFICATE_KEY } from './testing/certificates.ts';
import { Stage } from './testing/stage.ts';
import { u16, vector8, vector16 } from './wire.ts';

const ADDRESS = '192.0.2.1';
const RANDOM = randomBytes(32);
const NOTHING = Buffer.alloc(0);

const helloBody = (cookie: Buffer, random = RANDOM): Buffer =>
  Buffer.concat([
    u16(0xfefd),
    random,
    vector8(NOTHING),
    vector8(cookie),
    vector16(Buffer.concat([0xc0a8, 0x00ff].map(u16))),
    vector8(Buffer.from([0])),
  ]);
const helloMessage = (cookie: Buffer, sequence: number): Buffer =>
  wholeMessage({ type: HandshakeType.clientHello, sequence, body: helloBody(cookie) });

/** Asks for a cookie as any client does. */
async function cookieFor(stage: Stage, port: number): Promise<Buffer> {
  stage.server.receive(plainRecord(ContentType.handshake, 0, helloMessage(NOTHING, 0)), ADDRESS, port);
  await stage.settle();
  const answer = stage.astray.at(-1)?.datagram as Buffer;
  // Record header, message header, version, length of the cookie.
  return answer.subarray(13 + 12 + 3);
}

test('a ClientHello whose record has one of the last numbers there are is no fault, now or at a retransmission', async () => {
  for (let before = 1; before <= 8; before++) {
    const stage = new Stage();
    const cookie = await cookieFor(stage, 40_001);
    const hello = plainRecord(ContentType.handshake, 2 ** 48 - before, helloMessage(cookie, 1));
    stage.server.receive(hello, ADDRESS, 40_001);
    await stage.settle();
    for (let second = 0; second < 10; second++) await stage.pass(1_000);
    stage.server.close();
    expect(stage.faults).toEqual([]);
  }
});

test('a ClientHello that is one of the last messages there can be is no fault', async () => {
  for (const sequence of [65_533, 65_534, 65_535]) {
    const stage = new Stage();
    const cookie = await cookieFor(stage, 40_001);
    stage.server.receive(plainRecord(ContentType.handshake, 1, helloMessage(cookie, sequence)), ADDRESS, 40_001);
    await stage.settle();
    expect(stage.faults).toEqual([]);
    expect(stage.server.handshakeCount).toBe(0);
  }
});

test('one datagram is answered with one cookie, however many ClientHellos it holds', async () => {
  const stage = new Stage();
  const hello = helloMessage(NOTHING, 0);
  stage.server.receive(plainRecord(ContentType.handshake, 0, Buffer.concat(Array(200).fill(hello))), ADDRESS, 40_001);
  await stage.settle();
  expect(stage.astray).toHaveLength(1);
  const records = Array.from({ length: 16 }, (_, n) => plainRecord(ContentType.handshake, n, hello));
  stage.server.receive(Buffer.concat(records), ADDRESS, 40_001);
  await stage.settle();
  expect(stage.astray).toHaveLength(2);
});

test('who moves to the address of another, which anybody can pretend, ends no session there', async () => {
  const stage = new Stage();
  stage.keys.set('other', [Buffer.from('of another')]);
  const victim = await stage.open(40_001);
  const mover = await stage.open(40_002, {
    connectionId: NOTHING,
    psk: { identity: 'other', key: Buffer.from('of another') },
  });
  stage.server.receive(mover.client.seal(ContentType.applicationData, Buffer.from('moved')), ADDRESS, 40_001);
  await stage.settle();
  expect(stage.moves).toBe(1);
  expect(stage.closed).toEqual([]);
  victim.client.send(Buffer.from('still here'));
  await stage.settle();
  expect(stage.heard).toEqual(['moved', 'still here']);
  // Nor does its end, or that it moves on.
  mover.client.close();
  await stage.settle();
  victim.client.send(Buffer.from('and here'));
  await stage.settle();
  expect(stage.heard).toEqual(['moved', 'still here', 'and here']);
});

test('what comes while the registry is asked is kept, up to a few KiB', async () => {
  const stage = new Stage();
  let answer = (): void => {};
  stage.asked = new Promise((resolve) => {
    answer = resolve;
  });
  const { client } = stage.client(40_001);
  client.start();
  await stage.settle();
  expect(stage.server.handshakeCount).toBe(1);
  stage.server.receive(client.seal(ContentType.applicationData, Buffer.from('small')), ADDRESS, 40_001);
  for (let n = 0; n < 4; n++)
    stage.server.receive(client.seal(ContentType.applicationData, Buffer.alloc(6_000, `${n}`)), ADDRESS, 40_001);
  answer();
  await stage.settle();
  expect(stage.heard.map((each) => each.length)).toEqual([5, 6_000]);
});

test('a stranger who announces large messages ahead of their turn makes us keep one', () => {
  const reassembly = new Reassembly(1, 4_096);
  const whole = (sequence: number, size: number): void =>
    reassembly.add({ type: 11, size, sequence, offset: 0, bytes: Buffer.alloc(size, sequence) });
  for (const sequence of [2, 3, 4, 5]) whole(sequence, 4_096);
  whole(1, 4_096);
  expect(reassembly.take()?.sequence).toBe(1);
  expect(reassembly.take()?.sequence).toBe(2);
  expect(reassembly.take()).toBeNull();
  whole(3, 4_096);
  expect(reassembly.take()?.sequence).toBe(3);
});

test('only a front with a cookie is answered with our flight once more', async () => {
  const stage = new Stage();
  const cookie = await cookieFor(stage, 40_001);
  stage.server.receive(plainRecord(ContentType.handshake, 1, helloMessage(cookie, 1)), ADDRESS, 40_001);
  await stage.settle();
  const before = stage.astray.length;
  const later = helloMessage(cookie, 1);
  // The same message, as its second part.
  later.writeUIntBE(later.length - 12 + 4, 1, 3);
  later.writeUIntBE(4, 6, 3);
  for (let n = 2; n < 10; n++) stage.server.receive(plainRecord(ContentType.handshake, n, later), ADDRESS, 40_001);
  await stage.settle();
  expect(stage.astray).toHaveLength(before);
});

test('no two sessions have one connection id, even when ids are so short that they run out', async () => {
  const stage = new Stage({ limits: { connectionIdBytes: 1, sessionsPerIdentityMax: 1_000 } });
  for (let n = 0; n < 300; n++) await stage.open(41_000 + n, { connectionId: NOTHING });
  expect(stage.server.sessionCount).toBe(300);
  expect(stage.closed).toEqual([]);
  const ids = stage.sessions.map((session) => (session as unknown as { connectionId: Buffer | null }).connectionId);
  const given = ids.filter((id) => id !== null).map((id) => id.toString('hex'));
  expect(new Set(given).size).toBe(given.length);
});

test('an error while a flight is sent again ends that handshake, and not the timer', async () => {
  const stage = new Stage();
  const cookie = await cookieFor(stage, 40_001);
  stage.server.receive(plainRecord(ContentType.handshake, 1, helloMessage(cookie, 1)), ADDRESS, 40_001);
  await stage.settle();
  expect(stage.server.handshakeCount).toBe(1);
  const broken = new Error('no socket');
  stage.network = () => {
    throw broken;
  };
  stage.nowMs += 2_000;
  stage.server.tick();
  expect(stage.faults).toEqual([broken]);
  expect(stage.outcomes).toEqual(['fault']);
  expect(stage.server.handshakeCount).toBe(0);
});

test('strangers without a certificate push out each other, not the devices that sleep', async () => {
  const stage = new Stage({
    certificate: { key: createPrivateKey(CERTIFICATE_KEY), chain: [new X509Certificate(CERTIFICATE).raw] },
    clientCertificates: 'optional',
    limits: { sessionsMax: 6, sessionsPerIdentityMax: 100 },
  });
  for (let port = 40_001; port <= 40_004; port++) await stage.open(port);
  for (let port = 41_001; port <= 41_020; port++) await stage.open(port, { suites: [0xc0ae] });
  const left = stage.sessions.filter((session) => !stage.closed.includes(session));
  expect(left.filter(({ identity }) => identity !== null).map(({ port }) => port)).toEqual([
    40_001, 40_002, 40_003, 40_004,
  ]);
  expect(left.map(({ port }) => port).slice(4)).toEqual([41_019, 41_020]);
  for (let port = 42_001; port <= 42_002; port++) await stage.open(port);
  expect(stage.server.sessionCount).toBe(6);
});
