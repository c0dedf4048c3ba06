import { CoapsIngestConfig, dtlsLimits } from '../config.ts';
import type { Authority, DtlsListener, DtlsSession, DtlsSettings, HandshakeOutcome, Standing } from '../contract.ts';
import { DtlsServer } from '../server.ts';
import { DtlsClient, type DtlsClientOptions } from './client.ts';

export const KEY = Buffer.from('a key of the thing');
const SETTLED_TURNS_MAX = 10_000;

/** What the network does with a datagram: how many times it arrives, and after how many others; changed or not. */
export type Network = (datagram: Buffer) => readonly { readonly datagram: Buffer; readonly late: number }[];
const PERFECT: Network = (datagram) => [{ datagram, late: 0 }];

/** A server and clients in one process, with a network and a clock of the test's own. */
export class Stage {
  nowMs = 1_000;
  network: Network = PERFECT;
  readonly server: DtlsServer;
  readonly outcomes: HandshakeOutcome[] = [];
  readonly refused: string[] = [];
  readonly faults: unknown[] = [];
  readonly sessions: DtlsSession[] = [];
  readonly closed: DtlsSession[] = [];
  readonly heard: string[] = [];
  moves = 0;
  /** What goes to whom nobody waits for. */
  readonly astray: { readonly datagram: Buffer; readonly port: number }[] = [];
  sentBytes = 0;
  readonly standing = { doubtful: false, renew: async () => true };
  /** Keys by identity. */
  readonly keys = new Map<string, readonly Buffer[]>([['thing', [KEY]]]);
  /** Until then no key is told. */
  asked: Promise<void> = Promise.resolve();
  admits: (certificate: Buffer) => boolean = () => true;
  /** Of sessions: what the peer hears back for each message; null: nothing. */
  echo = true;
  readonly #clients = new Map<string, DtlsClient>();
  readonly #queue: { run: () => void; at: number }[] = [];
  #turn = 0;

  constructor(
    settings: Partial<Omit<DtlsSettings, 'limits'>> & { readonly limits?: Partial<DtlsSettings['limits']> } = {},
  ) {
    const listener: DtlsListener = {
      opened: (session) => this.sessions.push(session),
      message: (session, datagram) => {
        this.heard.push(datagram.toString());
        if (this.echo) session.send(datagram);
      },
      moved: () => this.moves++,
      closed: (session) => this.closed.push(session),
    };
    const authority: Authority = {
      candidates: async (identity) => {
        await this.asked;
        return (this.keys.get(identity.toString()) ?? []).map((key) => ({
          key: Buffer.from(key),
          identity: { kind: 'key', identity: identity.toString(), key: key.toString() },
        }));
      },
      admit: async (identity): Promise<Standing | null> => {
        if (identity.kind === 'certificate' && !this.admits(identity.certificate)) return null;
        return this.standing;
      },
    };
    this.server = new DtlsServer({
      settings: {
        psk: true,
        certificate: null,
        clientCertificates: 'optional',
        ...settings,
        limits: { ...dtlsLimits(CoapsIngestConfig.parse({})), ...settings.limits },
      },
      authority,
      listener,
      send: (datagram, address, port) => {
        this.sentBytes += datagram.length;
        this.#transmit(datagram, (arrived) => {
          const client = this.#clients.get(`${address}|${port}`);
          if (client === undefined) this.astray.push({ datagram: arrived, port });
          else client.receive(arrived);
        });
      },
      counts: {
        handshake: (outcome) => this.outcomes.push(outcome),
        refused: (reason) => this.refused.push(reason),
        moved: () => {},
        fault: (error) => this.faults.push(error),
      },
      now: () => this.nowMs,
      wallClock: Date.now,
    });
  }

  client(port: number, options: Partial<DtlsClientOptions> = {}): StageClient {
    const at = { address: '192.0.2.1', port };
    const client = new DtlsClient({
      psk: { identity: 'thing', key: KEY },
      ...options,
      send: (datagram) => this.#transmit(datagram, (arrived) => this.server.receive(arrived, at.address, at.port)),
      onMessage: (datagram) => heard.push(datagram.toString()),
      onClose: (why) => closed.push(why),
    });
    const heard: string[] = [];
    const closed: string[] = [];
    this.#clients.set(`${at.address}|${at.port}`, client);
    return {
      client,
      heard,
      closed,
      move: (to) => {
        this.#clients.delete(`${at.address}|${at.port}`);
        at.port = to;
        this.#clients.set(`${at.address}|${at.port}`, client);
      },
    };
  }

  /** Makes a client with an open session. */
  async open(port: number, options: Partial<DtlsClientOptions> = {}): Promise<StageClient> {
    const made = this.client(port, options);
    made.client.start();
    await this.settle();
    if (made.client.state !== 'open') throw new Error(`not open: ${made.closed.join()} ${this.outcomes.join()}`);
    return made;
  }

  /** Until nothing is on its way any more.  @throws the first fault of the server */
  async settle(): Promise<void> {
    for (let idle = 0, turns = 0; idle < 10 && turns < SETTLED_TURNS_MAX; turns++) {
      await new Promise((resolve) => setImmediate(resolve));
      idle = this.#queue.length === 0 ? idle + 1 : 0;
      this.#turn++;
      for (const each of this.#queue.splice(0)) {
        if (each.at <= this.#turn) each.run();
        else this.#queue.push(each);
      }
    }
    for (const fault of this.faults) throw fault;
  }

  /** Lets time pass, with retransmissions of both sides. */
  async pass(ms: number, clients: readonly StageClient[] = []): Promise<void> {
    this.nowMs += ms;
    this.server.tick();
    for (const { client } of clients) client.resend();
    await this.settle();
  }

  #transmit(datagram: Buffer, deliver: (datagram: Buffer) => void): void {
    for (const { datagram: arrived, late } of this.network(datagram))
      this.#queue.push({ at: this.#turn + late, run: () => deliver(arrived) });
  }
}
export interface StageClient {
  readonly client: DtlsClient;
  readonly heard: string[];
  readonly closed: string[];
  /** Its datagrams come from another port from now on. */
  move(port: number): void;
}

/** Repeatable chance. @source mulberry32 */
export function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
