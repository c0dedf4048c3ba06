import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import type { ClickHouseServer } from '../cluster/clickhouse.ts';
import { eventually, type Millrace, newPublisher, type Rest } from '../millrace.ts';
import { coapPressure, httpPressure, MqttPressure, WsPressure } from './clients.ts';
import { median, quantile, residentMiB, Watch } from './measures.ts';
import type { Pressure } from './pressure.ts';
import { Probe, type Probed } from './probe.ts';
import { type Stoppable, Throttle } from './throttle.ts';

const STORED_MS_MAX = 180_000;
/** And a hundred acknowledgements more: a machine that is slow at rest is slow at this, too. */
const NORMAL_MS_MAX = 10_000;
/** So many acknowledgements in a row tell whether it is back to normal. */
const WINDOW = 25;
/** What the noise of a shared machine adds. */
const NORMAL_RATIO_MAX = 3;
const NORMAL_MORE_MS = 50;
const RSS_EVERY_MS = 200;
/** Over what it had before. */
const RSS_MORE_MIB_MAX = 512;

export interface Overload {
  readonly node: Millrace;
  readonly clickhouse: ClickHouseServer;
  readonly admin: Rest;
  /** What is made far too slow. */
  readonly engine: Stoppable;
  readonly runMs: number;
  readonly stopMs: number;
  readonly lastsMs: number;
}

/** Asks far more of a node than its engine can do, by all protocols at once, and holds it to what the documents say:
 *  it refuses in the words of each protocol, stores what it acknowledged, once, keeps its memory, and is itself again
 *  soon after. */
export async function overload({ node, clickhouse, admin, engine, runMs, stopMs, lastsMs }: Overload): Promise<void> {
  const probing = await newPublisher(admin, 'probe');
  const before = new Probe(probing);
  await eventually('what publishing takes at rest', 60_000, async () => before.probed.length >= 4 * WINDOW);
  await before.stop();
  const normalMs = median(before.probed.slice(WINDOW).map(({ ms }) => ms));
  const restMiB = residentMiB(node.pid);
  const refusedBefore = await refusals(admin);

  const memory = new Watch(() => residentMiB(node.pid), RSS_EVERY_MS);
  const throttle = new Throttle(engine, { runMs, stopMs });
  const pressures: Pressure[] = [];
  try {
    pressures.push(
      await MqttPressure.open(node, await newPublisher(admin, 'mqtt-1')),
      await MqttPressure.open(node, await newPublisher(admin, 'mqtt-2')),
      new WsPressure(node, await newPublisher(admin, 'ws')),
      httpPressure(node, await newPublisher(admin, 'http')),
      await coapPressure(node, await newPublisher(admin, 'coap')),
    );
    await sleep(lastsMs);
  } finally {
    await throttle.release();
  }
  const released = performance.now();
  const probe = new Probe(probing);
  await Promise.all(pressures.map((pressure) => pressure.stop()));
  await eventually('publishing takes no longer than at rest', 60_000, async () => backAt(probe.probed, normalMs) > 0);
  const probed = await probe.stop();
  const normalAfterMs = backAt(probed, normalMs) - released;
  const peakMiB = Math.max(...memory.stop());

  console.log(
    [
      ...pressures.map(
        ({ protocol, acknowledged, deferred }) =>
          `${protocol}: ${acknowledged.length} taken (${Math.round((acknowledged.length * 1_000) / lastsMs)}/s), "later" ${deferred} times`,
      ),
      `at rest p50 ${normalMs.toFixed(1)} ms; that again ${(normalAfterMs / 1_000).toFixed(1)} s after the overload (p50 then ${quantile(
        probed.slice(-WINDOW).map(({ ms }) => ms),
        0.5,
      ).toFixed(1)} ms)`,
      `memory ${restMiB.toFixed(0)} MiB at rest, ${peakMiB.toFixed(0)} at most`,
    ].join('\n'),
  );

  for (const { protocol, surprises, deferred } of pressures) {
    expect([...new Set(surprises)].slice(0, 5), `${protocol}: what must not be said`).toEqual([]);
    expect(deferred, `${protocol}: was held back or refused`).toBeGreaterThan(0);
  }
  const taken = pressures.map(({ acknowledged }) => acknowledged.length).reduce((sum, count) => sum + count, 0);
  expect(taken, 'messages taken all the same').toBeGreaterThan(0);
  const refusedAfter = await refusals(admin);
  for (const protocol of ['http', 'coap'] as const)
    expect(refusedAfter[protocol] - refusedBefore[protocol], `${protocol}: refusals by reason`).toBeGreaterThan(0);
  expect(normalAfterMs, 'ms until publishing takes no longer than at rest').toBeLessThan(
    NORMAL_MS_MAX + 100 * normalMs,
  );
  expect(peakMiB - restMiB, 'MiB more than at rest').toBeLessThan(RSS_MORE_MIB_MAX);
  for (const pressure of pressures) await expectStored(clickhouse, pressure);
}

/** When the first window of acknowledgements began that took no longer than at rest; 0: none has.  */
function backAt(probed: readonly Probed[], normalMs: number): number {
  for (let first = 0; first + WINDOW <= probed.length; first++) {
    const window = probed.slice(first, first + WINDOW);
    if (window.some(({ status }) => status !== 202)) continue;
    if (median(window.map(({ ms }) => ms)) <= normalMs * NORMAL_RATIO_MAX + NORMAL_MORE_MS) return window[0]?.at ?? 0;
  }
  return 0;
}

/** What the node itself says that it refused because the log was full. */
async function refusals(admin: Rest): Promise<Record<'http' | 'coap', number>> {
  const text = await (await admin.raw('GET', '/metrics')).text();
  const of = (protocol: string): number => {
    const line = new RegExp(
      `^millrace_ingest_messages_total\\{protocol="${protocol}",outcome="refused",reason="log_full"\\} (\\d+)`,
      'm',
    );
    return Number(line.exec(text)?.[1] ?? 0);
  };
  return { http: of('http'), coap: of('coap') };
}

/** All that was acknowledged is there, and nothing twice. */
async function expectStored(clickhouse: ClickHouseServer, pressure: Pressure): Promise<void> {
  const { protocol, publisher, acknowledged } = pressure;
  const rows = async (): Promise<number[]> => {
    const found = await clickhouse.rows<[number]>(
      'SELECT value FROM readings WHERE channel = {channel:String} ORDER BY value',
      { channel: publisher.channel },
    );
    return found.map(([value]) => value);
  };
  await eventually(`${protocol}: all that was acknowledged is stored`, STORED_MS_MAX, async () => {
    const stored = new Set(await rows());
    const missing = acknowledged.filter((number) => !stored.has(number));
    if (missing.length > 0)
      throw new Error(`${missing.length} of ${acknowledged.length} are missing, as ${missing[0]}`);
    return true;
  });
  const stored = await rows();
  expect(stored.length, `${protocol}: rows, and numbers among them`).toBe(new Set(stored).size);
}
