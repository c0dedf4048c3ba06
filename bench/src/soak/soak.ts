import { setTimeout as sleep } from 'node:timers/promises';
import { metricSum } from '../metrics-text.ts';
import { type ProductNode, provision, startNode } from '../product.ts';
import { machineFacts } from '../report.ts';
import { Run } from '../run.ts';
import { judgeGrowth } from './gates.ts';
import { Beside } from './load/beside.ts';
import { MixedLoad } from './load/mixed.ts';
import type { SoakOptions } from './options.ts';
import { holds, type RampStep, type SoakReport, soakProblems } from './report.ts';
import { Sampler } from './sampler.ts';

const SETTLE_MS_MAX = 60_000;
const POLL_MS = 100;
const SAMPLES_MIN = 6;

/** Loads a node for minutes with 70 % of what it can take, by all protocols, and looks for what grows.
 *  @throws BenchError CHILD_FAILED, SETUP_FAILED, INTERRUPTED; nothing it started runs on */
export function runSoak(options: SoakOptions, progress: (line: string) => void): Promise<SoakReport> {
  return new SoakRun(options, progress).toEnd(options.signal);
}

class SoakRun extends Run<SoakReport> {
  readonly #options: SoakOptions;

  constructor(options: SoakOptions, progress: (line: string) => void) {
    super(1, progress);
    this.#options = options;
  }

  protected async all(): Promise<SoakReport> {
    const { minutes, share, channels, sampleSeconds } = this.#options;
    const machine = machineFacts();
    const node = await this.started(startNode());
    const plane = await node.plane();
    const targets = await provision(plane, channels);
    const load = await MixedLoad.open(node, targets);
    const parts: { stop(): Promise<void> }[] = [{ stop: () => load.close() }];
    try {
      const beside = await Beside.open(node, plane, targets);
      parts.push(beside);
      const { sustainable, steps } = await this.#ramp(node, load);
      const perSecond = Math.max(1, Math.round(sustainable * share));
      this.say(`sustainable: ${sustainable} messages/s; soaking at ${perSecond} for ${minutes} minutes`);
      let told = 0;
      const sampler = new Sampler(node, sampleSeconds, (sample) => {
        if (++told % Math.ceil(30 / sampleSeconds) === 0)
          this.say(
            `${sample.second} s: ${sample.anonymous.toFixed(0)} MiB, heap ${sample.heap.toFixed(0)}, ${sample.files} files`,
          );
      });
      parts.push(sampler);
      load.rate(perSecond);
      await this.#pass(minutes * 60);
      await sampler.stop();
      const figures = load.rate(0);
      const unanswered = await load.settle();
      if (unanswered > 0) this.say(`${unanswered} messages were never answered`);
      await beside.stop();
      const processed = await this.#processed(node, load.taken);
      const report = {
        format: 1 as const,
        benchmark: 'soak' as const,
        date: new Date().toISOString(),
        machine,
        minutes,
        sustainable,
        perSecond,
        ramp: steps,
        load: figures,
        beside: beside.figures,
        account: { acknowledged: load.taken, processed, missing: Math.max(0, load.taken - processed) },
        growth: sampler.samples.length < SAMPLES_MIN ? [] : judgeGrowth(sampler.samples),
        samples: sampler.samples,
      };
      return { ...report, problems: soakProblems(report) };
    } finally {
      await Promise.allSettled(parts.map((part) => part.stop()));
      await this.ended(node);
    }
  }

  /** Asks for more and more until it is too much; for less and less where the first is too much already.
   *  @returns the most that was not */
  async #ramp(node: ProductNode, load: MixedLoad): Promise<{ sustainable: number; steps: RampStep[] }> {
    const { first, factor, last, least } = this.#options.ramp;
    const steps: RampStep[] = [];
    const tried = async (perSecond: number): Promise<boolean> => {
      const step = await this.#step(node, load, perSecond);
      steps.push(step);
      return step.holds;
    };
    let sustainable = first;
    if (await tried(first)) {
      for (let next = first * factor; next <= last && (await tried(Math.round(next))); next *= factor)
        sustainable = Math.round(next);
    } else {
      do sustainable = Math.round(sustainable / factor);
      while (sustainable > least && !(await tried(sustainable)));
    }
    return { sustainable, steps };
  }

  async #step(node: ProductNode, load: MixedLoad, perSecond: number): Promise<RampStep> {
    load.rate(perSecond);
    await this.#pass(this.#options.ramp.stepSeconds);
    const figures = load.rate(0);
    const lag = await this.#metric(node, 'millrace_log_lag_messages');
    const step = { ...figures, perSecond, lag, holds: holds({ ...figures, perSecond, lag }) };
    this.say(`${perSecond}/s: ${step.taken} of ${step.offered} taken, p99 ${step.p99.toFixed(0)} ms, lag ${lag}`);
    await load.settle();
    // What this step left must not count against the next.
    await this.#processed(node, load.taken);
    return step;
  }

  async #pass(seconds: number): Promise<void> {
    for (const end = performance.now() + seconds * 1_000; performance.now() < end && !this.stopped; )
      await sleep(Math.min(1_000, Math.max(1, end - performance.now())));
  }

  /** Waits until so many messages are processed, or nothing has moved for long.  @returns how many are */
  async #processed(node: ProductNode, wanted: number): Promise<number> {
    let last = -1;
    let movedAt = performance.now();
    for (;;) {
      const found = await this.#metric(node, 'millrace_processor_messages_total');
      if (found !== last) movedAt = performance.now();
      last = found;
      if (found >= wanted || performance.now() - movedAt > SETTLE_MS_MAX || this.stopped) return found;
      await sleep(POLL_MS);
    }
  }

  async #metric(node: ProductNode, name: string): Promise<number> {
    const response = await fetch(`${node.url}/metrics`);
    return metricSum(await response.text(), name);
  }
}
