import { setTimeout as sleep } from 'node:timers/promises';
import { startBareRoad } from './bare-road.ts';
import { runChild, startChild } from './child.ts';
import { workDirectory } from './directory.ts';
import { runLoad } from './load/run.ts';
import { type EndToEnd, measureEndToEnd, measureOpenLoop } from './measure.ts';
import type { Target } from './pack.ts';
import { type Road, startProduct } from './product.ts';
import { judge, machineFacts, type RoadReport, reportedEnvironment, type SoakFigures } from './report.ts';
import { Run } from './run.ts';
import { soak } from './soak.ts';

export interface RoadOptions {
  /** Interleaved rounds: every round measures every floor and the product once. */
  readonly rounds: number;
  /** Length of the main closed loop; the other loops follow from it. */
  readonly seconds: number;
  readonly connections: number;
  /** Channels, each with a thing of its own. */
  readonly channels: number;
  /** Only what the targets and the table need: no second bare road, no open loops over the bare road. */
  readonly quick: boolean;
  /** Minutes of load under which memory must stay flat; 0 leaves it out. */
  readonly soakMinutes: number;
  /** false: the floors alone. */
  readonly product: boolean;
  /** Ends what runs and rejects. */
  readonly signal?: AbortSignal;
}

export const FULL: RoadOptions = {
  rounds: 3,
  seconds: 8,
  connections: 256,
  channels: 32,
  quick: false,
  soakMinutes: 0,
  product: true,
};
export const QUICK: RoadOptions = { ...FULL, rounds: 1, seconds: 5, quick: true };

const PACK_SIZES = [10, 1, 100] as const;
const OFFERED_PER_SECOND = 10_000;
const BLOCK_ROWS = 100_000;
const CHILD_MS_MAX = 60_000;
/** The machine settles (write-back, exits) before the next process is measured. */
const SETTLE_MS = 1_000;

/** Measures the product's road and its floors, each in a process of its own, in interleaved rounds.
 *  @throws BenchError CHILD_FAILED, SETUP_FAILED, DRAIN_TIMEOUT; nothing it started runs on */
export async function runRoad(options: RoadOptions, progress: (line: string) => void): Promise<RoadReport> {
  const run = new RoadRun(options, progress);
  // Before anything of ours runs: what else the machine is busy with.
  const machine = machineFacts();
  const soakFigures = await run.toEnd(options.signal);
  const figures = run.collector.figures();
  return {
    format: 1,
    benchmark: 'road',
    date: new Date().toISOString(),
    machine,
    settings: {
      rounds: options.rounds,
      seconds: options.seconds,
      connections: options.connections,
      channels: options.channels,
      environment: reportedEnvironment(process.env),
    },
    figures,
    targets: judge(figures, soakFigures),
    soak: soakFigures,
  };
}

class RoadRun extends Run<SoakFigures | null> {
  readonly #options: RoadOptions;
  #productPerSecond = 0;

  constructor(options: RoadOptions, progress: (line: string) => void) {
    super(options.rounds, progress);
    this.#options = options;
  }

  protected async all(): Promise<SoakFigures | null> {
    for (this.round = 1; this.round <= this.#options.rounds; this.round++) {
      await this.#floors();
      await this.#bareRoad('commit');
      if (!this.#options.quick) await this.#bareRoad('fsync');
      if (this.#options.product) await this.#product();
    }
    return this.#options.soakMinutes > 0 && this.#options.product ? this.#soak() : null;
  }

  async #floors(): Promise<void> {
    const { seconds } = this.#options;
    const short = Math.max(Math.min(1, seconds), seconds / 3);
    const answer = await this.started(
      startChild<{ url: string }>(import.meta.url, './floors/answer', {}, CHILD_MS_MAX),
    );
    const load = await runLoad({
      url: answer.message.url,
      targets: this.#anyTargets(),
      connections: this.#options.connections,
      recordCount: 10,
      seconds: short,
    });
    await this.ended(answer);
    this.add('answer/packs-10/messages_per_second', 'messages/s', load.acceptedPerSecond);
    this.tell('empty 202', `${whole(load.acceptedPerSecond)} messages/s`);

    const parse = await runChild<{ packsPerSecond: number }>(
      import.meta.url,
      './floors/parse',
      { seconds: short / 2, recordCount: 10 },
      CHILD_MS_MAX,
    );
    this.add('parse/packs-10/packs_per_second', 'packs/s', parse.packsPerSecond);
    this.tell('JSON.parse', `${whole(parse.packsPerSecond)} packs/s`);

    const disk = await workDirectory();
    const sync = await runChild<{ syncsPerSecond: number; p50: number; p99: number }>(
      import.meta.url,
      './floors/sync',
      { seconds: short / 2, directory: disk.path },
      CHILD_MS_MAX,
    ).finally(() => disk.remove());
    this.add('sync/4-kib/syncs_per_second', 'syncs/s', sync.syncsPerSecond);
    this.add('sync/4-kib/p50', 'ms', sync.p50);
    this.add('sync/4-kib/p99', 'ms', sync.p99);
    this.tell('4 KiB on disk', `${whole(sync.syncsPerSecond)} a second, p99 ${sync.p99.toFixed(1)} ms`);

    for (const [name, format] of [
      ['text', 'TabSeparated'],
      ['native', 'Native'],
    ] as const) {
      const directory = await workDirectory();
      const insert = await runChild<{ rowsPerSecond: number }>(
        import.meta.url,
        './floors/insert',
        { format, seconds: seconds / 2, rowCount: BLOCK_ROWS, directory: directory.path },
        CHILD_MS_MAX + seconds * 1_000,
      ).finally(() => directory.remove());
      this.add(`insert/${name}/rows_per_second`, 'rows/s', insert.rowsPerSecond);
      this.tell(`raw insert, ${format}`, `${whole(insert.rowsPerSecond)} rows/s`);
    }
    await sleep(SETTLE_MS);
  }

  async #bareRoad(durability: 'commit' | 'fsync'): Promise<void> {
    const name = durability === 'commit' ? 'bare-road' : 'bare-road-fsync';
    const road = await this.started(startBareRoad(this.#options.channels, durability));
    await this.#warmUp(road);
    await this.#closedLoops(name, road, durability === 'commit' ? PACK_SIZES : [10]);
    if (!this.#options.quick) await this.#openLoop(name, 'open-10k', road, OFFERED_PER_SECOND);
    await this.ended(road);
    await sleep(SETTLE_MS);
  }

  async #product(): Promise<void> {
    const name = 'millrace';
    const road = await this.started(startProduct(this.#options.channels));
    this.add('millrace/start/ready_ms', 'ms', road.readyMs);
    await sleep(Math.min(4, this.#options.seconds) * 1_000);
    const idle = road.memory();
    if (idle !== null) {
      this.add('millrace/idle/memory_pss', 'MiB', idle.pss);
      this.add('millrace/idle/memory_anonymous', 'MiB', idle.anonymous);
      this.add('millrace/idle/memory_rss', 'MiB', idle.rss);
      this.tell('Millrace, idle', `ready in ${whole(road.readyMs)} ms, ${whole(idle.pss)} MiB`);
    }
    await this.#warmUp(road);
    const tens = await this.#closedLoops(name, road, PACK_SIZES);
    this.#productPerSecond = tens.messagesPerSecond;
    await this.#openLoop(name, 'open-10k', road, OFFERED_PER_SECOND);
    await this.#openLoop(name, 'open-half', road, Math.max(1, Math.floor(this.#productPerSecond / 2)));
    await this.ended(road);
    await sleep(SETTLE_MS);
  }

  async #soak(): Promise<SoakFigures> {
    const road = await this.started(startProduct(this.#options.channels));
    await this.#warmUp(road);
    const messagesPerSecond = Math.max(1, Math.min(OFFERED_PER_SECOND, Math.floor(this.#productPerSecond / 2)));
    const figures = await soak(
      road,
      { connections: this.#options.connections, messagesPerSecond, minutes: this.#options.soakMinutes },
      (line) => this.say(line),
    );
    await this.ended(road);
    return figures;
  }

  /** @returns the measurement with packs of 10 */
  async #closedLoops(name: string, road: Road, packSizes: readonly number[]): Promise<EndToEnd> {
    const { connections, seconds } = this.#options;
    let tens: EndToEnd | undefined;
    for (const recordCount of packSizes) {
      const length = recordCount === 10 ? seconds : Math.max(Math.min(1, seconds), seconds * 0.6);
      const found = await measureEndToEnd(road, { connections, recordCount, seconds: length });
      if (recordCount === 10) tens = found;
      const base = `${name}/packs-${recordCount}`;
      this.add(`${base}/messages_per_second`, 'messages/s', found.messagesPerSecond);
      this.add(`${base}/readings_per_second`, 'readings/s', found.readingsPerSecond);
      this.add(`${base}/ack_p50`, 'ms', found.load.latency.p50);
      this.add(`${base}/ack_p99`, 'ms', found.load.latency.p99);
      this.add(`${base}/lag_max`, 'messages', found.lagMessagesMax);
      this.add(`${base}/drain_ms`, 'ms', found.drainMs);
      this.add(`${base}/cores`, 'cores', found.cores);
      this.add(`${base}/refused`, 'answers', total(found.load.refused));
      this.add(`${base}/surplus`, 'readings', found.surplus);
      if (found.memoryMax !== null) this.add(`${base}/memory_pss_max`, 'MiB', found.memoryMax.pss);
      this.tell(
        `${road.name}, packs of ${recordCount}`,
        `${whole(found.messagesPerSecond)} messages/s, ${whole(found.readingsPerSecond)} readings/s${refusals(found.load.refused)}`,
      );
    }
    if (tens === undefined) throw new RangeError('packs of 10 are always measured');
    return tens;
  }

  async #openLoop(name: string, label: string, road: Road, messagesPerSecond: number): Promise<void> {
    const { connections, seconds } = this.#options;
    const found = await measureOpenLoop(road, {
      connections,
      recordCount: 10,
      seconds: Math.max(Math.min(1, seconds), seconds * 0.6),
      messagesPerSecond,
    });
    const base = `${name}/${label}`;
    this.add(`${base}/offered_per_second`, 'messages/s', messagesPerSecond);
    this.add(`${base}/accepted_per_second`, 'messages/s', found.acceptedPerSecond);
    this.add(`${base}/ack_p50`, 'ms', found.latency.p50);
    this.add(`${base}/ack_p99`, 'ms', found.latency.p99);
    this.add(`${base}/ack_max`, 'ms', found.latency.max);
    this.add(`${base}/generator_late_p99`, 'ms', found.generatorLate.p99);
    this.add(`${base}/lag_max`, 'messages', found.lagMessagesMax);
    if (found.memoryMax !== null) this.add(`${base}/memory_pss_max`, 'MiB', found.memoryMax.pss);
    this.tell(
      `${road.name}, ${whole(messagesPerSecond)} messages/s offered`,
      `p50 ${found.latency.p50.toFixed(1)} ms, p99 ${found.latency.p99.toFixed(1)} ms${refusals(found.refused)}`,
    );
  }

  /** Code is compiled and caches are filled before anything counts. */
  async #warmUp(road: Road): Promise<void> {
    const { connections, seconds } = this.#options;
    await measureOpenLoop(road, {
      connections,
      recordCount: 10,
      seconds: Math.min(1, seconds / 4),
      messagesPerSecond: 2_000,
    });
    await measureEndToEnd(road, { connections, recordCount: 10, seconds: Math.min(2, seconds / 4) });
  }

  #anyTargets(): Target[] {
    return Array.from({ length: this.#options.channels }, (_, index) => ({
      channel: `channel-${index}`,
      key: `key-${index}-0123456789abcdef0123456789abcdef`,
    }));
  }
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');

const total = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((sum, count) => sum + count, 0);

function refusals(counts: Readonly<Record<string, number>>): string {
  const told = Object.entries(counts).map(([reason, count]) => `${count} × ${reason}`);
  return told.length === 0 ? '' : ` (refused: ${told.join(', ')})`;
}
