import { join } from 'node:path';
import {
  appendOne,
  createLogger,
  createMetrics,
  type Log,
  type LogEngine,
  type LogError,
  type Started,
} from '@millrace/core';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { describeLog } from '../conformance.ts';
import { Bench, topic, until } from '../testing/embedded.ts';
import { sharedLog } from './engine.ts';
import { FrameReader } from './frame.ts';
import { serveLog } from './server.ts';

const MiB = 1024 * 1024;
const logger = createLogger({ level: 'silent' });

/** A log and its server. */
async function serve(bench: Bench, directory: string, more: Parameters<Bench['open']>[1] = {}) {
  const log = await bench.open(directory, more);
  const path = join(directory, 'log.sock');
  const served = await serveLog({ engine: log.value, path, logger }).start();
  bench.onEnd(() => served.stop());
  return {
    log,
    served,
    async connect(given: { pendingBytesMax?: number; onLost?: () => void } = {}): Promise<Started<LogEngine>> {
      const options = { path, pendingBytesMax: 64 * MiB, metrics: createMetrics(), logger, ...given };
      const client = await sharedLog(options).start();
      bench.onEnd(() => client.stop());
      return client;
    },
  };
}

describeLog('embedded, over a socket', async () => {
  const bench = new Bench();
  const directory = bench.directory();
  let all = await serve(bench, directory);
  let client = await all.connect();
  return {
    engine: client.value,
    async reopen() {
      await client.drain(1_000);
      await client.stop();
      await all.served.stop();
      await all.log.drain(1_000);
      await all.log.stop();
      all = await serve(bench, directory);
      client = await all.connect();
      return client.value;
    },
    close: () => bench.end(),
  };
});

describe('the embedded log over a socket', () => {
  const bench = new Bench();
  afterEach(() => bench.end());
  const record = (text: string): Uint8Array => new TextEncoder().encode(text);
  const open = (engine: LogEngine): Promise<Log> => engine.topic(topic);

  test('gives the records of several processes offsets without gaps, each in its own order', async () => {
    const { connect, log } = await serve(bench, bench.directory());
    const writers = await Promise.all(
      [connect(), connect(), connect()].map(async (client) => open((await client).value)),
    );
    const told = await Promise.all(
      writers.map((writer, of) =>
        Promise.all(Array.from({ length: 400 }, (_, index) => appendOne(writer, 0, '', record(`${of}-${index}`)))),
      ),
    );
    const offsets = told.map((positions) => positions.map(({ offset }) => offset));
    for (const own of offsets) expect(own).toEqual([...own].sort((a, b) => a - b));
    const all = offsets.flat().sort((a, b) => a - b);
    expect(all).toEqual(Array.from({ length: 1_200 }, (_, index) => index));
    expect(await (await open(log.value)).extent(0)).toEqual({ earliest: 0, next: 1_200 });
  });

  test('refuses what one turn gathered as a whole when there is no room for all of it, in its place', async () => {
    const { connect } = await serve(bench, bench.directory(), { bytesMax: 256 * 1024, segmentBytesMax: 16_384 });
    const writer = await open((await connect()).value);
    const outcomes: string[] = [];
    const receipt = (name: string) => ({
      appended: () => outcomes.push(name),
      refused: (error: LogError) => outcomes.push(`${name} ${error.code}`),
    });
    writer.append(0, '', record('small'), receipt('before'));
    await new Promise((turn) => setImmediate(turn));
    for (let index = 0; index < 3; index++) writer.append(0, '', new Uint8Array(100_000), receipt(`large ${index}`));
    await new Promise((turn) => setImmediate(turn));
    writer.append(0, '', record('small'), receipt('after'));
    await until(() => outcomes.length === 5);
    const refused = [0, 1, 2].map((index) => `large ${index} LOG_FULL`);
    expect(outcomes).toEqual(['before', ...refused, 'after']);
    expect(writer.pendingBytes).toBe(0);
  });

  test('says that it is full to who asks for its health, also when only others met it', async () => {
    const { connect, log } = await serve(bench, bench.directory(), { bytesMax: 256 * 1024, segmentBytesMax: 16_384 });
    const client = await connect();
    const writer = await open(client.value);
    const refused = await Promise.all(
      [1, 2, 3].map(() => appendOne(writer, 0, '', new Uint8Array(100_000)).catch(String)),
    );
    expect(refused[0]).toContain('LOG_FULL');
    expect(await log.value.health()).toContain('the log is full');
    expect(await client.value.health()).toContain('the log is full');
  });

  test('holds no more than it may of what is not durable yet', async () => {
    const { connect } = await serve(bench, bench.directory());
    const writer = await open((await connect({ pendingBytesMax: 1_000 })).value);
    const [first, second] = await Promise.all(
      [900, 200].map((size) => appendOne(writer, 0, '', new Uint8Array(size)).catch((error: LogError) => error.code)),
    );
    expect([first, second]).toEqual([{ partition: 0, offset: 0 }, 'LOG_FULL']);
  });

  test('tells who waits, once, when the process that has the log is gone', async () => {
    const { connect, served } = await serve(bench, bench.directory());
    let lost = 0;
    const client = await connect({ onLost: () => lost++ });
    const log = await open(client.value);
    const ending = new AbortController();
    const reading = (async () => {
      for await (const _ of log.follow([0], 'tail', { bytesMax: MiB, signal: ending.signal }));
    })().catch((error: LogError) => error.code);
    await log.extent(0);
    await served.stop();
    expect(await reading).toBe('LOG_UNREACHABLE');
    expect(lost).toBe(1);
    await expect(appendOne(log, 0, '', record('late'))).rejects.toMatchObject({
      code: 'LOG_UNREACHABLE',
      retry: 'later',
    });
    expect(log.refusalOf(1)).toMatchObject({ code: 'LOG_UNREACHABLE' });
    expect(await client.value.health()).toContain('gone');
  });

  test('takes the leases of a process that is gone, and gives them to who is left', async () => {
    const { connect } = await serve(bench, bench.directory());
    const [one, two] = [await connect(), await connect()];
    const held: string[] = [];
    const hold = (name: string, client: Started<LogEngine>) => async (): Promise<void> => {
      const log = await open(client.value);
      await log.consume('g', async (lease) => {
        held.push(name);
        if (!lease.signal.aborted) {
          await new Promise((over) => lease.signal.addEventListener('abort', over, { once: true }));
        }
      });
    };
    await hold('one', one)();
    await until(() => held.length === 1);
    await hold('two', two)();
    await one.stop();
    await until(() => held.length === 2);
    expect(held).toEqual(['one', 'two']);
  });

  test('puts frames together however the socket cuts them', () => {
    const bodies = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 20 });
    fc.assert(
      fc.property(bodies, fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 1 }), (given, cuts) => {
        const bytes = Buffer.concat(
          given.map((body) => {
            const head = Buffer.alloc(5, 7);
            head.writeUInt32LE(body.length + 1, 0);
            return Buffer.concat([head, body]);
          }),
        );
        const found: number[][] = [];
        const reader = new FrameReader((kind, body) => found.push([kind, ...body]));
        for (let at = 0, cut = 0; at < bytes.length; cut++) {
          const size = cuts[cut % cuts.length] as number;
          reader.feed(Buffer.from(bytes.subarray(at, at + size)));
          at += size;
        }
        expect(found).toEqual(given.map((body) => [7, ...body]));
      }),
    );
  });

  test('does not go on with what is no frame', () => {
    const reader = new FrameReader(() => {});
    expect(() => reader.feed(Buffer.from([255, 255, 255, 255, 1]))).toThrow(RangeError);
    expect(() => reader.feed(Buffer.from([0, 0, 0, 0, 1]))).toThrow(RangeError);
  });
});
