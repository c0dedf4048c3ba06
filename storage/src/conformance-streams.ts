import { deepEqual, equal, ok, rejects } from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createMetrics, type StoreError } from '@millrace/core';
import type { Engine } from './engine/engine.ts';
import { Turnstile } from './engine/turnstile.ts';
import { Asker, type AskStreamOptions } from './read/asker.ts';
import type { Runner } from './testing/suite.ts';

export interface OpenedEngine {
  readonly engine: Engine;
  /** Files that the engine keeps for as long as a statement lasts, or the session that it ran in. */
  spooled(): Promise<string[]>;
  close(): Promise<void>;
}

const WAIT_MS_MAX = 30_000;
/** For three streams at once, what ends each, and who looks on. */
const SESSIONS_MAX = 7;
/** More than anybody will read of. */
const ENDLESS = 'SELECT number AS n, toString(number) AS text FROM numbers(100000000000)';
/** Works long before its first row. */
const SLOW = 'SELECT count() AS n FROM numbers(100000000000) WHERE NOT ignore(sipHash64(number))';

/** What every engine keeps of answers that are streamed. */
export function describeStreams(runner: Runner, name: string, open: () => Promise<OpenedEngine>): void {
  const { describe, test, beforeAll, afterAll } = runner;
  describe(`streams: ${name}`, () => {
    let opened: OpenedEngine;
    const interactive = new Turnstile('queries', 2, 8);
    const background = new Turnstile('background', 1, 8);
    const askerWith = (stalledSecondsMax: number): Asker =>
      new Asker(opened.engine, { interactive, background }, createMetrics(), {
        secondsMax: 60,
        bytesMax: 2 ** 29,
        backgroundSecondsMax: 60,
        stalledSecondsMax,
      });
    let asker: Asker;
    beforeAll(async () => {
      opened = await open();
      asker = askerWith(60);
    });
    afterAll(() => opened?.close());

    const stream = (statement: string, more: Partial<AskStreamOptions> = {}, parameters = {}) =>
      asker.stream('rows', statement, parameters, { format: 'TabSeparated', ...more })[Symbol.asyncIterator]();
    /** No place is taken, and the engine is at nothing of the statement any more. */
    const untilOver = async (words: string): Promise<void> => {
      const begun = Date.now();
      for (;;) {
        const left = await opened.engine.rows(
          `SELECT 1 FROM system.processes WHERE query LIKE '%${words}%' AND query NOT LIKE '%system.processes%'`,
        );
        if (left.length === 0 && interactive.running === 0 && background.running === 0) return;
        ok(Date.now() - begun < WAIT_MS_MAX, `still at ${words}`);
        await sleep(20);
      }
    };

    test('gives one document in the format that was asked for', async () => {
      const directory = await mkdtemp(join(tmpdir(), 'millrace-formats-'));
      const statement = 'SELECT number AS n, number / 4 AS v FROM numbers(200000) ORDER BY n';
      for (const [format, ending] of [
        ['CSVWithNames', '199999,49999.75\n'],
        ['JSONEachRow', '{"n":199999,"v":49999.75}\n'],
        ['Parquet', 'PAR1'],
        ['ArrowStream', '\xff\xff\xff\xff\0\0\0\0'],
      ] as const) {
        const parts: Uint8Array[] = [];
        for await (const part of asker.stream('rows', statement, {}, { format })) parts.push(part);
        const whole = Buffer.concat(parts);
        equal(whole.subarray(-ending.length).toString('latin1'), ending);
        // Read back by the engine's own reader, as a file that it did not write itself.
        const path = join(directory, format);
        await writeFile(path, whole);
        const [read] = await opened.engine.rows<{ rows: string; sum: string }>(
          `SELECT toString(count()) AS rows, toString(sum(n)) AS sum FROM file('${path}', '${format}', 'n UInt64, v Float64')`,
        );
        deepEqual(read, { rows: '200000', sum: '19999900000' });
      }
      await rm(directory, { recursive: true });
      const none: Uint8Array[] = [];
      const format = 'CSVWithNames';
      for await (const part of asker.stream('rows', `${statement} LIMIT 0`, {}, { format })) none.push(part);
      equal(Buffer.concat(none).toString(), '"n","v"\n');
      await untilOver('number / 4');
    });

    test('binds parameters, hostile ones included, each to its own question', async () => {
      const hostile = ["a'b\\'; DROP TABLE x; --", '\\N', 'tab\tnew\nline\0\\t', '✓ naïve \u{1f600}', '{x:String}', ''];
      const ask = async (texts: readonly string[], number: number) => {
        const statement =
          'SELECT {list:Array(String)} AS list, {text:String} AS text, {n:Int64} AS n, {f:Float64} AS f';
        const parts: Uint8Array[] = [];
        const parameters = { list: texts, text: texts[0] ?? '', n: number, f: number / 3 };
        for await (const part of asker.stream('rows', statement, parameters, { format: 'JSONEachRow' }))
          parts.push(part);
        return JSON.parse(Buffer.concat(parts).toString()) as unknown;
      };
      for (const text of hostile) {
        const texts = [text, ...hostile];
        deepEqual(await ask(texts, -3), { list: texts, text, n: -3, f: -1 });
      }
      const beside = await Promise.all(
        Array.from({ length: 8 }, async (_, index) => {
          const answer = (await ask([`who ${index}`], index)) as { text: string; n: number };
          const [row] = await asker.ask<{ text: string }>('rows', 'SELECT {text:String} AS text', { text: `${index}` });
          return [answer.text, answer.n, row?.text];
        }),
      );
      deepEqual(
        beside,
        Array.from({ length: 8 }, (_, index) => [`who ${index}`, index, `${index}`]),
      );
    });

    test('ends the query in the engine when its reader leaves, before the first row and after', async () => {
      const reading = stream(ENDLESS);
      ok(!(await reading.next()).done);
      await reading.return?.();
      await untilOver('100000000000');

      const abort = new AbortController();
      const waiting = stream(SLOW, { signal: abort.signal }).next();
      waiting.catch(() => {});
      await sleep(200);
      equal(interactive.running, 1);
      abort.abort(new Error('gone'));
      await rejects(waiting, /gone/);
      await untilOver('sipHash64');

      const asked = new AbortController();
      const whole = asker.ask('rows', SLOW, {}, { signal: asked.signal });
      whole.catch(() => {});
      await sleep(200);
      asked.abort(new Error('gone too'));
      await rejects(whole, /gone too/);
      await untilOver('sipHash64');
    });

    test('tells what fails, before the first byte and after many', async () => {
      const early = stream('SELECT nonsense');
      await rejects(early.next() as Promise<unknown>, (error: StoreError) => error.name === 'StoreError');
      let size = 0;
      const late = async (): Promise<void> => {
        const statement = 'SELECT number, throwIf(number = 3000000) FROM numbers(10000000)';
        for await (const part of asker.stream('rows', statement, {}, { format: 'TabSeparated' })) size += part.length;
      };
      await rejects(late(), (error: StoreError) => error.name === 'StoreError' && error.facts.engineCode === 395);
      ok(size > 1_000_000);
      await untilOver('throwIf');
    });

    test('says which limit a question met', async () => {
      const limitOf = async (statement: string, limits: AskStreamOptions['limits']): Promise<unknown> => {
        try {
          for await (const _ of asker.stream('rows', statement, {}, { format: 'TabSeparated', limits: limits ?? {} }));
        } catch (error) {
          return (error as StoreError).facts.limit;
        }
        return null;
      };
      equal(await limitOf(SLOW, { secondsMax: 1 }), 'time');
      equal(await limitOf(ENDLESS, { resultBytesMax: 1_000_000 }), 'result');
      equal(await limitOf(ENDLESS, { rowsReadMax: 100_000 }), 'rows');
      equal(await limitOf('SELECT groupArray(number) FROM numbers(100000000)', { bytesMax: 50_000_000 }), 'memory');
      await untilOver('100000000');
    });

    test('reads no more than is taken, however long the answer is', async () => {
      const before = process.memoryUsage().rss;
      let most = 0;
      const reading = stream('SELECT number FROM numbers(100000000)');
      let size = 0;
      for (let count = 0; count < 40; count++) {
        const part = await reading.next();
        if (part.done) break;
        size += part.value.length;
        await sleep(10);
        most = Math.max(most, process.memoryUsage().rss - before);
      }
      await reading.return?.();
      ok(size < 400_000_000, `${size} bytes taken`);
      // The whole is 890 MB.
      ok(most < 300_000_000, `${most} bytes of memory`);
      await untilOver('100000000');
    });

    test('takes its place from a reader who takes nothing', async () => {
      const impatient = askerWith(1);
      const reading = impatient.stream('rows', ENDLESS, {}, { format: 'TabSeparated' })[Symbol.asyncIterator]();
      ok(!(await reading.next()).done);
      equal(interactive.running, 1);
      await untilOver('100000000000');
      await rejects(reading.next() as Promise<unknown>, (error: StoreError) => error.facts.limit === 'reader');
    });

    test('leaves nothing behind, at whatever moment its readers go away', async () => {
      const formats = ['TabSeparated', 'CSVWithNames', 'ArrowStream', 'Parquet'];
      const statements = [ENDLESS, SLOW, 'SELECT nonsense', 'SELECT number FROM numbers(200000)'];
      // Each moment once for each of them: no luck is in it.
      const leave = async (at: number): Promise<void> => {
        const format = formats[at % 4] ?? '';
        const statement = statements[Math.floor(at / 4) % 4] ?? '';
        const abort = new AbortController();
        const reading = stream(statement, {
          format,
          signal: abort.signal,
          urgency: at % 3 ? 'interactive' : 'background',
        });
        const timer = setTimeout(() => abort.abort(new Error('gone')), (at * 7) % 60);
        try {
          for (let parts = 0; parts < at % 5; parts++) if ((await reading.next()).done) return;
          if (at % 2 === 0) return;
          const next = reading.next();
          next.catch(() => {});
          if (at % 7 === 0) await new Promise(setImmediate);
        } catch {
          // Each may fail, in its own way.
        } finally {
          clearTimeout(timer);
          await reading.return?.();
        }
      };
      for (let at = 0; at < 80; at += 4) await Promise.all([at, at + 1, at + 2, at + 3].map((each) => leave(each)));
      await untilOver('number');
      // Sessions that nobody left in the midst of an answer keep their pipe, and no more are open than were needed at once.
      const left = await opened.spooled();
      ok(left.length <= SESSIONS_MAX && left.every((name) => name.endsWith('.fifo')), left.join());
      deepEqual(await asker.ask('rows', 'SELECT 1 AS one'), [{ one: 1 }]);
    });

    test('runs beside others, and work in the background stands in nobody’s way', async () => {
      const streams = [stream(ENDLESS), stream(ENDLESS, { urgency: 'background' })];
      for (const each of streams) ok(!(await each.next()).done);
      deepEqual(await asker.ask('rows', 'SELECT 1 AS one'), [{ one: 1 }]);
      for (const each of streams) ok(!(await each.next()).done);
      for (const each of streams) await each.return?.();
      await untilOver('100000000000');
    });
  });
}
