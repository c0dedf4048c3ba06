import { expect, test } from 'vitest';
import { FigureCollector } from '../figures.ts';
import { machineFacts } from '../report.ts';
import { type BridgeReport, judgeBridge } from './report.ts';
import { formatBridgeReport } from './table.ts';

function figures(given: Readonly<Record<string, number>>) {
  const collector = new FigureCollector();
  for (const [name, value] of Object.entries(given)) collector.add(name, '', value);
  return collector.figures();
}

const MEASURED = {
  'mosquitto/publish/qos-1/in-flight-1/publishes_per_second': 100_000,
  'millrace/publish/qos-1/in-flight-1/publishes_per_second': 46_000,
  'millrace/publish/qos-1/in-flight-1/generator_cores': 0.99,
  'mosquitto/connect/tls/connects_per_core_second': 4_000,
  'millrace/connect/tls/connects_per_core_second': 1_500,
  'millrace/fan-in-3000/delivery_p50': 3,
  'millrace/fan-in-3000/delivery_p99': 12,
  'millrace/fan-in-3000/missing': 0,
  'millrace/half/delivery_p50': 3,
  'millrace/half/delivery_p99': 12,
  'millrace/half/missing': 7,
  'millrace/idle/connections': 10_000,
  'millrace/idle/above_pss': 301,
};

test('holds the product against mosquitto and the bounds', () => {
  expect(judgeBridge(figures(MEASURED)).map(({ value, reached }) => [value, reached])).toEqual([
    [12, true],
    [0.46, true],
    // Messages were lost: the percentile of those that came is no percentile.
    [null, null],
    [0.375, false],
    [301, false],
  ]);
});

test('what needs mosquitto is not measured without it', () => {
  const own = figures(Object.fromEntries(Object.entries(MEASURED).filter(([name]) => !name.startsWith('mosquitto'))));
  expect(judgeBridge(own).map(({ reached }) => reached)).toEqual([true, null, null, null, false]);
});

test('fewer idle connections than the target names do not reach it', () => {
  const few = figures({ 'millrace/idle/connections': 4_000, 'millrace/idle/above_pss': 100 });
  expect(judgeBridge(few).at(-1)).toMatchObject({ value: null, reached: null });
});

test('the table marks a full generator, missing deliveries and missed targets', () => {
  const all = figures(MEASURED);
  const report: BridgeReport = {
    format: 1,
    benchmark: 'bridge',
    date: '2030-01-02T03:04:05.000Z',
    machine: machineFacts(),
    settings: {
      rounds: 1,
      seconds: 1,
      connections: 50,
      payloadSize: 250,
      pinned: true,
      mosquitto: null,
      environment: {},
    },
    figures: all,
    targets: judgeBridge(all),
  };
  const text = formatBridgeReport(report);
  const line = (start: string) => text.split('\n').find((found) => found.trim().startsWith(start)) ?? '';
  expect(line('QoS 1, 1 in flight')).toContain('46,000*');
  expect(line('half of its maximum')).toContain('!');
  expect(line('10,000 idle connections above')).toContain('MISSED');
  expect(line('one subscriber to everything')).toContain('not measured');
  expect(text).toContain('mosquitto is NOT INSTALLED');
});
