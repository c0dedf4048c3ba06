import type { Metrics } from '@millrace/core';
import type { SystemFacts } from './system-topics.ts';
import type { SessionTally } from './tally.ts';

/** Time constant of the loads: one minute. */
const LOAD_MS = 60_000;

/** What `$SYS/broker/…` says of this node, under the names that mosquitto uses. */
export function systemFacts(of: {
  readonly version: string;
  readonly metrics: Metrics;
  readonly tally: SessionTally;
  readonly nowMs: () => number;
  readonly connected: () => number;
  readonly waiting: () => number;
  readonly subscriptions: () => number;
}): SystemFacts {
  const startedMs = of.nowMs();
  const loads = new Map<string, { total: number; atMs: number; perMinute: number }>();
  const load = (name: string, total: number): string => {
    const nowMs = of.nowMs();
    const last = loads.get(name);
    if (last === undefined) {
      const perMinute = (total * LOAD_MS) / Math.max(1, nowMs - startedMs);
      loads.set(name, { total, atMs: nowMs, perMinute });
      return perMinute.toFixed(2);
    }
    const passedMs = nowMs - last.atMs;
    if (passedMs > 0) {
      const rate = ((total - last.total) * LOAD_MS) / passedMs;
      last.perMinute += (rate - last.perMinute) * (1 - Math.exp(-passedMs / LOAD_MS));
      last.total = total;
      last.atMs = nowMs;
    }
    return last.perMinute.toFixed(2);
  };
  return async () => {
    const received = await accepted(of.metrics, 'millrace_ingest_messages_total');
    const receivedBytes = await accepted(of.metrics, 'millrace_ingest_bytes_total');
    const [atMostOnce, atLeastOnce, exactlyOnce] = of.tally.sent;
    const sent = atMostOnce + atLeastOnce + exactlyOnce;
    return {
      version: `millrace ${of.version}`,
      uptime: `${Math.floor((of.nowMs() - startedMs) / 1_000)} seconds`,
      'clients/connected': of.connected(),
      'clients/total': of.connected() + of.waiting(),
      'subscriptions/count': of.subscriptions(),
      'messages/received': received,
      'messages/sent': sent,
      'publish/messages/received': received,
      'publish/messages/sent': sent,
      'publish/bytes/received': receivedBytes,
      'publish/bytes/sent': of.tally.sentBytes,
      'load/publish/received/1min': load('received', received),
      'load/publish/sent/1min': load('sent', sent),
      'load/bytes/received/1min': load('receivedBytes', receivedBytes),
      'load/bytes/sent/1min': load('sentBytes', of.tally.sentBytes),
    };
  };
}

/** A counter of the ingress, of MQTT alone. */
async function accepted(metrics: Metrics, name: string): Promise<number> {
  // Hot counts reach the counters when the gauges are collected.
  await metrics.registry.getSingleMetric('millrace_ingest_in_flight_messages')?.get();
  const values = (await metrics.registry.getSingleMetric(name)?.get())?.values ?? [];
  let total = 0;
  for (const { labels, value } of values) {
    if (labels.protocol === 'mqtt' && labels.outcome !== 'refused') total += value;
  }
  return total;
}
