/** A cluster that one process plays: each shard is a database, of which all replicas of the shard are doors. So their
 *  memory of tokens is shared, as replicas share it in Keeper, and nothing ever lags behind. What it takes of the
 *  statements' replication is taken out here; that part is parsed, and tried with Keeper, by tests of its own. */
export interface PlayedCluster {
  readonly name: string;
  readonly database: string;
  /** Hosts of the replicas, by shard; the first one of all must be 127.0.0.1. */
  readonly shards: readonly (readonly string[])[];
}

const TCP_PORT = 9_000;

/** `system.clusters` and the Distributed tables go by it. A single shard's replica is this process itself, so its
 *  Distributed tables work. */
export function clusterConfig({ name, shards }: PlayedCluster): string {
  const replica = (host: string): string => `<replica><host>${host}</host><port>${TCP_PORT}</port></replica>`;
  const shard = (hosts: readonly string[]): string =>
    `<shard><internal_replication>true</internal_replication>${hosts.map(replica).join('')}</shard>`;
  return `<clickhouse><remote_servers><${name}>${shards.map(shard).join('')}</${name}></remote_servers>
<tcp_port>${TCP_PORT}</tcp_port></clickhouse>`;
}

/** The database that a shard has by this name. */
export function playedDatabase({ database, shards }: PlayedCluster, shard: number, name: string): string {
  return name !== database || shards.length === 1 ? name : `${name}_${shard}`;
}

/** What is run for a statement: one for all servers is run in each shard.  @returns first the one whose answer counts */
export function playedStatements(played: PlayedCluster, shard: number, statement: string): string[] {
  const { database, shards } = played;
  const single = statement
    .replace(/ ON CLUSTER '[^']*'/, '')
    .replace(/\bReplicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?/, '$1(')
    .replace(
      /\breplicated_deduplication_window = (\d+), replicated_deduplication_window_seconds = \d+/,
      'non_replicated_deduplication_window = $1',
    )
    .replace(/^\s*SYSTEM SYNC REPLICA \S+ LIGHTWEIGHT/, 'SELECT 1');
  const inShard = (number: number): string => {
    if (shards.length === 1) return single;
    return single
      .replace(
        /\bDistributed\('[^']*', '[^']*', '(\w+)'\)/,
        (_, table: string) => `Merge(REGEXP('^${database}_[0-9]+$'), '^${table}$')`,
      )
      .replaceAll(new RegExp(`(?:\\b${database}(?:_[0-9]+)?\\.)?\\b(schema_\\w+)\\b(?!')`, 'g'), `${database}_1.$1`)
      .replaceAll(new RegExp(`\\b${database}(?:_[0-9]+)?\\.(?!schema_)`, 'g'), `${database}_${number}.`)
      .replace(new RegExp(`^(\\s*CREATE DATABASE IF NOT EXISTS ${database})\\b`), `$1_${number}`);
  };
  const numbers = shards.map((_, index) => index + 1);
  return statement === single || !/ ON CLUSTER /.test(statement)
    ? [inShard(shard)]
    : [inShard(shard), ...numbers.filter((number) => number !== shard).map(inShard)];
}
