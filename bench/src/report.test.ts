import { expect, test } from 'vitest';
import { FigureCollector } from './figures.ts';
import { judge, machineFacts, type RoadReport, reportedEnvironment } from './report.ts';
import { formatReport } from './table.ts';

function figures(readingsPerSecond: number) {
  const collector = new FigureCollector();
  collector.add('millrace/packs-10/readings_per_second', 'readings/s', readingsPerSecond);
  collector.add('bare-road/packs-10/readings_per_second', 'readings/s', 200_000);
  collector.add('insert/text/rows_per_second', 'rows/s', 400_000);
  collector.add('millrace/open-10k/ack_p50', 'ms', 3);
  collector.add('millrace/open-10k/ack_p99', 'ms', 51);
  return collector.figures();
}

test('holds the product against its floors, and lists no target that was not measured', () => {
  const targets = judge(figures(180_000), null);
  expect(targets.map(({ value, reached }) => [value, reached])).toEqual([
    [0.9, true],
    [0.45, false],
    [3, true],
    [51, false],
  ]);
  expect(judge({}, null)).toEqual([]);
});

test('the table says which target was missed', () => {
  const report: RoadReport = {
    format: 1,
    benchmark: 'road',
    date: '2030-01-02T03:04:05.000Z',
    machine: machineFacts(),
    settings: { rounds: 1, seconds: 1, connections: 1, channels: 1, environment: {} },
    figures: figures(180_000),
    targets: judge(figures(180_000), null),
    soak: null,
  };
  const lines = formatReport(report).split('\n');
  expect(lines.find((line) => line.includes('to the raw insert'))).toContain('MISSED');
  expect(lines.find((line) => line.includes('to the bare road') && line.includes('≥'))).toContain('reached');
});

test('the report carries settings, never secrets, addresses or paths', () => {
  expect(
    reportedEnvironment({
      MILLRACE_LOG_DURABILITY: 'commit',
      MILLRACE_SECRET: 'a',
      MILLRACE_ADMIN_PASSWORD: 'b',
      MILLRACE_POSTGRES_URL: 'c',
      MILLRACE_DATA_DIR: 'd',
      HOME: 'e',
    }),
  ).toEqual({ MILLRACE_LOG_DURABILITY: 'commit' });
});
