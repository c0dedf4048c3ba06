import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Arrivals,
  type Component,
  type Logger,
  type LogShards,
  type Metrics,
  type NormalisedBatch,
  type Questions,
  type ReadingsStore,
  type SnapshotSource,
  type Started,
  type StoredStream,
  StoreError,
  type StoreUpkeep,
  type TenantSql,
  type WriteOptions,
} from '@millrace/core';
import { takeSnapshot } from './backup/snapshot.ts';
import type { StorageConfig } from './config.ts';
import { openCluster } from './engine/cluster.ts';
import { entryPoints } from './engine/connection.ts';
import type { Engine, Guests } from './engine/engine.ts';
import { queryError } from './engine/errors.ts';
import { openServer } from './engine/server.ts';
import { Turnstile } from './engine/turnstile.ts';
import { createArrivals } from './question/arrivals.ts';
import { createQuestions } from './question/questions.ts';
import { createStoredStream } from './question/stored-stream.ts';
import { Asker } from './read/asker.ts';
import { readActivity } from './read/health.ts';
import { readDeadLetters, readFate, readLastMessage, readPayload, readPayloads } from './read/messages.ts';
import { readReadings } from './read/readings.ts';
import { migrate, setDurability } from './schema/migrate.ts';
import { createTenantSql } from './sql/tenant-sql.ts';
import { createUpkeep } from './upkeep/upkeep.ts';
import { Writer } from './write/writer.ts';

export interface StoreOptions {
  /** Of this process, for calls that block (libuv's own standard if absent). */
  readonly blockingThreads?: number;
  /** Of the embedded engine; unused with a server. */
  readonly directory: string;
  /** Of a cluster; unused otherwise. */
  readonly shards?: LogShards;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** All that is asked of the readings. */
export interface Store extends ReadingsStore, SnapshotSource {
  readonly upkeep: StoreUpkeep;
  readonly questions: Questions;
  readonly arrivals: Arrivals;
  readonly stream: StoredStream;
  /** What tenants write themselves. */
  readonly sql: TenantSql;
}

/** Batches that wait for an insert to end; a processor waits for its write, so there are never more than partitions. */
const INSERTS_WAITING_MAX = 1_024;
const RETRY_MS = 1_000;

/** The store of readings over ClickHouse: embedded, or a server if the configuration names one.
 *  A server that is down does not keep the store from starting: calls fail with STORE_UNREACHABLE until it answers. */
export function openStore(config: StorageConfig, options: StoreOptions): Component<Store> {
  return {
    name: 'storage',
    async start(): Promise<Started<Store>> {
      const engine = await openEngine(config, options.directory, options.shards);
      const log = options.logger.child({ component: 'storage', engine: engine.name });
      const inserts = new Turnstile('inserts', config.MILLRACE_STORE_INSERTS_MAX, INSERTS_WAITING_MAX);
      const places = {
        interactive: new Turnstile(
          'queries',
          queriesMaxOf(engine, config.MILLRACE_STORE_QUERIES_MAX, options.blockingThreads ?? UV_THREADS),
          config.MILLRACE_STORE_QUERIES_WAITING_MAX,
        ),
        background: new Turnstile(
          'background',
          queriesMaxOf(engine, config.MILLRACE_STORE_BACKGROUND_MAX, options.blockingThreads ?? UV_THREADS),
          config.MILLRACE_STORE_QUERIES_WAITING_MAX,
        ),
      };
      const limits = {
        secondsMax: config.MILLRACE_STORE_QUERY_SECONDS_MAX,
        bytesMax: config.MILLRACE_STORE_QUERY_BYTES_MAX,
        backgroundSecondsMax: config.MILLRACE_STORE_BACKGROUND_SECONDS_MAX,
        stalledSecondsMax: config.MILLRACE_STORE_STALLED_SECONDS_MAX,
      };
      // Statements of tenants take long: they have places of their own.
      const guestPlaces = {
        ...places,
        interactive: new Turnstile(
          'sql',
          queriesMaxOf(engine, config.MILLRACE_STORE_QUERIES_MAX, options.blockingThreads ?? UV_THREADS),
          config.MILLRACE_STORE_QUERIES_WAITING_MAX,
        ),
      };
      const database = config.MILLRACE_CLICKHOUSE_DATABASE;
      let guests: Promise<Asker> | null = null;
      let guestEngine: Guests | null = null;
      const asGuest = (): Promise<Asker> => {
        guests ??= engine
          .guests(`${database}_guests`)
          .then((asked) => {
            guestEngine = asked;
            return new Asker(asked, guestPlaces, options.metrics, limits);
          })
          .catch((cause: unknown) => {
            guests = null;
            throw queryError(cause, 'sql');
          });
        return guests;
      };
      const store = new ClickHouseStore(
        engine,
        new Writer(engine, inserts, options.metrics, config.MILLRACE_STORE_INSERT_SECONDS_MAX * 1_000),
        new Asker(engine, places, options.metrics, limits),
        (check) =>
          createTenantSql(async () => {
            check();
            return asGuest();
          }, database),
      );
      const prepare = async (): Promise<void> => {
        await engine.createDatabase();
        await migrate(engine);
        await setDurability(engine, config.MILLRACE_STORE_DURABILITY);
        store.state = 'ready';
      };
      const prepareUntilReady = async (): Promise<void> => {
        while (store.state === 'preparing') {
          // Nodes that lost it together must not come back together.
          await sleep(RETRY_MS * (0.5 + Math.random()), undefined, { ref: false });
          if (store.state !== 'preparing') return;
          try {
            await prepare();
            log.info('the server answers, the schema is there');
          } catch (cause) {
            const error = queryError(cause, 'schema');
            if (error.retry === 'never') log.error({ code: error.code, ...error.facts }, 'the schema cannot be used');
          }
        }
      };
      try {
        await prepare();
      } catch (cause) {
        const error = queryError(cause, 'schema');
        if (engine.name === 'embedded' || error.retry === 'never') {
          await engine.close().catch(() => {});
          throw error;
        }
        log.warn({ code: error.code, ...error.facts }, 'the server does not answer: trying again every second');
        void prepareUntilReady();
      }
      let closed: Promise<void> | null = null;
      const close = (): Promise<void> => {
        store.state = 'closed';
        closed ??= (async () => {
          await guestEngine?.close();
          await engine.close();
        })();
        return closed;
      };
      return {
        value: store,
        async drain(deadlineMs: number): Promise<void> {
          const gone = Promise.all([
            inserts.idle(),
            guestPlaces.interactive.idle(),
            places.interactive.idle(),
            places.background.idle(),
          ]);
          await Promise.race([gone, sleep(deadlineMs, undefined, { ref: false })]);
        },
        stop: close,
      };
    },
  };
}

/** That libuv starts where nobody says otherwise. */
const UV_THREADS = 4;

/** A query inside this process holds one of its threads for blocking calls; the log's commits need them too. */
function queriesMaxOf(engine: Engine, queriesMax: number, blockingThreads: number): number {
  if (engine.name !== 'embedded') return queriesMax;
  return Math.max(1, Math.min(queriesMax, Math.floor(blockingThreads / 4)));
}

/** The engine inside this process. Loaded when it is needed: its library is large, and there is none for some platforms
 *  that can very well ask a server. */
export const embeddedEngine = (): Promise<typeof import('./engine/embedded.ts')> => import('./engine/embedded.ts');

export async function openEngine(config: StorageConfig, directory: string, shards?: LogShards): Promise<Engine> {
  if (config.MILLRACE_CLICKHOUSE_URL !== undefined) {
    const insertMsMax = 1_000 * config.MILLRACE_STORE_INSERT_SECONDS_MAX;
    const server = {
      ...entryPoints(config.MILLRACE_CLICKHOUSE_URL),
      database: config.MILLRACE_CLICKHOUSE_DATABASE,
      connectionsMax:
        config.MILLRACE_STORE_INSERTS_MAX +
        config.MILLRACE_STORE_QUERIES_MAX +
        config.MILLRACE_STORE_BACKGROUND_MAX +
        2,
      requestMsMax: Math.max(insertMsMax, 1_000 * config.MILLRACE_STORE_QUERY_SECONDS_MAX),
    };
    const cluster = config.MILLRACE_CLICKHOUSE_CLUSTER;
    if (cluster === undefined) return openServer(server);
    const quorum = config.MILLRACE_CLICKHOUSE_QUORUM;
    return openCluster({
      ...server,
      cluster,
      shards: shards ?? noPins,
      quorum: quorum === 'off' ? null : quorum,
      insertMsMax,
    });
  }
  const { openEmbedded } = await embeddedEngine();
  return openEmbedded({
    directory,
    database: config.MILLRACE_CLICKHOUSE_DATABASE,
    memoryBytesMax: config.MILLRACE_STORE_MEMORY_BYTES_MAX,
    cacheBytesMax: config.MILLRACE_STORE_CACHE_BYTES_MAX,
  });
}

/** Who only reads, or fills an empty store, needs none. */
const noPins: LogShards = {
  shardOf: async () => {
    throw new StoreError('STORE_UNREACHABLE', 'never', { problem: 'nobody knows where partitions are kept' });
  },
};

class ClickHouseStore implements Store {
  state: 'preparing' | 'ready' | 'closed' = 'preparing';
  readonly #engine: Engine;
  readonly #writer: Writer;
  readonly #asker: Asker;
  readonly upkeep: StoreUpkeep;
  readonly questions: Questions;
  readonly arrivals: Arrivals;
  readonly stream: StoredStream;
  readonly sql: TenantSql;

  constructor(engine: Engine, writer: Writer, asker: Asker, sql: (check: () => void) => TenantSql) {
    this.#engine = engine;
    this.#writer = writer;
    this.#asker = asker;
    this.upkeep = createUpkeep(engine, () => this.#check());
    this.questions = createQuestions(asker, () => this.#check());
    this.arrivals = createArrivals(asker, () => this.#check());
    this.stream = createStoredStream(asker, () => this.#check());
    this.sql = sql(() => this.#check());
  }
  #check(): void {
    if (this.state === 'closed') throw new StoreError('STORE_CLOSED', 'never');
    if (this.state === 'preparing')
      throw new StoreError('STORE_UNREACHABLE', 'later', { problem: 'the server did not answer yet' });
  }
  async write(topic: string, batch: NormalisedBatch, options: WriteOptions) {
    this.#check();
    return this.#writer.write(topic, batch, options);
  }
  async readings(query: Parameters<ReadingsStore['readings']>[0]) {
    this.#check();
    return readReadings(this.#asker, query);
  }
  async payloads(query: Parameters<ReadingsStore['payloads']>[0]) {
    this.#check();
    return readPayloads(this.#asker, query);
  }
  async payload(id: string) {
    this.#check();
    return readPayload(this.#asker, id);
  }
  async deadLetters(query: Parameters<ReadingsStore['deadLetters']>[0]) {
    this.#check();
    return readDeadLetters(this.#asker, query);
  }
  async lastMessage(of: Parameters<ReadingsStore['lastMessage']>[0]) {
    this.#check();
    return readLastMessage(this.#asker, of);
  }
  async activity(query: Parameters<ReadingsStore['activity']>[0]) {
    this.#check();
    return readActivity(this.#asker, query);
  }
  async fate(id: string) {
    this.#check();
    return readFate(this.#asker, id);
  }
  async snapshot(behind: ReadonlySet<number>) {
    this.#check();
    return takeSnapshot(this.#engine, behind, Date.now());
  }
  async health(): Promise<string | null> {
    try {
      this.#check();
      await this.#asker.ask('health', 'SELECT 1');
      const part = await this.#engine.health();
      return part === null ? null : `ClickHouse: ${part}: what is stored there waits in the log`;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      if (error.code === 'STORE_CLOSED') return 'the store is closed';
      return `ClickHouse does not answer (${error.message}): check that it runs, its disk and its memory`;
    }
  }
}
