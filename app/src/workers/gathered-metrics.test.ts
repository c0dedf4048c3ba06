import { createMetrics } from '@millrace/core';
import { expect, test } from 'vitest';
import { GatheredMetrics, mergeMetrics } from './gathered-metrics.ts';

test('puts the lines of one metric together, under one description', async () => {
  const own = createMetrics(new GatheredMetrics());
  const other = createMetrics();
  other.registry.setDefaultLabels({ worker: '1' });
  for (const metrics of [own, other]) {
    metrics.counter('millrace_things_total', 'Things.', ['kind']).inc({ kind: 'a' }, 2);
    metrics.histogram('millrace_waits_seconds', 'Waits.', [1]).observe(0.5);
  }
  other.gauge('millrace_only_there', 'There.').set(7);
  (own.registry as GatheredMetrics).others = async () => [await other.registry.metrics()];
  const lines = (await own.registry.metrics()).split('\n').filter((line) => line !== '');
  expect(lines).toEqual([
    '# HELP millrace_things_total Things.',
    '# TYPE millrace_things_total counter',
    'millrace_things_total{kind="a"} 2',
    'millrace_things_total{kind="a",worker="1"} 2',
    '# HELP millrace_waits_seconds Waits.',
    '# TYPE millrace_waits_seconds histogram',
    'millrace_waits_seconds_bucket{le="1"} 1',
    'millrace_waits_seconds_bucket{le="+Inf"} 1',
    'millrace_waits_seconds_sum 0.5',
    'millrace_waits_seconds_count 1',
    'millrace_waits_seconds_bucket{le="1",worker="1"} 1',
    'millrace_waits_seconds_bucket{le="+Inf",worker="1"} 1',
    'millrace_waits_seconds_sum{worker="1"} 0.5',
    'millrace_waits_seconds_count{worker="1"} 1',
    '# HELP millrace_only_there There.',
    '# TYPE millrace_only_there gauge',
    'millrace_only_there{worker="1"} 7',
  ]);
});

test('is what it was where there are no others', async () => {
  expect(mergeMetrics(['# HELP a b\n# TYPE a gauge\na 1\n'])).toBe('# HELP a b\n# TYPE a gauge\na 1\n');
});
