import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missingOpenssl } from '../bridge/clients/certificates.ts';
import { counted } from '../coap/counted.ts';
import { eventually, freePort } from '../millrace.ts';
import { ask, CoapsNode, missingLibcoaps } from './coaps-node.ts';
import { Device } from './device.ts';

const SOURCE = new URL('../../../deploy/dtls/', import.meta.url).pathname;
const CACHED_GO = new URL('../../../.ci/go/bin/go', import.meta.url).pathname;
const GO = existsSync(CACHED_GO) ? CACHED_GO : 'go';
const missing = missingLibcoaps ?? missingOpenssl ?? missingGo();
const PACK = ['-m', 'post', '-t', '110', '-e', '[{"n":"temperature","v":21.5}]'];
const BUILD_MS_MAX = 240_000;

/** Why the terminator can't be built here, or null. @see .ci/run */
function missingGo(): string | null {
  const told = spawnSync(GO, ['version'], { encoding: 'utf8' });
  if (told.status === 0) return null;
  if (process.env.MILLRACE_TEST_NO_SKIP === '1') throw new Error('go is missing: .ci/run gets one');
  return 'go is missing';
}

describe.skipIf(missing !== null)(`the terminator on pion${missing === null ? '' : ` (${missing})`}`, () => {
  let node: CoapsNode;
  let program: string;
  let terminator: ChildProcess | null = null;
  let log = '';
  let port = 0;
  const url = (rest = ''): string => `coaps://127.0.0.1:${port}/channels/${node.publisher.channel}/messages${rest}`;
  const psk = (key = node.publisher.key): string[] => ['-k', key, '-u', node.publisher.thing];
  const start = async (...flags: string[]): Promise<void> => {
    const own = await node.maker.issue(node.root, '127.0.0.1', 'IP:127.0.0.1');
    const control = join(node.millrace.directory, 'run', 'dtls.sock');
    expect(statSync(control).mode & 0o777).toBe(0o600);
    const words = ['-listen', `127.0.0.1:${port}`, '-coap', node.millrace.coap.replace('coap://', '')];
    log = '';
    terminator = spawn(program, [...words, '-control', control, '-cert', own.certFile, '-key', own.keyFile, ...flags]);
    for (const stream of [terminator.stderr, terminator.stdout])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        log += text;
      });
    await eventually('the terminator', 20_000, async () => log.includes('ready') && log.includes('connected'));
  };
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    const running = terminator;
    terminator = null;
    if (running === null || running.exitCode !== null) return;
    await new Promise((resolve) => running.once('exit', resolve).kill(signal));
  };

  beforeAll(async () => {
    node = await CoapsNode.start({
      MILLRACE_COAPS_PORT: 'off',
      MILLRACE_COAP_TERMINATOR: 'on',
      // The same after a restart.
      MILLRACE_COAP_PORT: String(await freePort()),
    });
    program = join(node.directory, 'terminator');
    await built(program);
    // TCP and UDP ports are given out alike.
    port = await freePort();
    await start();
  }, BUILD_MS_MAX + 60_000);
  afterAll(async () => {
    await end('SIGTERM');
    await node?.dispose();
  }, 120_000);

  test.each(['coap-client-openssl', 'coap-client-gnutls'] as const)('%s publishes by its key alone', async (client) => {
    const { codes } = await ask(client, ...psk(), ...PACK, url());
    expect(codes.at(-1)).toBe('2.04');
  });
  test('a wrong key gets nowhere', async () => {
    const { codes } = await ask('coap-client-openssl', ...psk('another'), '-B', '5', ...PACK, url());
    expect(codes).toEqual([]);
  });
  test('a certificate stands for its thing', async () => {
    const { certificate, private_key } = await node.admin.json<{ certificate: string; private_key: string }>(
      'POST',
      '/certs',
      { thing_id: node.publisher.thing, ttl: '1d' },
    );
    const files = node.maker.keep(certificate, private_key);
    const shown = ['-c', files.certFile, '-j', files.keyFile, '-C', node.root.certFile];
    const { codes } = await ask('coap-client-openssl', ...shown, ...PACK, url());
    expect(codes.at(-1)).toBe('2.04');
  });
  test('a session ends with its key', async () => {
    const before = await counted(node.admin, 'millrace_coap_observers');
    const { id, key } = await node.admin.json<{ id: string; key: string }>('POST', '/things', { name: 'observer' });
    await node.admin.json('POST', '/connect', { channel_ids: [node.publisher.channel], thing_ids: [id] });
    const words = ['-v', '0', '-s', '100', '-k', key, '-u', id, '-m', 'get', url('/observed')];
    const observing = spawn('coap-client-openssl', words, { stdio: 'ignore' });
    const over = new Promise((resolve) => observing.once('exit', resolve));
    try {
      const observers = (): Promise<number> => counted(node.admin, 'millrace_coap_observers');
      await eventually('the observation', 30_000, async () => (await observers()) === before + 1);
      await node.admin.json('PATCH', `/things/${id}/key`, {});
      await eventually('its end', 30_000, async () => (await observers()) === before);
    } finally {
      observing.kill();
      await over;
    }
  }, 90_000);
  test('a session goes on from another address, and outlives a restart of Millrace', async () => {
    const device = new Device(port, node);
    try {
      await device.handshake();
      expect(await device.publish('here')).toBe('2.04');
      device.move();
      expect(await device.publish('there')).toBe('2.04');
      await node.millrace.end('SIGTERM');
      await node.millrace.start();
      await eventually('the session is known again', 30_000, async () => (await device.publish('again')) === '2.04');
      expect(device.handshakes).toBe(1);
    } finally {
      device.end();
    }
  }, 120_000);
  test('what it told is forgotten when it dies, and another takes its place', async () => {
    await end('SIGKILL');
    await start();
    const { codes } = await ask('coap-client-openssl', ...psk(), ...PACK, url());
    expect(codes.at(-1)).toBe('2.04');
  }, 60_000);
  test('strangers who begin handshakes and fall silent keep no device out', async () => {
    await end('SIGTERM');
    await start('-handshakes', '20', '-sessions', '20');
    const strangers = Array.from({ length: 100 }, () => createSocket('udp4'));
    try {
      for (const each of strangers) {
        each.send(CLIENT_HELLO, port, '127.0.0.1');
        await once(each, 'message');
      }
      const { codes } = await ask('coap-client-openssl', ...psk(), ...PACK, url());
      expect(codes.at(-1)).toBe('2.04');
    } finally {
      for (const each of strangers) each.close();
    }
  }, 60_000);
  test('its own tests pass', () => {
    const { status, stdout, stderr } = spawnSync(GO, ['test', './...'], { cwd: SOURCE, encoding: 'utf8' });
    expect(status, stdout + stderr).toBe(0);
  }, 120_000);
});

/** The first of a handshake: TLS_PSK_WITH_AES_128_CCM_8, no cookie, no extensions. */
const CLIENT_HELLO = Buffer.concat([
  Buffer.from('16fefd00000000000000000036', 'hex'),
  Buffer.from('0100002a000000000000002a', 'hex'),
  Buffer.from('fefd', 'hex'),
  Buffer.alloc(32, 7),
  Buffer.from('0000', 'hex'),
  Buffer.from('0002c0a8', 'hex'),
  Buffer.from('0100', 'hex'),
]);

function built(program: string): Promise<void> {
  // What it needs comes from the module proxy once, and from the cache later.
  const go = spawn(GO, ['build', '-o', program, '.'], { cwd: SOURCE, env: { ...process.env, CGO_ENABLED: '0' } });
  let text = '';
  go.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  const timer = setTimeout(() => go.kill('SIGKILL'), BUILD_MS_MAX);
  return new Promise((resolve, reject) =>
    go.once('close', (code) => {
      clearTimeout(timer);
      if (code === 0) resolve();
      else reject(new Error(`go build ended with ${code}: ${text.slice(-2_000)}`));
    }),
  );
}
