import type { CodecRunner } from '@millrace/core';
import { afterEach, describe, expect, test } from 'vitest';
import { codecOf, startCodecs } from '../testing/codecs.ts';

let stop: (() => Promise<void>) | undefined;
afterEach(async () => {
  await stop?.();
  stop = undefined;
});
async function start(config: object = {}) {
  const started = await startCodecs(config);
  stop = () => started.stop();
  return started;
}

const input = { bytes: Uint8Array.of(1, 2), fPort: 1, variables: {} };
const ECHO = 'function decodeUplink({ bytes }) { return { data: { bytes } } }';
/** Compares text in one step of the engine, so nothing can interrupt it. */
const STUCK = 'function decodeUplink() { return { data: "a".repeat(3e6).indexOf("a".repeat(15e5) + "b") } }';
const ofByte = (codecs: CodecRunner, codec: ReturnType<typeof codecOf>, byte: number) =>
  codecs.decode(codec, { ...input, bytes: Uint8Array.of(byte) });

describe('the runner of codecs', { timeout: 120_000 }, () => {
  test('answers each of many runs at the same time with its own data', async () => {
    const { codecs, metrics } = await start({ MILLRACE_CODECS_THREADS: 2 });
    const each = Array.from({ length: 8 }, () => codecOf(ECHO));
    const told = await Promise.all(
      Array.from({ length: 200 }, (_, run) => ofByte(codecs, each[run % 8] ?? codecOf(ECHO), run)),
    );
    expect(told).toEqual(
      Array.from({ length: 200 }, (_, run) => ({ kind: 'decoded', data: { bytes: [run] }, warnings: [], logs: [] })),
    );
    const counted = await metrics.registry.getSingleMetricAsString('millrace_codec_runs_total');
    expect(counted).toContain('{direction="decode",outcome="done"} 200');
  });

  test('ends the thread of what cannot be interrupted, lets it rest, and goes on with the others', async () => {
    const { codecs, metrics } = await start({ MILLRACE_CODECS_MS_MAX: 5 });
    const stuck = codecOf(STUCK);
    const others = Array.from({ length: 5 }, () => codecOf(ECHO));
    const told = await Promise.all([
      codecs.decode(stuck, input),
      ...others.map((other) => codecs.decode(other, input)),
    ]);
    expect(told.slice(1)).toEqual(others.map(() => expect.objectContaining({ kind: 'decoded' })));
    expect(told[0]).toMatchObject({ detail: 'it does not come to an end, or breaks its sandbox' });
    expect(await codecs.decode(stuck, input)).toMatchObject({
      detail: 'it had to be ended by force a moment ago, and is not run again yet',
    });
    expect(await codecs.decode({ ...stuck, version: 2, script: ECHO }, input)).toMatchObject({ kind: 'decoded' });
    const counted = await metrics.registry.getSingleMetricAsString('millrace_codec_runs_total');
    expect(counted).toContain('{direction="decode",outcome="killed"} 1');
  });

  test('refuses what waits beyond its bound, a quarter of it for one codec', async () => {
    const { codecs, metrics } = await start({ MILLRACE_CODECS_QUEUE_MAX: 8 });
    const greedy = codecOf(ECHO);
    const runs = Array.from({ length: 10 }, () => codecs.decode(greedy, input));
    const others = Array.from({ length: 6 }, () => codecs.decode(codecOf(ECHO), input));
    const late = codecs.decode(codecOf(ECHO), input);
    const settled = await Promise.allSettled([...runs, ...others, late]);
    const kinds = settled.map((each) => (each.status === 'fulfilled' ? each.value.kind : each.reason.code));
    // One runs, two of its kind wait, the others are refused.
    expect(kinds.slice(0, 10)).toEqual(['decoded', 'decoded', 'decoded', ...Array(7).fill('CODECS_BUSY')]);
    expect(kinds.slice(10, 16)).toEqual(Array(6).fill('decoded'));
    expect(kinds[16]).toBe('CODECS_BUSY');
    const counted = await metrics.registry.getSingleMetricAsString('millrace_codec_runs_total');
    expect(counted).toContain('outcome="refused"} 8');
    expect(await codecs.decode(greedy, input)).toMatchObject({ kind: 'decoded' });
  });

  test('says of an input that is nested beyond all that it is, and runs nothing', async () => {
    const { codecs } = await start();
    const data = JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`);
    const told = await codecs.encode(codecOf('function encodeDownlink() { return { bytes: [1] } }'), {
      ...input,
      data,
    });
    expect(told).toMatchObject({ kind: 'failed', detail: 'its input is nested too deeply' });
  });

  test('ends with what it has in hand', async () => {
    const { codecs, stop } = await start();
    const run = codecs.decode(codecOf(STUCK), input);
    const waiting = codecs.decode(codecOf(ECHO), input);
    const settled = Promise.allSettled([run, waiting]);
    await stop();
    for (const each of await settled)
      expect(each).toMatchObject({ status: 'rejected', reason: { code: 'CODECS_BUSY' } });
  });
});
