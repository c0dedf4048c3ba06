import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CertificateMaker, type KeyPair, missingOpenssl } from '../bridge/clients/certificates.ts';
import { eventually, Millrace } from '../millrace.ts';
import { startFamily, workersOf } from './family.ts';

const WORKERS = 2;
const CONNECTIONS_MAX = 12;
const missing = missingOpenssl;

describe.skipIf(missing !== null)(`the doors of workers${missing === null ? '' : ` (${missing})`}`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-doors-'));
  const sockets: (Socket | TLSSocket)[] = [];
  let root: KeyPair;
  let millrace: Millrace | undefined;

  beforeAll(async () => {
    const maker = new CertificateMaker(directory);
    root = await maker.authority('root');
    const node = await maker.issue(root, 'node', 'IP:127.0.0.1');
    millrace = new Millrace({
      MILLRACE_WORKERS: String(WORKERS),
      MILLRACE_HTTP_TLS_CERT: node.certFile,
      MILLRACE_HTTP_TLS_KEY: node.keyFile,
      MILLRACE_MQTTS_PORT: '0',
      MILLRACE_MQTT_TLS_CERT: node.certFile,
      MILLRACE_MQTT_TLS_KEY: node.keyFile,
      MILLRACE_MQTT_CONNECTIONS_MAX: String(CONNECTIONS_MAX),
    });
    await startFamily(millrace);
  }, 300_000);
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  afterAll(async () => {
    await millrace?.dispose();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  const main = (): Millrace => millrace as Millrace;
  const address = (name: 'http' | 'mqtts'): URL => {
    const ready = readFileSync(join(main().directory, 'run', 'ready.json'), 'utf8');
    return new URL((JSON.parse(ready) as Record<string, string>)[name] as string);
  };
  /** On a connection of its own. */
  const get = (path: string, msMax = 20_000): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const sent = request(
        new URL(path, address('http')),
        { ca: root.cert, agent: false, timeout: msMax },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (part: string) => {
            text += part;
          });
          answer.once('end', () => resolve({ status: answer.statusCode ?? 0, text }));
          answer.once('error', reject);
        },
      );
      sent.once('timeout', () => sent.destroy(new Error('no answer in time')));
      sent.once('error', reject);
      sent.end();
    });
  const handshake = (name: 'http' | 'mqtts', session?: Buffer): Promise<{ socket: TLSSocket; session: Buffer }> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = address(name);
      const socket = connectTls({
        host: hostname,
        port: Number(port),
        ca: root.cert,
        // There the ticket is a part of the handshake.
        maxVersion: 'TLSv1.2',
        ...(session === undefined ? {} : { session }),
      });
      sockets.push(socket);
      socket.once('secureConnect', () => resolve({ socket, session: socket.getSession() as Buffer }));
      socket.once('error', reject);
    });

  test('speak TLS on every port, and pass on what is the main process’s', async () => {
    expect(address('http').protocol).toBe('https:');
    for (let index = 0; index < 2 * WORKERS; index++) {
      const { status, text } = await get('/version');
      expect([status, JSON.parse(text).name]).toEqual([200, 'millrace']);
    }
    const { socket } = await handshake('mqtts');
    expect(socket.authorized).toBe(true);
  }, 60_000);

  test.each(['http', 'mqtts'] as const)(
    'resume the TLS sessions of each other: %s',
    async (name) => {
      const { session } = await handshake(name);
      const resumed: boolean[] = [];
      for (let index = 0; index < 2 * WORKERS; index++) {
        resumed.push((await handshake(name, session)).socket.isSessionReused());
      }
      expect(resumed).toEqual(Array(2 * WORKERS).fill(true));
    },
    60_000,
  );

  test('let in as many MQTT clients as the node may have, all together', async () => {
    const { hostname, port } = address('mqtts');
    const opened: Socket[] = [];
    for (let index = 0; index < CONNECTIONS_MAX + 4; index++) {
      const socket = connectTcp(Number(port), hostname).on('error', () => {});
      sockets.push(socket.resume());
      opened.push(socket);
    }
    const cutOff = (): number => opened.filter(({ destroyed }) => destroyed).length;
    await eventually('what is too much is cut off', 30_000, async () => cutOff() >= 4);
    // Handshakes that are not done end in time, too: only those that were cut off at once are counted above.
    expect(cutOff()).toBeLessThan(opened.length);
  }, 60_000);

  test('are not those of a worker that says nothing', async () => {
    const [silent] = workersOf(main().pid);
    process.kill(silent as number, 'SIGSTOP');
    try {
      await eventually('the health', 60_000, async () => {
        const { status, text } = await get('/health/ready', 1_000);
        return (
          status === 503 &&
          (JSON.parse(text) as { checks: Record<string, string> }).checks.workers?.includes('does not answer')
        );
      });
      for (let index = 0; index < 4 * WORKERS; index++) expect((await get('/version')).status).toBe(200);
    } finally {
      process.kill(silent as number, 'SIGCONT');
    }
    await eventually('the health again', 60_000, async () => (await get('/health/ready')).status === 200);
  }, 180_000);
});
