import { MillraceError, type NetworkServer } from '@millrace/core';
import { Broker, type BrokeredServer, type BrokerHost } from './broker.ts';

const RETRY_MS = 2_000;
/** Changes are told; this mends what was not. */
const REFRESH_MS = 60_000;

/** The network servers of all organisations, and this node's connections with their brokers, kept as the registry says.
 *  @holds what is wrong with one server concerns no other */
export class NetworkServers {
  readonly #host: BrokerHost;
  readonly #changed: () => void;
  readonly #unsubscribe: () => void;
  readonly #brokers = new Map<string, Broker>();
  #servers: ReadonlyMap<string, NetworkServer> = new Map();
  #timer: NodeJS.Timeout | undefined;
  #loading: Promise<void> | null = null;
  #again = false;
  #ended = false;
  /** The list may be stale. */
  #stale = false;

  /** @param changed called whenever the list may have changed */
  constructor(host: BrokerHost, changed: () => void) {
    this.#host = host;
    this.#changed = changed;
    this.#unsubscribe = host.directory.onChange(({ kind, id, org }) => {
      if (kind === 'servers' || (id === null && org === null)) void this.load();
    });
    void this.load();
  }

  /** Those that are enabled. */
  get all(): NetworkServer[] {
    return [...this.#servers.values()];
  }

  get(id: string): NetworkServer | undefined {
    return this.#servers.get(id);
  }

  broker(id: string): Broker | undefined {
    return this.#brokers.get(id);
  }

  /** Reads the list, once more if it is being read. */
  load(): Promise<void> {
    if (this.#ended) return Promise.resolve();
    if (this.#loading !== null) {
      this.#again = true;
      return this.#loading;
    }
    clearTimeout(this.#timer);
    this.#loading = this.#load().finally(() => {
      this.#loading = null;
      if (this.#ended) return;
      if (this.#again) {
        this.#again = false;
        void this.load();
      } else {
        this.#timer = setTimeout(() => void this.load(), this.#stale ? RETRY_MS : REFRESH_MS);
        this.#timer.unref();
      }
    });
    return this.#loading;
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#end();
    await Promise.all([...this.#brokers.values()].map((broker) => broker.drain(deadlineMs)));
  }

  async stop(): Promise<void> {
    this.#end();
    await Promise.all([...this.#brokers.values()].map((broker) => broker.stop()));
    this.#brokers.clear();
  }

  #end(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#unsubscribe();
  }

  async #load(): Promise<void> {
    let listed: readonly NetworkServer[];
    try {
      listed = await this.#host.directory.servers();
    } catch (error) {
      this.#stale = true;
      const code = error instanceof MillraceError ? error.code : undefined;
      this.#host.logger.warn(
        code === undefined ? { err: error } : { code },
        'lora: the network servers cannot be read',
      );
      return;
    }
    this.#stale = false;
    if (this.#ended) return;
    const enabled = new Map(listed.filter((server) => server.enabled).map((server) => [server.id, server]));
    this.#servers = enabled;
    const left: Promise<void>[] = [];
    for (const [id, broker] of this.#brokers) {
      const server = enabled.get(id);
      if (server?.mqtt != null && server.version === broker.server.version) continue;
      this.#brokers.delete(id);
      left.push(broker.stop());
    }
    // Before the successor shows up with the same client id.
    await Promise.all(left);
    if (this.#ended) return;
    for (const server of enabled.values()) {
      if (isBrokered(server) && !this.#brokers.has(server.id)) {
        this.#brokers.set(server.id, new Broker(server, this.#host));
      }
    }
    this.#changed();
  }
}

const isBrokered = (server: NetworkServer): server is BrokeredServer => server.mqtt !== null;
