import { createPrivateKey, X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { CERTIFICATE, CERTIFICATE_KEY } from './testing/certificates.ts';
import { chance, KEY, type Network, Stage, type StageClient } from './testing/stage.ts';

const CCM_8 = 0xc0ae;
const certificate = {
  key: createPrivateKey(CERTIFICATE_KEY),
  chain: [new X509Certificate(CERTIFICATE).raw],
};
/** All come on time, or not. */
const lossy =
  (random: () => number, loss: number, shuffle = 0, twice = 0): Network =>
  (datagram) => {
    if (random() < loss) return [];
    const late = random() < shuffle ? 1 + Math.floor(random() * 4) : 0;
    const once = { datagram, late };
    return random() < twice ? [once, { datagram, late: late + 2 }] : [once];
  };

async function handshakes(stage: Stage, clients: readonly StageClient[], secondsMax: number): Promise<number> {
  for (const { client } of clients) client.start();
  await stage.settle();
  for (let second = 0; second < secondsMax && clients.some(({ client }) => client.state === 'handshake'); second++)
    await stage.pass(1_000, clients);
  return clients.filter(({ client }) => client.state === 'open').length;
}

describe('on a network that loses datagrams', () => {
  test.each([
    ['10 %', 0.1, 15],
    ['30 %', 0.3, 30],
  ])('%s: handshakes are done all the same, by sending flights again', async (_, loss, seconds) => {
    const stage = new Stage({ certificate, clientCertificates: 'required' });
    stage.network = lossy(chance(7), loss);
    const clients = Array.from({ length: 60 }, (_each, n) =>
      stage.client(40_000 + n, n % 2 === 0 ? {} : { suites: [CCM_8], certificate, datagramBytesMax: 400 }),
    );
    expect(await handshakes(stage, clients, seconds)).toBe(60);
    // One whose last flight was lost has its session; the client learns of it by asking again.
    expect(stage.outcomes.filter((outcome) => outcome === 'established')).toHaveLength(60);
    expect(stage.server.handshakeCount).toBe(0);
  });
});

describe('on a network that reorders and repeats datagrams', () => {
  test('handshakes are done, and each datagram is taken once', async () => {
    const stage = new Stage();
    stage.network = lossy(chance(11), 0, 0.3, 0.2);
    const clients = Array.from({ length: 40 }, (_, n) => stage.client(40_000 + n));
    expect(await handshakes(stage, clients, 15)).toBe(40);
    for (let n = 0; n < 50; n++) {
      for (const [at, { client }] of clients.entries()) client.send(Buffer.from(`${at}/${n}`));
      await stage.settle();
    }
    expect(stage.heard).toHaveLength(2_000);
    expect(new Set(stage.heard).size).toBe(2_000);
  });
});

describe('somebody in between', () => {
  test('who changes datagrams gets nothing through that was not sent, and breaks nothing', async () => {
    const stage = new Stage({ certificate, limits: { failuresPerAddressPerSecond: 0 } });
    const random = chance(13);
    stage.network = (datagram) => {
      if (random() >= 0.3) return [{ datagram, late: 0 }];
      let changed = Buffer.from(datagram);
      for (let bytes = 1 + Math.floor(random() * 4); bytes > 0; bytes--)
        changed[Math.floor(random() * changed.length)] = Math.floor(random() * 256);
      if (random() < 0.2) changed = changed.subarray(0, Math.floor(random() * changed.length));
      return [{ datagram: changed, late: 0 }];
    };
    const sent = new Set<string>();
    for (let round = 0; round < 10; round++) {
      const clients = Array.from({ length: 20 }, (_, n) =>
        stage.client(40_000 + n, n % 2 === 0 ? { connectionId: Buffer.alloc(0) } : { suites: [CCM_8], certificate }),
      );
      await handshakes(stage, clients, 5);
      for (const [at, { client }] of clients.entries()) {
        for (let n = 0; n < 10; n++) {
          const text = `${round}/${at}/${n}`;
          sent.add(text);
          client.send(Buffer.from(text));
        }
      }
      await stage.settle();
    }
    expect(stage.heard.length).toBeGreaterThan(100);
    expect(stage.heard.filter((text) => !sent.has(text))).toEqual([]);
    expect(new Set(stage.heard).size).toBe(stage.heard.length);
    for (let second = 0; second < 40; second++) await stage.pass(1_000);
    expect(stage.server.handshakeCount).toBe(0);
    stage.network = (datagram) => [{ datagram, late: 0 }];
    await stage.open(50_000);
  });
});

describe('strangers', () => {
  test('who send anything at all change nothing', async () => {
    const stage = new Stage();
    const random = chance(17);
    const { client, heard } = await stage.open(40_001);
    for (let n = 0; n < 20_000; n++) {
      const datagram = Buffer.from(
        Array.from({ length: Math.floor(random() * 120) }, () => Math.floor(random() * 256)),
      );
      // Half of them look like records.
      if (n % 2 === 0 && datagram.length >= 13) {
        datagram[0] = 20 + (n % 6);
        datagram[1] = 0xfe;
        datagram[2] = 0xfd;
        datagram.writeUInt16BE(n % 3, 3);
        datagram.writeUInt16BE(datagram.length - 13, 11);
      }
      stage.server.receive(datagram, '192.0.2.1', n % 3 === 0 ? 40_001 : 1 + Math.floor(random() * 65_535));
    }
    await stage.settle();
    client.send(Buffer.from('still here'));
    await stage.settle();
    expect(heard).toEqual(['still here']);
    expect(stage.server.handshakeCount).toBe(0);
    expect(stage.server.sessionCount).toBe(1);
  });
  test('who say hello from ten thousand ports leave nothing behind, and get back no more than they sent', async () => {
    const stage = new Stage();
    let hello: Buffer = Buffer.alloc(0);
    const { client } = stage.client(40_001);
    stage.network = (datagram) => {
      hello = datagram;
      return [];
    };
    client.start();
    const before = stage.sentBytes;
    for (let port = 1; port <= 10_000; port++) stage.server.receive(hello, '198.51.100.1', port);
    expect(stage.sentBytes - before).toBeLessThanOrEqual(10_000 * hello.length);
    expect(stage.sentBytes).toBeGreaterThan(before);
    expect(stage.server.handshakeCount).toBe(0);
  });
  test('who come from port 0 get no answer: there is nowhere to send it', async () => {
    const stage = new Stage();
    const { client } = stage.client(40_001);
    stage.network = (datagram) => {
      stage.server.receive(datagram, '192.0.2.1', 0);
      return [];
    };
    client.start();
    expect(stage.sentBytes).toBe(0);
  });
  test('who play a cookie back from another address, or too late, begin nothing', async () => {
    const stage = new Stage();
    const hellos: Buffer[] = [];
    stage.network = (datagram) => {
      hellos.push(datagram);
      return [{ datagram, late: 0 }];
    };
    await stage.open(40_001);
    const [, , second] = hellos as [Buffer, Buffer, Buffer];
    stage.server.receive(second, '198.51.100.1', 40_001);
    expect(stage.server.handshakeCount).toBe(0);
    stage.server.receive(second, '192.0.2.1', 40_001);
    expect(stage.server.handshakeCount).toBe(1);
    stage.nowMs += 180_000;
    stage.server.tick();
    stage.server.receive(second, '192.0.2.1', 40_001);
    expect(stage.server.handshakeCount).toBe(0);
  });
  test('who play back all that was ever sent are heard once', async () => {
    const stage = new Stage();
    const all: Buffer[] = [];
    stage.network = (datagram) => {
      all.push(datagram);
      return [{ datagram, late: 0 }];
    };
    const { client } = await stage.open(40_001, { connectionId: Buffer.alloc(0) });
    for (let n = 0; n < 200; n++) {
      client.send(Buffer.from(`${n}`));
      await stage.settle();
    }
    for (const datagram of [...all]) stage.server.receive(datagram, '203.0.113.9', 9_999);
    await stage.settle();
    expect(stage.heard).toHaveLength(200);
    expect(stage.sessions[0]?.port).toBe(40_001);
  });
});

describe('a certificate', () => {
  test('proves who the device is, for each of the suites', async () => {
    for (const suite of [0xc0ae, 0xc0ac, 0xc02b]) {
      const stage = new Stage({ certificate, clientCertificates: 'required' });
      const { client, heard } = await stage.open(40_001, { suites: [suite], certificate });
      client.send(Buffer.from('hello'));
      await stage.settle();
      expect(heard).toEqual(['hello']);
      expect(stage.sessions[0]?.identity).toMatchObject({ kind: 'certificate', certificate: certificate.chain[0] });
    }
  });
  test('that the gate refuses lets nobody in', async () => {
    const stage = new Stage({ certificate, clientCertificates: 'required' });
    stage.admits = () => false;
    const { client, closed } = stage.client(40_001, { suites: [CCM_8], certificate });
    client.start();
    await stage.settle();
    expect(closed).toEqual(['alert 49']);
    expect(stage.server.sessionCount).toBe(0);
  });
  test('whose key the client does not have lets nobody in', async () => {
    const stage = new Stage({ certificate, clientCertificates: 'required' });
    const { generateKeyPairSync } = await import('node:crypto');
    const stolen = { key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, chain: certificate.chain };
    const { client, closed } = stage.client(40_001, { suites: [CCM_8], certificate: stolen });
    client.start();
    await stage.settle();
    expect(closed).toEqual(['alert 51']);
    expect(stage.outcomes).toEqual(['bad_certificate']);
  });
  test('may be missing where it is optional, and may not where it is required', async () => {
    const optional = new Stage({ certificate, clientCertificates: 'optional' });
    await optional.open(40_001, { suites: [CCM_8] });
    expect(optional.sessions[0]?.identity).toBeNull();
    const required = new Stage({ certificate, clientCertificates: 'required' });
    const { client, closed } = required.client(40_001, { suites: [CCM_8] });
    client.start();
    await required.settle();
    expect(closed).toEqual(['alert 40']);
  });
  test('is not needed by who has a key', async () => {
    const stage = new Stage({ certificate, clientCertificates: 'required' });
    await stage.open(40_001, { suites: [CCM_8, 0xc0a8].toReversed(), psk: { identity: 'thing', key: KEY } });
    expect(stage.sessions[0]?.identity).toMatchObject({ kind: 'key', identity: 'thing' });
  });
});
