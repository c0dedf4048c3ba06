import type { TopicOptions } from '@millrace/core';
import type { TopicDescription } from './client.ts';

/** What topics are created with, as far as it is configured. */
export interface TopicDefaults {
  /** null: 3 where there are three brokers, else the brokers' default. */
  readonly replication: number | null;
  /** null: 2 where there are three replicas, else the brokers' default. */
  readonly minInSync: number | null;
  readonly recordBytesMax: number;
}

/** Room for Kafka's own framing around a record. */
export const OVERHEAD_BYTES = 64 * 1024;
/** Of a topic with fewer replicas, what is acknowledged may stand on one disk only. */
const SAFE_REPLICAS = 3;
const SAFE_IN_SYNC = 2;

/** How a topic is created in a cluster of so many brokers. */
export function newTopic(
  options: TopicOptions,
  defaults: TopicDefaults,
  brokerCount: number,
): { partitionCount: number; replication: number; settings: ReadonlyMap<string, string> } {
  const { partitionCount, retentionMs, retentionBytes, compacted = false } = options;
  const replication = defaults.replication ?? (brokerCount >= SAFE_REPLICAS ? SAFE_REPLICAS : -1);
  const minInSync = defaults.minInSync ?? (replication >= SAFE_REPLICAS ? SAFE_IN_SYNC : null);
  const settings = new Map([
    ['cleanup.policy', compacted ? 'compact' : 'delete'],
    ['max.message.bytes', String(defaults.recordBytesMax + OVERHEAD_BYTES)],
  ]);
  if (!compacted) {
    settings.set('retention.ms', String(retentionMs));
    // Kafka's limit is a partition's, and −1 is none.
    const each = Number.isFinite(retentionBytes) ? Math.ceil(retentionBytes / partitionCount) : -1;
    settings.set('retention.bytes', String(each));
  }
  if (minInSync !== null) settings.set('min.insync.replicas', String(minInSync));
  return { partitionCount, replication, settings };
}

/** What of a topic that exists is less than what is asked for, in sentences for the operator. */
export function shortcomings(
  found: TopicDescription,
  options: TopicOptions,
  defaults: TopicDefaults,
  brokerCount: number,
): string[] {
  const asked = newTopic(options, defaults, brokerCount);
  const told: string[] = [];
  const setting = (name: string): number => Number(found.settings.get(name) ?? Number.NaN);
  const replicas = Math.min(...found.partitions.map(({ replicaCount }) => replicaCount));
  const wanted = Number(asked.settings.get('min.insync.replicas') ?? 1);
  if (asked.replication > replicas) {
    told.push(`it has ${replicas} of ${asked.replication} replicas: reassign its partitions to more brokers`);
  }
  const inSync = setting('min.insync.replicas');
  if (inSync > replicas) {
    told.push(`min.insync.replicas=${inSync} is more than its ${replicas} replicas: nothing can be appended`);
  } else if (inSync < Math.min(wanted, replicas) || (inSync === 1 && replicas >= SAFE_REPLICAS)) {
    told.push(`min.insync.replicas=${inSync}: what is acknowledged may be lost with one broker; set it to 2`);
  }
  const largest = setting('max.message.bytes');
  if (largest < defaults.recordBytesMax + OVERHEAD_BYTES) {
    told.push(`max.message.bytes=${largest}: larger messages are refused; MILLRACE_LOG_RECORD_BYTES_MAX asks for more`);
  }
  const policy = found.settings.get('cleanup.policy') ?? '';
  if (options.compacted !== true && policy.includes('compact')) {
    told.push(`cleanup.policy=${policy}: Kafka removes all but the newest message of each channel; set it to delete`);
  }
  const kept = setting('retention.ms');
  if (options.compacted !== true && kept >= 0 && kept < options.retentionMs) {
    told.push(`retention.ms=${kept} is less than MILLRACE_LOG_RETENTION_MS=${options.retentionMs}`);
  }
  const bytes = setting('retention.bytes');
  const each = Number(asked.settings.get('retention.bytes') ?? -1);
  if (bytes >= 0 && (each < 0 || bytes < each)) {
    told.push(`retention.bytes=${bytes} a partition limits it by size, whether messages are processed or not`);
  }
  if (found.settings.get('unclean.leader.election.enable') === 'true') {
    told.push('unclean.leader.election.enable=true: what is acknowledged may be lost; set it to false');
  }
  return told;
}
