import type { Questions, SeriesQuestion, StoredReading } from '@millrace/core';
import type { TimeFormat } from '../http/time.ts';
import { timeJson } from '../http/time.ts';
import { type Bucket, bucketAt } from './bucket.ts';

/** A bucket is asked for so long after its end: what was published before it is stored by then. */
const SETTLE_MS = 1_500;
/** Readings that are further ahead of the clock are of no bucket that ends soon. */
const FUTURE_MS = 60_000;
/** Buckets that wait, and what is remembered of those that were sent. */
const DIRTY_MAX = 10_000;
const SENT_MAX = 5_000;
/** Buckets that are asked for at a time reach over so many intervals at most. */
const SPAN_MAX = 200;
const POINTS_MAX = 10_000;
/** What these tell of a bucket depends on the one before. */
const LOOKING_BACK: readonly string[] = ['rate', 'delta', 'integral', 'twa'];

interface Waiting extends Bucket {
  /** Where the question stood before the first reading that touched it. */
  readonly since: string;
}

/** Buckets of one question that readings came for. Each is asked of the store when it has ended, so its numbers are the
 *  very same; and again when late readings came for it. */
export class Buckets {
  readonly #question: SeriesQuestion;
  readonly #questions: Questions;
  readonly #time: TimeFormat;
  readonly #waiting = new Map<number, Waiting>();
  /** `since` of those that are being asked for. */
  #asking: string | null = null;
  /** By series and bucket, the oldest first. */
  readonly #sent = new Map<string, { readonly revision: number; readonly values: string }>();

  constructor(question: SeriesQuestion, questions: Questions, time: TimeFormat) {
    this.#question = question;
    this.#questions = questions;
    this.#time = time;
  }

  /** No further bucket may wait. */
  get full(): boolean {
    return this.#waiting.size >= DIRTY_MAX;
  }

  /** What must be read again if nothing of what waits is sent; null: nothing waits. */
  get since(): string | null {
    if (this.#asking !== null) return this.#asking;
    for (const { since } of this.#waiting.values()) return since;
    return null;
  }

  /** @param since where the question stood before these */
  touch(readings: readonly StoredReading[], since: string, nowMs: number): void {
    const { interval, timeZone } = this.#question;
    if (interval === undefined) return;
    let last: Bucket | null = null;
    for (const { timeNs } of readings) {
      const ns = BigInt(timeNs);
      const ms = Number(ns >= 0n ? ns / 1_000_000n : (ns - 999_999n) / 1_000_000n);
      if (last !== null && ms >= last.fromMs && ms < last.toMs) continue;
      last = bucketAt(interval, timeZone, ms);
      if (last.fromMs <= nowMs + FUTURE_MS && !this.#waiting.has(last.fromMs))
        this.#waiting.set(last.fromMs, { ...last, since });
    }
  }

  /** Asks for buckets that have ended, in the order of time.
   *  @returns one JSON object without its braces for each series and bucket that has changed
   *  @throws StoreError; then they wait still */
  async finished(nowMs: number): Promise<string[]> {
    const due = [...this.#waiting.values()]
      .filter(({ toMs }) => toMs + SETTLE_MS <= nowMs)
      .sort((a, b) => a.fromMs - b.fromMs);
    const [first] = due;
    if (first === undefined) return [];
    const reach = first.fromMs + SPAN_MAX * (first.toMs - first.fromMs);
    const asked = due.filter(({ fromMs }) => fromMs < reach);
    this.#asking = this.since;
    for (const { fromMs } of asked) this.#waiting.delete(fromMs);
    try {
      return await this.#ask(asked);
    } catch (error) {
      const newer = [...this.#waiting];
      this.#waiting.clear();
      for (const each of asked) this.#waiting.set(each.fromMs, each);
      for (const [key, each] of newer) if (!this.#waiting.has(key)) this.#waiting.set(key, each);
      throw error;
    } finally {
      this.#asking = null;
    }
  }

  async #ask(asked: readonly Waiting[]): Promise<string[]> {
    const { aggregations, interval, timeZone, fromUs, toUs } = this.#question;
    const first = asked.at(0);
    const last = asked.at(-1);
    if (first === undefined || last === undefined || interval === undefined) return [];
    const looksBack = aggregations.some((name) => LOOKING_BACK.includes(name));
    const start = looksBack ? bucketAt(interval, timeZone, first.fromMs - 1).fromMs : first.fromMs;
    const [from, to] = [BigInt(start) * 1_000n, BigInt(last.toMs) * 1_000n];
    const answer = await this.#questions.series({
      ...this.#question,
      fromUs: fromUs !== undefined && fromUs > from ? fromUs : from,
      toUs: toUs !== undefined && toUs < to ? toUs : to,
      limit: POINTS_MAX,
    });
    const wanted = new Map(asked.map((bucket) => [`${bucket.fromMs}000000`, bucket]));
    const told: string[] = [];
    for (const { points, cut: _, ...series } of answer.series) {
      const head = JSON.stringify({ ...series, unit: series.unit === '' ? undefined : series.unit }).slice(1, -1);
      for (const { timeNs, values } of points) {
        if (!wanted.has(timeNs)) continue;
        const numbers = JSON.stringify(Object.fromEntries(answer.columns.map((name, index) => [name, values[index]])));
        const revision = this.#revisionOf(`${timeNs} ${head}`, numbers);
        if (revision === null) continue;
        const fields = [`"time":${timeJson(timeNs, this.#time)}`, `"values":${numbers}`, `"revision":${revision}`];
        told.push([...(head === '' ? [] : [head]), ...fields].join(','));
      }
    }
    return told;
  }

  /** @returns null: it was sent just so */
  #revisionOf(key: string, values: string): number | null {
    const before = this.#sent.get(key);
    if (before?.values === values) return null;
    this.#sent.delete(key);
    const revision = before === undefined ? 0 : before.revision + 1;
    this.#sent.set(key, { revision, values });
    if (this.#sent.size > SENT_MAX) this.#sent.delete(this.#sent.keys().next().value ?? '');
    return revision;
  }
}
