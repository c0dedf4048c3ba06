import { createSocket, type Socket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, type DeviceKeys, type Started } from '@millrace/core';
import { afterEach, describe, expect, test } from 'vitest';
import type { CoapEndpoint, Peer } from '../coap/contract.ts';
import { KEY, TestGate, THING } from '../testing/gate.ts';
import { type CoapsAddress, coapsServer, settingsOf } from './coaps-server.ts';
import { CoapsIngestConfig, coapsPort } from './config.ts';
import { CERTIFICATE, CERTIFICATE_KEY } from './testing/certificates.ts';
import { DtlsClient } from './testing/client.ts';

const WAIT_MS_MAX = 20_000;
const config = (environment: Readonly<Record<string, string>>) => CoapsIngestConfig.parse(environment);
const keys: DeviceKeys = {
  keysOf: async (identity) => (identity === THING ? [KEY] : []),
  bootstrapKeys: async (externalId) => (externalId === 'urn:1' ? [{ thing: THING, key: 'external' }] : []),
};
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function until(what: () => boolean): Promise<void> {
  for (const end = Date.now() + WAIT_MS_MAX; Date.now() < end; ) {
    if (what()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('it did not come to pass');
}

/** An endpoint that says back what it hears, and to whom. */
class Echo implements CoapEndpoint {
  readonly peers: Peer[] = [];
  readonly forgotten: Peer[] = [];
  receive(datagram: Buffer, peer: Peer): void {
    this.peers.push(peer);
    peer.send(datagram);
  }
  async request(): Promise<never> {
    throw new Error('asks nobody');
  }
  forget(peer: Peer): void {
    this.forgotten.push(peer);
  }
  async drain(): Promise<void> {}
  close(): void {}
}

async function open(environment: Readonly<Record<string, string>> = {}) {
  const gate = new TestGate();
  const endpoint = new Echo();
  const started: Started<CoapsAddress> = await coapsServer({
    host: '127.0.0.1',
    config: config({ MILLRACE_COAPS_PORT: '0', ...environment }),
    endpoint,
    gate,
    keys,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
  }).start();
  cleanups.push(() => started.stop());
  return { gate, endpoint, started, port: Number(started.value.coaps?.split(':').pop()) };
}

async function connect(port: number, psk: { identity: string; key: Buffer }, connectionId: Buffer | null = null) {
  const heard: string[] = [];
  const closed: string[] = [];
  let socket: Socket = createSocket('udp4');
  const client = new DtlsClient({
    psk,
    connectionId,
    send: (datagram) => socket.send(datagram, port, '127.0.0.1'),
    onMessage: (datagram) => heard.push(datagram.toString()),
    onClose: (why) => closed.push(why),
  });
  const listen = () => socket.on('message', (datagram) => client.receive(datagram));
  listen();
  cleanups.push(() => {
    socket.close();
  });
  client.start();
  const again = setInterval(() => client.resend(), 1_000);
  await until(() => client.state !== 'handshake').finally(() => clearInterval(again));
  return {
    client,
    heard,
    closed,
    move: () => {
      socket.close();
      socket = createSocket('udp4');
      listen();
    },
  };
}

describe('CoAPS', () => {
  test('is off unless it is asked for', async () => {
    expect(coapsPort(config({}))).toBe('off');
    expect(coapsPort(config({ MILLRACE_COAPS: 'on' }))).toBe(5684);
    expect(coapsPort(config({ MILLRACE_COAPS_PORT: '7000' }))).toBe(7_000);
    expect(coapsPort(config({ MILLRACE_COAPS: 'on', MILLRACE_COAPS_PORT: 'off' }))).toBe('off');
    const { started } = await open({ MILLRACE_COAPS_PORT: 'off' });
    expect(started.value.coaps).toBeNull();
  });
  test('knows a thing by its key, wherever it is', async () => {
    const { endpoint, port } = await open();
    const { client, heard, move } = await connect(port, { identity: THING, key: Buffer.from(KEY) }, Buffer.alloc(0));
    client.send(Buffer.from('here'));
    await until(() => heard.length === 1);
    expect(endpoint.peers[0]).toMatchObject({ verified: true, address: '127.0.0.1' });
    expect(endpoint.peers[0]?.identity).toEqual({ kind: 'key', identity: THING, key: KEY });
    const before = endpoint.peers[0]?.port;
    move();
    client.send(Buffer.from('there'));
    await until(() => heard.length === 2);
    expect(endpoint.peers[1]).toBe(endpoint.peers[0]);
    expect(endpoint.peers[0]?.port).not.toBe(before);
    // Until it has answered something that was sent there.
    expect(endpoint.peers[0]?.verified).toBe(false);
  });
  test('knows who asks for the bootstrap by the external id and key', async () => {
    const { endpoint, port } = await open();
    const { client, heard } = await connect(port, { identity: 'urn:1', key: Buffer.from('external') });
    client.send(Buffer.from('bootstrap'));
    await until(() => heard.length === 1);
    expect(endpoint.peers[0]?.identity).toEqual({ kind: 'bootstrap', thing: THING, externalId: 'urn:1' });
  });
  test('ends the session of who is no longer known, and tells the endpoint', async () => {
    const { gate, endpoint, port } = await open();
    const { client, heard, closed } = await connect(port, { identity: THING, key: Buffer.from(KEY) });
    client.send(Buffer.from('here'));
    await until(() => heard.length === 1);
    const identify = gate.identify.bind(gate);
    // Something about the thing has changed: it stays.
    gate.revoke(KEY);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(closed).toEqual([]);
    gate.identify = () => ({ kind: 'refused', reason: 'unknown' });
    const { principal } = (await identify({ kind: 'key', key: KEY })) as { principal: { revoked: boolean } };
    principal.revoked = true;
    await until(() => closed.length === 1);
    expect(closed).toEqual(['alert 0']);
    expect(endpoint.forgotten).toEqual([endpoint.peers[0]]);
  });
  test('says goodbye when it stops', async () => {
    const { started, port } = await open();
    const { closed } = await connect(port, { identity: THING, key: Buffer.from(KEY) });
    await started.stop();
    await until(() => closed.length === 1);
    expect(closed).toEqual(['alert 0']);
  });
  test('refuses a handshake that the registry can not be asked about, and goes on later', async () => {
    const { gate, port } = await open();
    gate.failure = new Error('away');
    const first = await connect(port, { identity: THING, key: Buffer.from(KEY) });
    expect(first.closed).toEqual(['alert 80']);
    gate.failure = null;
    const second = await connect(port, { identity: THING, key: Buffer.from(KEY) });
    expect(second.client.state).toBe('open');
  });
});

describe('its certificate', () => {
  const files = (certificate: string, key: string) => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-coaps-'));
    cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
    writeFileSync(join(directory, 'certificate'), certificate);
    writeFileSync(join(directory, 'key'), key);
    return { MILLRACE_COAPS_CERT: join(directory, 'certificate'), MILLRACE_COAPS_KEY: join(directory, 'key') };
  };
  test('is read with its chain', async () => {
    const settings = await settingsOf(config(files(`${CERTIFICATE}\n${CERTIFICATE}`, CERTIFICATE_KEY)));
    expect(settings.certificate?.chain).toHaveLength(2);
  });
  test.each([
    ['is missing', () => ({ MILLRACE_COAPS_CERT: '/nowhere', MILLRACE_COAPS_KEY: '/nowhere' })],
    ['has no key', () => ({ MILLRACE_COAPS_CERT: files(CERTIFICATE, '').MILLRACE_COAPS_CERT })],
    ['is none', () => files('hello', CERTIFICATE_KEY)],
    ['has a key that is none', () => files(CERTIFICATE, 'not a key')],
  ])('that %s is told of at the start', async (_, environment) => {
    await expect(settingsOf(config(environment()))).rejects.toMatchObject({ code: 'COAPS_CERTIFICATE_INVALID' });
  });
  test('or keys: one of them is needed', async () => {
    await expect(settingsOf(config({ MILLRACE_COAPS_PSK: 'off' }))).rejects.toMatchObject({
      code: 'COAPS_NOTHING_OFFERED',
    });
  });
});
