import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { beforeAll, describe, expect, test } from 'vitest';
import { runBridge } from './bridge/bridge.ts';
import { installedMosquitto } from './bridge/brokers/mosquitto.ts';
import { BRIDGE_QUICK, type BridgeOptions } from './bridge/options.ts';
import type { BridgeReport } from './bridge/report.ts';
import { formatBridgeReport } from './bridge/table.ts';
import { WORK_PREFIX } from './directory.ts';

const SHORT: BridgeOptions = {
  ...BRIDGE_QUICK,
  seconds: 0.4,
  connections: 4,
  brokers: ['mosquitto', 'aedes'],
  inFlight: [1, 5],
  fanIn: [200],
  fanOut: [3],
  fanOutPerSecond: 150,
  idleConnections: 50,
  memorySeconds: 0.5,
};
const brokers = installedMosquitto() === null ? ['aedes'] : ['mosquitto', 'aedes'];
const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith(WORK_PREFIX));

describe('the bridge, for less than half a second each', () => {
  let report: BridgeReport;
  let before: string[];
  beforeAll(async () => {
    before = leftovers();
    report = await runBridge(SHORT, () => undefined);
  }, 180_000);

  const value = (name: string): number | undefined => report.figures[name]?.median;

  test.each(brokers)('%s acknowledges publishes of each QoS, and loses no connection', (name) => {
    for (const base of [0, 1, 2].flatMap((qos) => [`qos-${qos}/in-flight-1`, `qos-${qos}/in-flight-5`])) {
      expect(value(`${name}/publish/${base}/publishes_per_second`), base).toBeGreaterThan(0);
      expect(value(`${name}/publish/${base}/lost`), base).toBe(0);
    }
  });

  test.each(brokers)('%s delivers each message once to each subscriber', (name) => {
    for (const base of ['fan-in-200', 'half', 'fan-out-3']) {
      expect(value(`${name}/${base}/delivery_p50`), base).toBeGreaterThan(0);
      expect(value(`${name}/${base}/missing`), base).toBe(0);
      expect(value(`${name}/${base}/surplus`), base).toBe(0);
    }
  });

  test.each(brokers)('%s takes connections, and holds them', (name) => {
    expect(value(`${name}/connect/plain/connects_per_second`)).toBeGreaterThan(0);
    expect(value(`${name}/connect/plain/failed`)).toBe(0);
    expect(value(`${name}/idle/connections`)).toBe(SHORT.idleConnections);
  });

  test('without the product no target was measured, and the table says so', () => {
    expect(report.targets.map(({ reached }) => reached)).toEqual([null, null, null, null, null]);
    const text = formatBridgeReport(report);
    expect(text).toContain('bare aedes');
    expect(text).toContain('not measured');
  });

  test('leaves no directory behind', () => {
    expect(leftovers().filter((name) => !before.includes(name))).toEqual([]);
  });

  test('can be interrupted, and ends what it started', async () => {
    const stop = new AbortController();
    const run = runBridge({ ...SHORT, brokers: ['aedes'], signal: stop.signal }, (line) => {
      if (line.includes('idle connections')) stop.abort(new Error('enough'));
    });
    await expect(run).rejects.toThrow('enough');
  }, 120_000);
});
