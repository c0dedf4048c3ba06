import { type ClickHouseClientConfigOptions, createClient } from '@clickhouse/client';
import { createChdbConnection } from 'chdb/connection';

type EngineConnection = NonNullable<Parameters<typeof createClient>[0]> extends { connection?: infer C } ? C : never;
export type Client = ReturnType<typeof createClient>;

/** The engine in this process, with the bare road's table. */
export async function openFloorTable(path: string): Promise<Client> {
  // The two packages declare the same connection with different optional fields.
  const connection = createChdbConnection({ path }) as unknown as EngineConnection;
  const client = createClient({ connection } as ClickHouseClientConfigOptions);
  await client.command({ query: CREATE });
  return client;
}

const CREATE = `CREATE TABLE readings (
  org LowCardinality(String), channel String, publisher LowCardinality(String), protocol LowCardinality(String),
  subtopic LowCardinality(String), name LowCardinality(String), unit LowCardinality(String),
  time DateTime64(6) CODEC(DoubleDelta, ZSTD(1)), value Float64 CODEC(Gorilla, ZSTD(1)), sv String,
  received DateTime64(6) CODEC(DoubleDelta, ZSTD(1))
) ENGINE = MergeTree PARTITION BY toYYYYMM(received) ORDER BY (org, channel, name, publisher, time)
SETTINGS non_replicated_deduplication_window = 1000`;
