import { createHash, timingSafeEqual } from 'node:crypto';
import { chmod, lstat, rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import type { Component, DeviceKeys, Gate, Logger, Started } from '@millrace/core';
import type { Peer, PeerIdentity } from '../coap/contract.ts';
import { IngestError } from '../error.ts';
import type { Authority, Standing } from './contract.ts';
import { gateAuthority } from './gate-authority.ts';
import { LINE_BYTES_MAX, TerminatorLine, type TerminatorWord } from './terminator-protocol.ts';

const TERMINATORS_MAX = 4;
/** Questions of one terminator under way; beyond them it is not read. */
const QUESTIONS_MAX = 1_000;
const PORTS_MAX = 60_000;
/** Of answers that a terminator does not take. */
const UNHEARD_BYTES_MAX = 16 * 1_048_576;
/** Also the bound of a revocation. */
const SWEEP_MS = 500;
const LOOPBACK = '127.0.0.1';

/** Where the datagrams go: the CoAP server. */
export interface Introductions {
  /** @param from the device's own address, as policies and the audit know it */
  introduce(
    address: string,
    port: number,
    key: string,
    identity: PeerIdentity,
    from?: { address: string; port: number },
  ): Peer;
  dismiss(peer: Peer): void;
}
export interface TerminatorOptions {
  /** Path of the Unix socket; null: no terminator is expected. */
  readonly path: string | null;
  readonly coap: Introductions;
  readonly gate: Gate;
  readonly keys: DeviceKeys;
  readonly logger: Logger;
}

/** Lets a DTLS terminator on this host ask for keys and tell whose datagrams it sends.
 *  @throws IngestError TERMINATOR_LISTEN_FAILED */
export function terminatorSocket(options: TerminatorOptions): Component<null> {
  return {
    name: 'ingest/terminator',
    async start(): Promise<Started<null>> {
      const { path } = options;
      if (path === null) return { value: null, drain: async () => {}, stop: async () => {} };
      const listener = new TerminatorListener(options);
      await listener.listen(path);
      return { value: null, drain: async () => {}, stop: () => listener.stop() };
    },
  };
}

interface Opened {
  readonly peer: Peer;
  readonly standing: Standing;
  readonly of: Terminator;
}

class TerminatorListener {
  readonly #options: TerminatorOptions;
  readonly #authority: Authority;
  readonly #server: Server;
  readonly #terminators = new Set<Terminator>();
  readonly #ports = new Map<number, Opened>();
  readonly #sweeper: NodeJS.Timeout;
  #count = 0;

  constructor(options: TerminatorOptions) {
    this.#options = options;
    this.#authority = gateAuthority(options.gate, options.keys);
    this.#server = createServer((socket) => this.#accept(socket));
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS);
  }

  async listen(path: string): Promise<void> {
    try {
      await removeLeftBehind(path);
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject);
        // Who may open it learns keys: it is made for nobody else, not only changed to be.
        const before = process.umask(0o177);
        try {
          this.#server.listen(path, resolve);
        } finally {
          process.umask(before);
        }
      });
      await chmod(path, 0o600);
    } catch (cause) {
      clearInterval(this.#sweeper);
      throw new IngestError('TERMINATOR_LISTEN_FAILED', 'later', { path }, { cause });
    }
    this.#server.on('error', (error) => this.#options.logger.warn({ err: error }, 'terminator: the socket failed'));
  }

  async stop(): Promise<void> {
    clearInterval(this.#sweeper);
    for (const terminator of this.#terminators) terminator.end();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    if (this.#terminators.size >= TERMINATORS_MAX) {
      socket.destroy();
      return;
    }
    const terminator = new Terminator(socket, (line, from) => this.#take(line, from));
    this.#terminators.add(terminator);
    this.#options.logger.info('terminator: connected');
    socket.once('close', () => {
      this.#terminators.delete(terminator);
      // What it told holds no longer: anybody may send from these ports now.
      for (const [port, opened] of this.#ports) if (opened.of === terminator) this.#close(port);
      this.#options.logger.info('terminator: gone');
    });
  }

  async #take(line: TerminatorLine, from: Terminator): Promise<void> {
    if (line.op === 'close') {
      if (this.#ports.get(line.port)?.of === from) this.#close(line.port);
      return;
    }
    try {
      if (line.op === 'keys') {
        const candidates = await this.#authority.candidates(Buffer.from(line.identity, 'base64'), line.address);
        from.say({ id: line.id, keys: candidates.map(({ key }) => key.toString('base64')) });
        return;
      }
      from.say({ id: line.id, ok: await this.#open(line, from) });
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'terminator: a question can not be answered now');
      from.say({ id: line.id, error: 'away' });
    }
  }

  async #open(line: Extract<TerminatorLine, { op: 'open' }>, from: Terminator): Promise<boolean> {
    const identity = await this.#identityOf(line);
    if (identity === null) return false;
    const standing = await this.#authority.admit(identity, line.address);
    if (standing === null || from.gone) return false;
    const before = this.#ports.get(line.port);
    if (before !== undefined && before.of !== from) return false;
    if (before !== undefined) this.#close(line.port);
    if (this.#ports.size >= PORTS_MAX) return false;
    const at = { address: line.address, port: line.devicePort };
    const key = `terminator-${++this.#count}`;
    const peer = this.#options.coap.introduce(LOOPBACK, line.port, key, identity, at);
    this.#ports.set(line.port, { peer, standing, of: from });
    return true;
  }

  /** Which candidate's key it was, it tells; a key that it was not given is nobody's. */
  async #identityOf(line: Extract<TerminatorLine, { op: 'open' }>): Promise<PeerIdentity | null> {
    if (line.certificate !== undefined) {
      const certificate = Buffer.from(line.certificate, 'base64');
      const fingerprint = createHash('sha256').update(certificate).digest('hex');
      return { kind: 'certificate', fingerprint, certificate };
    }
    if (line.psk === undefined) return null;
    const used = Buffer.from(line.psk.key, 'base64');
    const candidates = await this.#authority.candidates(Buffer.from(line.psk.identity, 'base64'), line.address);
    const found = candidates.find(({ key }) => key.length === used.length && timingSafeEqual(key, used));
    return found?.identity ?? null;
  }

  #close(port: number): void {
    const opened = this.#ports.get(port);
    if (opened === undefined) return;
    this.#ports.delete(port);
    this.#options.coap.dismiss(opened.peer);
  }

  #sweep(): void {
    for (const [port, opened] of this.#ports) {
      if (!opened.standing.doubtful) continue;
      opened.standing.renew().then(
        (stays) => {
          if (stays || this.#ports.get(port) !== opened) return;
          this.#close(port);
          opened.of.say({ op: 'cut', port });
        },
        () => undefined,
      );
    }
  }
}

/** Of a process that was killed; nothing else that is there is touched, least of all the socket of another node: its
 *  terminator would come to us, and with its end the other would remove ours. */
async function removeLeftBehind(path: string): Promise<void> {
  const there = await lstat(path).catch(() => null);
  if (there?.isSocket() !== true) return;
  const answers = await new Promise<boolean>((resolve) => {
    const probe = createConnection(path, () => resolve(true));
    probe.once('error', () => resolve(false)).once('connect', () => probe.destroy());
  });
  if (answers) throw new Error('another process listens there');
  await rm(path, { force: true });
}

/** One connection. Reads lines, bounded, and stops reading while too much is asked. */
class Terminator {
  gone = false;
  readonly #socket: Socket;
  readonly #take: (line: TerminatorLine, from: Terminator) => Promise<void>;
  #text = '';
  #underWay = 0;

  constructor(socket: Socket, take: (line: TerminatorLine, from: Terminator) => Promise<void>) {
    this.#socket = socket;
    this.#take = take;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#read(text));
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      this.gone = true;
    });
  }

  say(word: TerminatorWord): void {
    if (this.gone) return;
    this.#socket.write(`${JSON.stringify(word)}\n`);
    // It asks, and does not listen.
    if (this.#socket.writableLength > UNHEARD_BYTES_MAX) this.end();
  }

  end(): void {
    this.#socket.destroy();
  }

  #read(text: string): void {
    const lines = (this.#text + text).split('\n');
    this.#text = lines.pop() ?? '';
    if (this.#text.length > LINE_BYTES_MAX) {
      this.end();
      return;
    }
    for (const line of lines) {
      const read = line.length > LINE_BYTES_MAX ? null : lineOf(line);
      if (read === null) {
        // Who does not keep to the protocol is not asked to go on.
        this.end();
        return;
      }
      this.#underWay++;
      if (this.#underWay === QUESTIONS_MAX) this.#socket.pause();
      void this.#take(read, this).finally(() => {
        if (this.#underWay-- === QUESTIONS_MAX) this.#socket.resume();
      });
    }
  }
}

function lineOf(line: string): TerminatorLine | null {
  try {
    return TerminatorLine.parse(JSON.parse(line));
  } catch {
    return null;
  }
}
