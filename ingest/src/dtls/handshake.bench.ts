// Handshakes and records a second, without sockets: `node --expose-gc ingest/dist/dtls/handshake.bench.js` after a build
// (with --expose-gc also what a session takes).

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { CIPHER_SUITES } from './cipher-suites.ts';
import { CoapsIngestConfig, dtlsLimits } from './config.ts';
import type { DtlsSession } from './contract.ts';
import { type DtlsRecord, openRecord, readRecord, sealRecord } from './record.ts';
import { DtlsServer } from './server.ts';
import { CERTIFICATE, CERTIFICATE_KEY } from './testing/certificates.ts';
import { DtlsClient, type DtlsClientOptions } from './testing/client.ts';

const KEY = Buffer.from('0123456789abcdef0123456789abcdef0123456789a');
const certificate = { key: createPrivateKey(CERTIFICATE_KEY), chain: [new X509Certificate(CERTIFICATE).raw] };
const ROUNDS = 3;

/** Time that the server spends; the client's is not counted. */
class Clocked {
  readonly sessions: DtlsSession[] = [];
  serverMs = 0;
  readonly server: DtlsServer;
  #deliver: (datagram: Buffer) => void = () => {};

  constructor(keeps: boolean) {
    const limits = {
      ...dtlsLimits(CoapsIngestConfig.parse({})),
      handshakesPerAddressPerSecond: 0,
      sessionsPerIdentityMax: 1e9,
    };
    const standing = { doubtful: false, renew: async () => true };
    this.server = new DtlsServer({
      settings: { psk: true, certificate, clientCertificates: 'required', limits },
      authority: {
        candidates: async () => [
          { key: Buffer.from(KEY), identity: { kind: 'key', identity: 'thing', key: KEY.toString() } },
        ],
        admit: async () => standing,
      },
      listener: {
        opened: (session) => {
          if (keeps) this.sessions.push(session);
        },
        message: () => {},
        moved: () => {},
        closed: () => {},
      },
      send: (datagram) => setImmediate(() => this.#deliver(datagram)),
      counts: { handshake: () => {}, refused: () => {}, moved: () => {}, fault: console.error },
      now: () => performance.now(),
      wallClock: Date.now,
    });
  }

  /** @param port of its own, else the next one replaces it */
  async handshake(options: Partial<DtlsClientOptions>, port: number): Promise<void> {
    const waiting: Buffer[] = [];
    let done = false;
    const client = new DtlsClient({
      psk: { identity: 'thing', key: KEY },
      ...options,
      send: (datagram) => waiting.push(datagram),
      onOpen: () => {
        done = true;
      },
      onClose: (why) => {
        throw new Error(why);
      },
    });
    this.#deliver = (datagram) => client.receive(datagram);
    client.start();
    while (!done) {
      for (const datagram of waiting.splice(0)) {
        const from = performance.now();
        this.server.receive(datagram, '192.0.2.1', port);
        // The look-up of the key and the admission are promises.
        for (let turn = 0; turn < 8; turn++) await null;
        this.serverMs += performance.now() - from;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

async function handshakes(name: string, options: Partial<DtlsClientOptions>, count: number): Promise<void> {
  let best = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const clocked = new Clocked(false);
    for (let n = 0; n < count; n++) await clocked.handshake(options, 40_000);
    best = Math.max(best, (count / clocked.serverMs) * 1_000);
  }
  console.log(`${name.padEnd(44)} ${Math.round(best).toLocaleString('en').padStart(9)} handshakes/s`);
}

function records(id: number, connectionId: Buffer | null): void {
  const suite = CIPHER_SUITES.get(id);
  if (suite === undefined) return;
  const keys = { suite, key: Buffer.alloc(16, 7), salt: Buffer.alloc(4, 9) };
  const content = Buffer.alloc(130, 1);
  const count = 100_000;
  let [sealed, opened] = [0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    let from = performance.now();
    for (let n = 0; n < count; n++) sealRecord(keys, 23, n, content, connectionId);
    sealed = Math.max(sealed, (count / (performance.now() - from)) * 1_000);
    const record = sealRecord(keys, 23, 5, content, connectionId);
    from = performance.now();
    for (let n = 0; n < count; n++) openRecord(keys, readRecord(record, 0, connectionId?.length ?? 0) as DtlsRecord);
    opened = Math.max(opened, (count / (performance.now() - from)) * 1_000);
  }
  const name = `${suite.name}${connectionId === null ? '' : ' with an id'}`;
  const told = (rate: number): string => Math.round(rate).toLocaleString('en').padStart(9);
  console.log(`${name.padEnd(52)} ${told(sealed)} sealed/s ${told(opened)} opened/s`);
}

async function memory(count: number, options: Partial<DtlsClientOptions>, name: string): Promise<void> {
  const collect = globalThis.gc;
  if (collect === undefined) return;
  const used = (): number => {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  const clocked = new Clocked(true);
  const before = used();
  for (let n = 0; n < count; n++) await clocked.handshake(options, 1_024 + n);
  console.log(
    `${name.padEnd(44)} ${Math.round((used() - before) / count)} bytes a session (${clocked.sessions.length})`,
  );
}

await handshakes('PSK, CCM_8', {}, 3_000);
await handshakes('PSK, CCM_8, with a connection id', { connectionId: Buffer.alloc(0) }, 3_000);
await handshakes('PSK, GCM', { suites: [0x00a8] }, 3_000);
await handshakes('ECDHE_PSK, CCM_8', { suites: [0xd003] }, 1_000);
await handshakes('ECDHE_ECDSA, CCM_8, certificates of both', { suites: [0xc0ae], certificate }, 1_000);
for (const id of [0xc0a8, 0x00a8]) for (const connectionId of [null, Buffer.alloc(8, 3)]) records(id, connectionId);
await memory(20_000, {}, 'memory, PSK');
await memory(20_000, { connectionId: Buffer.alloc(0) }, 'memory, PSK with a connection id');
