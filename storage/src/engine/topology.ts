import { StoreError } from '@millrace/core';
import { type Access, Connection } from './connection.ts';
import { Endpoints } from './endpoints.ts';

export interface ClusterHost {
  readonly shard: number;
  readonly name: string;
  readonly address: string;
}

const REFRESH_MS = 30_000;

/** Which servers a cluster has, by shard, as its own configuration says. Looked at again from time to time, while the
 *  old answer holds: a server that was added is found without a restart. */
export class Topology {
  readonly #cluster: string;
  readonly #entries: Endpoints;
  readonly #access: Access;
  #connections = new Map<string, Connection>();
  #shards: ReadonlyMap<number, Endpoints> | null = null;
  #refreshing: Promise<ReadonlyMap<number, Endpoints>> | null = null;
  #freshUntilMs = 0;

  constructor(cluster: string, entries: Endpoints, access: Access) {
    this.#cluster = cluster;
    this.#entries = entries;
    this.#access = access;
  }

  /** The shards as they are known, without a question. */
  get known(): ReadonlyMap<number, Endpoints> {
    return this.#shards ?? new Map();
  }

  /** @throws StoreError STORE_UNREACHABLE when no server knows the cluster, and what an entry point says */
  async shards(): Promise<ReadonlyMap<number, Endpoints>> {
    if (this.#shards === null) return this.#refresh();
    if (performance.now() > this.#freshUntilMs) void this.#refresh().catch(() => {});
    return this.#shards;
  }

  #refresh(): Promise<ReadonlyMap<number, Endpoints>> {
    // Nodes that started together must not ask together.
    this.#freshUntilMs = performance.now() + REFRESH_MS * (0.5 + Math.random() / 2);
    this.#refreshing ??= this.#read().finally(() => {
      this.#refreshing = null;
    });
    return this.#refreshing;
  }

  async #read(): Promise<ReadonlyMap<number, Endpoints>> {
    const hosts = await this.#entries.ask((connection) =>
      connection.rows<ClusterHost>(
        `SELECT shard_num AS shard, host_name AS name, host_address AS address FROM system.clusters
         WHERE cluster = {cluster:String} ORDER BY shard_num, replica_num`,
        { cluster: this.#cluster },
      ),
    );
    if (hosts.length === 0)
      throw new StoreError('STORE_UNREACHABLE', 'later', {
        cluster: this.#cluster,
        problem: 'the server knows no such cluster: see remote_servers in its configuration',
      });
    const entries = this.#entries.connections.map((connection) => connection.url);
    const connections = new Map<string, Connection>();
    const shards = new Map<number, Connection[]>();
    for (const host of hosts) {
      const url = replicaUrl(host, entries);
      const connection = connections.get(url) ?? this.#connections.get(url) ?? new Connection(url, this.#access);
      connections.set(url, connection);
      shards.set(host.shard, [...(shards.get(host.shard) ?? []), connection]);
    }
    for (const [url, connection] of this.#connections) if (!connections.has(url)) connection.close().catch(() => {});
    this.#connections = connections;
    this.#shards = new Map(
      [...shards].map(([shard, replicas]) => [shard, new Endpoints(replicas, this.#access.requestMsMax)]),
    );
    return this.#shards;
  }

  async close(): Promise<void> {
    await this.#refreshing?.catch(() => {});
    for (const connection of this.#connections.values()) await connection.close();
  }
}

/** A replica speaks HTTP as the entry point does that names it, or else as the first. */
export function replicaUrl(host: Pick<ClusterHost, 'name' | 'address'>, entries: readonly string[]): string {
  const bare = (name: string): string => name.replace(/^\[(.*)\]$/, '$1');
  const named = entries.find((entry) => [host.name, host.address].includes(bare(new URL(entry).hostname)));
  if (named !== undefined) return named;
  const url = new URL(entries[0] ?? 'http://localhost:8123');
  url.hostname = host.name.includes(':') ? `[${bare(host.name)}]` : host.name;
  return `${url.protocol}//${url.host}${url.pathname}`;
}
