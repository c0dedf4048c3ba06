import {
  type Counter,
  type Histogram,
  type Metrics,
  type NormalisedBatch,
  StoreError,
  type TABLES,
  type TableName,
  type WriteOptions,
} from '@millrace/core';
import type { Engine, Shard } from '../engine/engine.ts';
import { insertError } from '../engine/errors.ts';
import type { Turnstile } from '../engine/turnstile.ts';
import { stored } from './stored.ts';

/** The order of the inserts: a row in `message_log` says that the rest of its range is there. */
export const WRITE_ORDER = [
  'readings',
  'messages',
  'dead_letters',
  'message_log',
] as const satisfies readonly TableName[];

type InsertOutcome = 'ok' | 'skipped' | 'refused' | 'unreachable';

const TOPIC = /^[A-Za-z0-9._-]{1,249}$/;

export const insertToken = (topic: string, partition: number, first: number, last: number, table: TableName): string =>
  `${topic}-${partition}-${first}-${last}-${table}`;

/** Writes normalised batches, each table's block by one insert. */
export class Writer {
  readonly #engine: Engine;
  readonly #inserts: Turnstile;
  readonly #insertMsMax: number;
  readonly #insertsTotal: Counter<'table' | 'outcome'>;
  readonly #rowsTotal: Counter<'table'>;
  readonly #seconds: Histogram<'table'>;

  constructor(engine: Engine, inserts: Turnstile, metrics: Metrics, insertMsMax: number) {
    this.#engine = engine;
    this.#inserts = inserts;
    this.#insertMsMax = insertMsMax;
    this.#insertsTotal = metrics.counter('millrace_store_inserts_total', 'Inserts, by table and outcome', [
      'table',
      'outcome',
    ]);
    this.#rowsTotal = metrics.counter('millrace_store_rows_total', 'Rows that were inserted, by table', ['table']);
    this.#seconds = metrics.histogram(
      'millrace_store_insert_seconds',
      'Time of an insert, in s, by table',
      [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      ['table'],
    );
  }

  /** @see ReadingsStore.write */
  async write(topic: string, batch: NormalisedBatch, options: WriteOptions): Promise<void> {
    if (!TOPIC.test(topic)) throw new RangeError('a topic is made of letters, digits, dots, dashes and underscores');
    const { partition, first, last } = batch;
    const facts = { topic, partition, first, last };
    const told = (error: unknown): never => {
      throw insertError(error, facts);
    };
    const shard = await this.#engine.shardOf(topic, partition).catch(told);
    const skip = options.verify ? await stored(this.#engine, shard, batch, options.part === true).catch(told) : null;
    for (const table of WRITE_ORDER) {
      const { rowCount, bytes } = batch.blocks[table];
      if (rowCount === 0) continue;
      if (skip?.has(table)) this.#count(table, 'skipped');
      else {
        const token = insertToken(topic, partition, first, last, table);
        await this.#insert(shard, table, rowCount, bytes, token, facts, options.fence);
      }
    }
  }

  async #insert(
    shard: Shard,
    table: TableName,
    rowCount: number,
    bytes: Uint8Array,
    token: string,
    facts: Readonly<Record<string, string | number>>,
    fence: WriteOptions['fence'],
  ): Promise<void> {
    let late = false;
    // What was given up must not begin after all, at another replica for example: the range may be cut by then.
    const inTime = async (): Promise<void> => {
      await fence?.();
      if (late) throw new StoreError('STORE_UNREACHABLE', 'later', { table });
    };
    try {
      await this.#inserts.pass(async () => {
        const end = this.#seconds.startTimer({ table });
        await within(shard.insertBlock(table, bytes, token, inTime), this.#insertMsMax);
        end();
      });
    } catch (cause) {
      late = true;
      const error = insertError(cause, { ...facts, table });
      this.#count(table, error.code === 'STORE_REFUSED' ? 'refused' : 'unreachable');
      throw error;
    }
    this.#count(table, 'ok');
    this.#rowsTotal.inc({ table }, rowCount);
  }

  #count(table: TableName, outcome: InsertOutcome): void {
    this.#insertsTotal.inc({ table, outcome });
  }
}

/** An insert that never answers must not hold its partition for ever: it is given up and redone under its token. */
async function within(work: Promise<void>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** All tables, in case the order ever misses one. */
WRITE_ORDER satisfies { readonly length: (typeof TABLES)['length'] };
