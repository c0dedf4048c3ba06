import { measureOpenLoop } from './measure.ts';
import type { Road } from './product.ts';
import type { SoakFigures } from './report.ts';
import { thirdsRatio } from './statistics.ts';

const SAMPLE_MS_MAX = 5_000;
const SAMPLE_MS_MIN = 500;
/** Caches, pools and compiled code fill up first. */
const WARM_UP_SHARE = 0.1;

/** Loads a road for minutes and watches its memory. */
export async function soak(
  road: Road,
  load: { readonly connections: number; readonly messagesPerSecond: number; readonly minutes: number },
  progress: (line: string) => void,
): Promise<SoakFigures> {
  const start = performance.now();
  // Sixty samples at least, so that thirds mean something.
  const sampleMs = Math.max(SAMPLE_MS_MIN, Math.min(SAMPLE_MS_MAX, load.minutes * 1_000));
  const samples: { second: number; pss: number; anonymous: number; rss: number }[] = [];
  const timer = setInterval(() => {
    const memory = road.memory();
    if (memory === null) return;
    const second = Math.round((performance.now() - start) / 1_000);
    samples.push({
      second,
      pss: Math.round(memory.pss),
      anonymous: Math.round(memory.anonymous),
      rss: Math.round(memory.rss),
    });
    if (samples.length % 12 === 0) progress(`soak, ${second} s: ${memory.pss.toFixed(0)} MiB`);
  }, sampleMs);
  try {
    const figures = await measureOpenLoop(road, {
      connections: load.connections,
      recordCount: 10,
      seconds: load.minutes * 60,
      messagesPerSecond: load.messagesPerSecond,
    });
    const warm = samples.slice(Math.ceil(samples.length * WARM_UP_SHARE));
    return {
      minutes: load.minutes,
      messagesPerSecond: load.messagesPerSecond,
      accepted: figures.accepted,
      pssRatio: thirdsRatio(warm.map((sample) => sample.pss)),
      anonymousRatio: thirdsRatio(warm.map((sample) => sample.anonymous)),
      rssRatio: thirdsRatio(warm.map((sample) => sample.rss)),
      samples,
    };
  } finally {
    clearInterval(timer);
  }
}
