import { describe, expect, test } from 'vitest';
import { CIPHER_SUITES } from './cipher-suites.ts';
import { KEY, Stage } from './testing/stage.ts';

const pskSuites = [...CIPHER_SUITES.values()].filter(({ keyExchange }) => keyExchange !== 'ecdhe_ecdsa');

describe('a handshake with a pre-shared key', () => {
  test.each(pskSuites.map(({ id, name }) => [name, id] as const))(
    '%s: both sides understand each other',
    async (_, id) => {
      const stage = new Stage();
      const { client, heard } = await stage.open(40_001, { suites: [id] });
      expect(client.suite?.id).toBe(id);
      client.send(Buffer.from('hello'));
      await stage.settle();
      expect(heard).toEqual(['hello']);
      expect(stage.sessions[0]?.identity).toEqual({ kind: 'key', identity: 'thing', key: KEY.toString() });
    },
  );
  test('goes on without the extended master secret, which old clients do not know', async () => {
    const stage = new Stage();
    const { client, heard } = await stage.open(40_001, { extendedMasterSecret: false });
    client.send(Buffer.from('hello'));
    await stage.settle();
    expect(heard).toEqual(['hello']);
  });
  test('a wrong key and an unknown identity are refused alike, so nobody can ask which identities there are', async () => {
    const stage = new Stage();
    const wrong = stage.client(40_001, { psk: { identity: 'thing', key: Buffer.from('another') } });
    const unknown = stage.client(40_002, { psk: { identity: 'nobody', key: KEY } });
    const seen: number[] = [];
    for (const { client } of [wrong, unknown]) {
      const before = stage.sentBytes;
      client.start();
      await stage.settle();
      seen.push(stage.sentBytes - before);
    }
    expect(wrong.closed).toEqual(['alert 51']);
    expect(unknown.closed).toEqual(['alert 51']);
    expect(seen[0]).toBe(seen[1]);
    expect(stage.outcomes).toEqual(['wrong_key', 'wrong_key']);
    expect(stage.server.handshakeCount).toBe(0);
  });
  test('either key lets in while one that was replaced still holds', async () => {
    const stage = new Stage();
    const newer = Buffer.from('the newer key');
    stage.keys.set('thing', [newer, KEY]);
    await stage.open(40_001, { psk: { identity: 'thing', key: KEY } });
    await stage.open(40_002, { psk: { identity: 'thing', key: newer } });
    expect(stage.sessions.map(({ identity }) => identity)).toEqual([
      { kind: 'key', identity: 'thing', key: KEY.toString() },
      { kind: 'key', identity: 'thing', key: newer.toString() },
    ]);
  });
  test('is refused without a common cipher suite', async () => {
    const stage = new Stage();
    const { client, closed } = stage.client(40_001, { suites: [0xc02b, 0x1301] });
    client.start();
    await stage.settle();
    expect(closed).toEqual(['alert 40']);
    expect(stage.server.handshakeCount).toBe(0);
  });
  test('is refused in DTLS 1.0', async () => {
    const stage = new Stage();
    const { client, closed } = stage.client(40_001, { version: 0xfeff });
    client.start();
    await stage.settle();
    expect(closed).toEqual(['alert 70']);
  });
  test('takes a ClientHello that comes in fragments', async () => {
    const stage = new Stage();
    const { client, heard } = await stage.open(40_001, { paddingBytes: 900, datagramBytesMax: 256 });
    client.send(Buffer.from('hello'));
    await stage.settle();
    expect(heard).toEqual(['hello']);
  });
});

describe('a session', () => {
  test('takes each datagram once, however often it comes', async () => {
    const stage = new Stage();
    const { client } = await stage.open(40_001);
    stage.network = (datagram) => [0, 1, 3].map((late) => ({ datagram, late }));
    for (let n = 0; n < 100; n++) client.send(Buffer.from(`${n}`));
    await stage.settle();
    expect(stage.heard.toSorted()).toEqual(Array.from({ length: 100 }, (_, n) => `${n}`).toSorted());
  });
  test('moves with its connection id, and has to show anew that it can be reached', async () => {
    const stage = new Stage();
    const { client, heard, move } = await stage.open(40_001, { connectionId: Buffer.alloc(0) });
    for (let n = 0; n < 5; n++) {
      move(41_000 + n);
      client.send(Buffer.from(`${n}`));
      await stage.settle();
    }
    expect(heard).toEqual(['0', '1', '2', '3', '4']);
    expect(stage.moves).toBe(5);
    expect(stage.sessions[0]?.port).toBe(41_004);
    expect(stage.server.sessionCount).toBe(1);
  });
  test('puts the id that the client wants into its records', async () => {
    const stage = new Stage();
    const { client, heard } = await stage.open(40_001, { connectionId: Buffer.from('mine') });
    client.send(Buffer.from('hello'));
    await stage.settle();
    expect(heard).toEqual(['hello']);
  });
  test('is not moved by an old datagram that somebody plays back from elsewhere', async () => {
    const stage = new Stage();
    const made = await stage.open(40_001, { connectionId: Buffer.alloc(0) });
    const late: Buffer[] = [];
    stage.network = (datagram) => {
      late.push(datagram);
      return [];
    };
    made.client.send(Buffer.from('held back'));
    stage.network = (datagram) => [{ datagram, late: 0 }];
    made.client.send(Buffer.from('newer'));
    await stage.settle();
    stage.server.receive(late[0] as Buffer, '198.51.100.66', 666);
    await stage.settle();
    // It was never seen, so it is taken; the session stays where it is.
    expect(stage.heard).toEqual(['newer', 'held back']);
    expect(stage.sessions[0]?.port).toBe(40_001);
  });
  test('is lost to a client without a connection id whose address changes', async () => {
    const stage = new Stage();
    const { client, move } = await stage.open(40_001);
    move(41_000);
    client.send(Buffer.from('hello'));
    await stage.settle();
    expect(stage.heard).toEqual([]);
    expect(stage.refused).toEqual(['unknown']);
  });
  test('stays until the handshake that replaces it is done', async () => {
    const stage = new Stage();
    const first = await stage.open(40_001);
    const second = stage.client(40_001, { psk: { identity: 'nobody', key: KEY } });
    second.client.start();
    await stage.settle();
    expect(second.closed).toEqual(['alert 51']);
    first.client.send(Buffer.from('still here'));
    await stage.settle();
    expect(stage.heard).toEqual(['still here']);
    await stage.open(40_001);
    expect(stage.closed).toEqual([stage.sessions[0]]);
    expect(stage.server.sessionCount).toBe(1);
  });
  test('ends with close_notify of either side', async () => {
    const stage = new Stage();
    const one = await stage.open(40_001);
    const other = await stage.open(40_002);
    one.client.close();
    stage.sessions[1]?.close();
    await stage.settle();
    expect(other.closed).toEqual(['alert 0']);
    expect(stage.server.sessionCount).toBe(0);
    expect(stage.closed).toHaveLength(2);
  });
  test('refuses a renegotiation and goes on', async () => {
    const stage = new Stage();
    const { client, heard, closed } = await stage.open(40_001);
    stage.server.receive(client.seal(22, Buffer.from('01000000000100000000000000', 'hex')), '192.0.2.1', 40_001);
    client.send(Buffer.from('hello'));
    await stage.settle();
    expect(heard).toEqual(['hello']);
    expect(closed).toEqual([]);
  });
  test('ends for who may no longer stay, and not for who may', async () => {
    const stage = new Stage();
    const { closed } = await stage.open(40_001);
    stage.standing.doubtful = true;
    await stage.pass(250);
    await stage.pass(250);
    expect(stage.server.sessionCount).toBe(1);
    stage.standing.renew = async () => false;
    await stage.pass(250);
    await stage.pass(250);
    expect(closed).toEqual(['alert 0']);
    expect(stage.server.sessionCount).toBe(0);
  });
  test('ends when it was idle for too long: later with a connection id', async () => {
    const stage = new Stage({ limits: { idleMsMax: 60_000, idleWithIdMsMax: 600_000 } });
    await stage.open(40_001);
    await stage.open(40_002, { connectionId: Buffer.alloc(0) });
    await stage.pass(30_000);
    expect(stage.server.sessionCount).toBe(2);
    await stage.pass(31_000);
    expect(stage.server.sessionCount).toBe(1);
    await stage.pass(600_000);
    expect(stage.server.sessionCount).toBe(0);
  });
});

describe('limits', () => {
  test('the session that was silent for longest makes room', async () => {
    const stage = new Stage({ limits: { sessionsMax: 3 } });
    const [first] = [await stage.open(40_001), await stage.open(40_002), await stage.open(40_003)];
    stage.nowMs += 20_000;
    first.client.send(Buffer.from('I am here'));
    await stage.settle();
    await stage.open(40_004);
    expect(stage.closed.map(({ port }) => port)).toEqual([40_002]);
  });
  test('a thing that opens ever new sessions pushes out its own', async () => {
    const stage = new Stage({ limits: { sessionsPerIdentityMax: 2 } });
    stage.keys.set('other', [KEY]);
    await stage.open(40_001, { psk: { identity: 'other', key: KEY } });
    for (let port = 40_002; port < 40_010; port++) await stage.open(port);
    expect(stage.server.sessionCount).toBe(3);
    expect(stage.closed.map(({ port }) => port)).not.toContain(40_001);
  });
  test('who guesses keys is not answered any more, others are', async () => {
    const stage = new Stage({ limits: { failuresPerAddressPerSecond: 1 } });
    for (let n = 0; n < 12; n++) {
      const { client } = stage.client(40_001, { psk: { identity: 'thing', key: Buffer.from(`guess ${n}`) } });
      client.start();
      await stage.settle();
    }
    expect(stage.outcomes).toHaveLength(10);
    expect(stage.refused).toEqual(['limit', 'limit']);
    stage.nowMs += 5_000;
    await stage.open(40_002);
  });
  test('guesses that begin together are counted as those one after the other, and forgiven as soon', async () => {
    const stage = new Stage({ limits: { failuresPerAddressPerSecond: 1 } });
    for (let n = 0; n < 50; n++) {
      // Time goes on, a little.
      stage.nowMs += 5;
      stage.client(40_001 + n, { psk: { identity: 'thing', key: Buffer.from(`guess ${n}`) } }).client.start();
      if (n % 10 === 9) await stage.settle();
    }
    expect(stage.outcomes).toEqual(Array.from({ length: 10 }, () => 'wrong_key'));
    const device = stage.client(41_000);
    device.client.start();
    await stage.settle();
    expect(device.client.state).toBe('handshake');
    // Who guessed has gone; two seconds later the device behind the same address asks again.
    stage.nowMs += 2_000;
    device.client.resend();
    await stage.settle();
    expect(device.client.state).toBe('open');
  });
  test('many sessions at once push out those that are silent, not who speaks', async () => {
    const stage = new Stage({ limits: { sessionsMax: 10, sessionsPerIdentityMax: 100 } });
    const speaking = await stage.open(40_001);
    for (let port = 40_002; port < 40_060; port++) {
      stage.nowMs += 1;
      speaking.client.send(Buffer.from('still here'));
      await stage.open(port);
    }
    expect(stage.server.sessionCount).toBe(10);
    expect(stage.closed.map(({ port }) => port)).not.toContain(40_001);
  });
  test('handshakes that nobody goes on with are forgotten', async () => {
    const stage = new Stage({ limits: { handshakesPerAddressMax: 3 } });
    // Hears everything up to the server's first flight, and falls silent.
    for (let port = 40_001; port <= 40_005; port++) {
      const { client } = stage.client(port);
      const { network } = stage;
      let sent = 0;
      stage.network = (datagram) => (++sent <= 3 ? network(datagram) : []);
      client.start();
      await stage.settle();
      stage.network = network;
    }
    expect(stage.server.handshakeCount).toBe(3);
    expect(stage.refused).toEqual(['limit', 'limit']);
    stage.network = () => [];
    for (let second = 0; second < 40; second++) await stage.pass(1_000);
    expect(stage.server.handshakeCount).toBe(0);
    expect(stage.outcomes).toEqual(['timeout', 'timeout', 'timeout']);
  });
});
