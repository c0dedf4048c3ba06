import { Histogram } from '../../load/histogram.ts';
import { type Appending, openAppending } from './appending.ts';
import { consume } from './consuming.ts';
import type { SubjectFigures, SubjectPlan } from './plan.ts';
import { sampleRecords } from './records.ts';

/** One subject: produces or consumes with one client, tells its figures, and ends. */
const plan = JSON.parse(process.argv[2] ?? '') as SubjectPlan;
process.once('disconnect', () => process.exit());

/** Before what counts: a share of it, so that code is compiled and connections are there. */
const WARM_UP_SHARE = 1 / 8;
const TICK_MS = 1;

/** What was used since.  @units s */
class Meter {
  readonly #start = performance.now();
  readonly #cpu = process.cpuUsage();

  read(): { seconds: number; cpuSeconds: number } {
    const { user, system } = process.cpuUsage(this.#cpu);
    return { seconds: (performance.now() - this.#start) / 1_000, cpuSeconds: (user + system) / 1e6 };
  }
}

const samples = sampleRecords(plan.recordBytes);
const sample = (index: number): Buffer => samples[index % samples.length] as Buffer;

/** So many records, so many in flight at most. */
function closedLoop(appending: Appending, records: number): Promise<void> {
  return new Promise((resolve) => {
    let sent = 0;
    let acknowledged = 0;
    let filling = false;
    const fill = (): void => {
      filling = false;
      while (sent < records && sent - acknowledged < plan.inFlight) {
        appending.append(sent % plan.partitions, sample(sent), acked);
        sent++;
      }
    };
    const acked = (): void => {
      acknowledged++;
      if (acknowledged === records) resolve();
      else if (!filling) {
        filling = true;
        setImmediate(fill);
      }
    };
    fill();
  });
}

/** Records by the clock, whatever is acknowledged.  @returns from when a record was due until it was acknowledged */
function openLoop(appending: Appending, seconds: number): Promise<Histogram> {
  return new Promise((resolve) => {
    const histogram = new Histogram();
    const records = Math.floor(plan.perSecond * seconds);
    const start = performance.now();
    let sent = 0;
    const timer = setInterval(() => {
      const due = Math.min(records, Math.floor(((performance.now() - start) / 1_000) * plan.perSecond));
      for (; sent < due; sent++) {
        const dueAt = start + (sent * 1_000) / plan.perSecond;
        appending.append(sent % plan.partitions, sample(sent), () => {
          histogram.add((performance.now() - dueAt) * 1_000);
          if (histogram.count === records) resolve(histogram);
        });
      }
      if (sent === records) clearInterval(timer);
    }, TICK_MS);
  });
}

async function produce(): Promise<SubjectFigures> {
  const appending = await openAppending(plan);
  const warmUp = Math.ceil(plan.records * WARM_UP_SHARE);
  await closedLoop(appending, warmUp);
  const meter = new Meter();
  await closedLoop(appending, plan.records - warmUp);
  const used = meter.read();
  await appending.close();
  return { records: plan.records - warmUp, ...used, ackP50: 0, ackP99: 0 };
}

async function open(): Promise<SubjectFigures> {
  const appending = await openAppending(plan);
  await openLoop(appending, plan.seconds * WARM_UP_SHARE);
  const meter = new Meter();
  const histogram = await openLoop(appending, plan.seconds);
  const used = meter.read();
  await appending.close();
  const ms = (share: number): number => histogram.quantile(share) / 1_000;
  return { records: histogram.count, ...used, ackP50: ms(0.5), ackP99: ms(0.99) };
}

/** The second time, so that code is compiled. CPU is from the beginning; the time is from the first record on: joining
 *  a group is not reading. */
async function read(): Promise<SubjectFigures> {
  const warm = await readOnce();
  await warm.stop();
  const meter = new Meter();
  const { seconds, stop } = await readOnce();
  const { cpuSeconds } = meter.read();
  await stop();
  return { records: plan.records, seconds, cpuSeconds, ackP50: 0, ackP99: 0 };
}

async function readOnce(): Promise<{ seconds: number; stop: () => Promise<void> }> {
  let came = 0;
  let firstAt = 0;
  let done: () => void = () => {};
  const all = new Promise<void>((resolve) => {
    done = resolve;
  });
  const stop = await consume(plan, (count) => {
    if (came === 0) firstAt = performance.now();
    came += count;
    if (came >= plan.records) done();
  });
  await all;
  return { seconds: (performance.now() - firstAt) / 1_000, stop };
}

const figures = await { produce, open, consume: read }[plan.work]();
process.send?.(figures);
