import { existsSync, linkSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, type DeviceKeys, type Started } from '@millrace/core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PeerIdentity } from '../coap/contract.ts';
import { Peers } from '../coap/peers.ts';
import { KEY, TestGate, THING } from '../testing/gate.ts';
import { terminatorSocket } from './terminator.ts';

const WAIT_MS_MAX = 20_000;
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const OPEN = {
  op: 'open',
  id: 1,
  port: 40_001,
  address: '198.51.100.7',
  devicePort: 5_555,
  psk: { identity: base64(THING), key: base64(KEY) },
};
const keys: DeviceKeys = {
  keysOf: async (identity) => (identity === THING ? [KEY] : []),
  bootstrapKeys: async (externalId) => (externalId === 'urn:1' ? [{ thing: THING, key: 'external' }] : []),
};

let directory: string;
let path: string;
let gate: TestGate;
let peers: Peers;
let started: Started<null>;
let terminators: Terminator[];
const gone: string[] = [];

/** A terminator that says what a test wants. */
class Terminator {
  readonly lines: unknown[] = [];
  closed = false;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (text + chunk).split('\n');
      text = lines.pop() ?? '';
      this.lines.push(...lines.map((line) => JSON.parse(line) as unknown));
    });
    socket
      .on('error', () => {})
      .on('close', () => {
        this.closed = true;
      });
  }
  static connect(): Promise<Terminator> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path, () => {
        const terminator = new Terminator(socket.off('error', reject));
        terminators.push(terminator);
        resolve(terminator);
      }).on('error', reject);
    });
  }
  raw(text: string): void {
    this.#socket.write(text);
  }
  say(line: unknown): void {
    this.raw(`${JSON.stringify(line)}\n`);
  }
  async ask(line: { readonly id: number }): Promise<unknown> {
    this.say(line);
    return until(() => this.lines.find((each) => (each as { id?: number }).id === line.id));
  }
  end(): void {
    this.#socket.destroy();
  }
}

async function until<T>(what: () => T | undefined | false): Promise<T> {
  for (const end = Date.now() + WAIT_MS_MAX; Date.now() < end; ) {
    const found = what();
    if (found !== undefined && found !== false) return found;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error('it did not come to pass');
}
const identityAt = (port: number): PeerIdentity | null => peers.of('127.0.0.1', port).identity;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-terminator-'));
  path = join(directory, 'dtls.sock');
  gate = new TestGate();
  peers = new Peers(100, () => {});
  terminators = [];
  gone.length = 0;
  started = await terminatorSocket({
    path,
    coap: {
      introduce: (...what) => peers.introduce(...what),
      dismiss: (peer) => {
        gone.push(peer.key);
        peers.dismiss(peer);
      },
    },
    gate,
    keys,
    logger: createLogger({ level: 'silent' }),
  }).start();
});
afterEach(async () => {
  for (const each of terminators) each.end();
  await started.stop();
  rmSync(directory, { recursive: true, force: true });
});

describe('a terminator', () => {
  test('is alone with us: nobody else may open the socket, and it is gone when we are', async () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await started.stop();
    expect(existsSync(path)).toBe(false);
  });
  test('is given the keys of an identity, none of a stranger, and those of a bootstrap', async () => {
    const terminator = await Terminator.connect();
    const of = (id: number, identity: string) => ({ op: 'keys', id, identity: base64(identity), address: '' });
    expect(await terminator.ask(of(1, THING))).toEqual({ id: 1, keys: [base64(KEY)] });
    expect(await terminator.ask(of(2, 'nobody'))).toEqual({ id: 2, keys: [] });
    expect(await terminator.ask(of(3, 'urn:1'))).toEqual({ id: 3, keys: [base64('external')] });
  });
  test('tells whose datagrams come from a port, where the device is, and when that is over', async () => {
    const terminator = await Terminator.connect();
    expect(identityAt(40_001)).toBeNull();
    expect(await terminator.ask(OPEN)).toEqual({ id: 1, ok: true });
    const peer = peers.of('127.0.0.1', 40_001);
    expect(peer).toMatchObject({ address: '198.51.100.7', port: 5_555, verified: true });
    expect(peer.identity).toEqual({ kind: 'key', identity: THING, key: KEY });
    // The same as a dual-stack socket writes it.
    expect(peers.of('::ffff:127.0.0.1', 40_001)).toBe(peer);
    terminator.say({ op: 'close', port: 40_001 });
    await until(() => identityAt(40_001) === null);
  });
  test('is not believed a key that it was not given', async () => {
    const terminator = await Terminator.connect();
    const wrong = { ...OPEN, psk: { ...OPEN.psk, key: base64('another') } };
    expect(await terminator.ask(wrong)).toEqual({ id: 1, ok: false });
    const { psk: _, ...nobody } = OPEN;
    expect(await terminator.ask({ ...nobody, id: 2 })).toEqual({ id: 2, ok: false });
    expect(identityAt(40_001)).toBeNull();
  });
  test('is told when a session must end', async () => {
    const terminator = await Terminator.connect();
    await terminator.ask(OPEN);
    gate.revoke(KEY);
    gate.identify = () => ({ kind: 'refused', reason: 'unknown' });
    await until(() => terminator.lines.some((line) => JSON.stringify(line) === '{"op":"cut","port":40001}'));
    expect(identityAt(40_001)).toBeNull();
  });
  test('that dies is believed nothing any more', async () => {
    const terminator = await Terminator.connect();
    await terminator.ask(OPEN);
    terminator.end();
    await until(() => identityAt(40_001) === null);
    expect(gone).toHaveLength(1);
  });
  test('can not take the ports of another', async () => {
    const [one, other] = [await Terminator.connect(), await Terminator.connect()];
    expect(await one.ask(OPEN)).toEqual({ id: 1, ok: true });
    expect(await other.ask(OPEN)).toEqual({ id: 1, ok: false });
    other.say({ op: 'close', port: 40_001 });
    expect(await other.ask({ op: 'keys', id: 9, identity: '', address: '' } as never)).toEqual({ id: 9, keys: [] });
    expect(identityAt(40_001)).not.toBeNull();
  });
  test('hears that the registry is away, and asks again', async () => {
    const terminator = await Terminator.connect();
    gate.failure = new Error('away');
    expect(await terminator.ask(OPEN)).toEqual({ id: 1, error: 'away' });
    gate.failure = null;
    expect(await terminator.ask({ ...OPEN, id: 2 })).toEqual({ id: 2, ok: true });
  });
  test.each([
    ['no JSON', 'hello\n'],
    ['an unknown word', '{"op":"everything"}\n'],
    ['a port that is none', `${JSON.stringify({ ...OPEN, port: 70_000 })}\n`],
    ['a line without an end', 'x'.repeat(100_000)],
  ])('that says %s is cut off, and the others are not', async (_, text) => {
    const [one, other] = [await Terminator.connect(), await Terminator.connect()];
    one.raw(text);
    await until(() => one.closed);
    expect(await other.ask(OPEN)).toEqual({ id: 1, ok: true });
  });
  test('starts over the socket that a killed process left behind, and over nothing else', async () => {
    await started.stop();
    const again = terminatorSocket({
      path,
      coap: { introduce: (...what) => peers.introduce(...what), dismiss: () => {} },
      gate,
      keys,
      logger: createLogger({ level: 'silent' }),
    });
    writeFileSync(path, 'a file of somebody');
    await expect(again.start()).rejects.toMatchObject({ code: 'TERMINATOR_LISTEN_FAILED' });
    rmSync(path);
    const alive = createServer();
    await new Promise<void>((resolve) => alive.listen(path, resolve));
    await expect(again.start()).rejects.toMatchObject({ code: 'TERMINATOR_LISTEN_FAILED' });
    expect(existsSync(path)).toBe(true);
    await new Promise((resolve) => alive.close(resolve));
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(`${path}.other`, resolve));
    linkSync(`${path}.other`, path);
    await new Promise((resolve) => other.close(resolve));
    expect(existsSync(path)).toBe(true);
    started = await again.start();
    expect((await Terminator.connect()).closed).toBe(false);
  });
});
