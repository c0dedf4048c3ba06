import type { Component, LogEngine, Logger, Metrics } from '@millrace/core';
import { z } from 'zod';
import { embeddedLog } from './embedded/engine.ts';
import { kafkaLog } from './kafka/engine.ts';

const bytes = z.coerce.number().int().positive();
const MiB = 1024 * 1024;

/** The configuration of the log. */
export const LogConfig = z.object({
  MILLRACE_KAFKA_BROKERS: z
    .string()
    .optional()
    .describe('Apache Kafka brokers, host:port, comma-separated. Unset: the log is embedded, in the data directory.'),
  MILLRACE_KAFKA_REPLICATION: z.coerce
    .number()
    .int()
    .min(-1)
    .default(-1)
    .describe("Replication factor of topics that are created in Kafka; -1 takes the brokers' own default."),
  MILLRACE_LOG_DURABILITY: z
    .enum(['fsync', 'commit'])
    .default('fsync')
    .describe(
      'Embedded log: acknowledge after fsync (survives a power cut) or after commit (survives the death of the process).',
    ),
  MILLRACE_LOG_PARTITIONS: z.coerce
    .number()
    .int()
    .min(1)
    .max(256)
    .optional()
    .describe('Partitions of topics that are created; fixed from then on. Default 2 embedded, 12 in Kafka.'),
  MILLRACE_LOG_BYTES_MAX: bytes
    .min(MiB)
    .default(16 * 1024 * MiB)
    .describe(
      'Embedded log: with so many bytes of unprocessed messages it is full and refuses more (503). Give it at least eight times the largest message.',
    ),
  MILLRACE_LOG_RETENTION_MS: z.coerce
    .number()
    .int()
    .min(1_000)
    .default(7 * 24 * 3_600_000)
    .describe('Messages older than this are removed from the log, once processed.'),
  MILLRACE_LOG_RETENTION_BYTES: bytes
    .min(MiB)
    .optional()
    .describe(
      'The oldest messages beyond this size of a topic are removed from the log; from the embedded one only once processed, and counted for all topics together. Default 384 MiB embedded, 4 GiB in Kafka.',
    ),
  MILLRACE_LOG_PENDING_BYTES_MAX: bytes
    .min(MiB)
    .default(64 * MiB)
    .describe('Bytes accepted and not durable yet; beyond it messages are refused (503).'),
  MILLRACE_LOG_RECORD_BYTES_MAX: bytes
    .max(64 * MiB)
    .default(4 * MiB)
    .describe('The largest message, with its envelope.'),
});
export type LogConfig = z.infer<typeof LogConfig>;

/** Partitions of a topic that does not exist yet. */
export function partitionCountOf(config: LogConfig): number {
  return config.MILLRACE_LOG_PARTITIONS ?? (config.MILLRACE_KAFKA_BROKERS === undefined ? 2 : 12);
}

/** What a topic keeps, in bytes. */
export function retentionBytesOf(config: LogConfig): number {
  return (
    config.MILLRACE_LOG_RETENTION_BYTES ?? (config.MILLRACE_KAFKA_BROKERS === undefined ? 384 * MiB : 4 * 1024 * MiB)
  );
}

/** The engine that the configuration asks for. */
export function openLog(
  config: LogConfig,
  parts: { readonly directory: string; readonly metrics: Metrics; readonly logger: Logger },
): Component<LogEngine> {
  if (config.MILLRACE_KAFKA_BROKERS !== undefined) {
    return kafkaLog({
      brokers: config.MILLRACE_KAFKA_BROKERS,
      replication: config.MILLRACE_KAFKA_REPLICATION,
      pendingBytesMax: config.MILLRACE_LOG_PENDING_BYTES_MAX,
      recordBytesMax: config.MILLRACE_LOG_RECORD_BYTES_MAX,
      metrics: parts.metrics,
      logger: parts.logger,
    });
  }
  return embeddedLog({
    directory: parts.directory,
    durability: config.MILLRACE_LOG_DURABILITY,
    bytesMax: config.MILLRACE_LOG_BYTES_MAX,
    pendingBytesMax: config.MILLRACE_LOG_PENDING_BYTES_MAX,
    recordBytesMax: config.MILLRACE_LOG_RECORD_BYTES_MAX,
    metrics: parts.metrics,
    logger: parts.logger,
  });
}
