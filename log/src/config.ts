import { type Component, type LogEngine, type Logger, type Metrics, onOff } from '@millrace/core';
import { z } from 'zod';
import { embeddedLog } from './embedded/engine.ts';
import { kafkaLog } from './kafka/engine.ts';
import { brokersOf, securityOf } from './kafka/security.ts';

const bytes = z.coerce.number().int().positive();
const MiB = 1024 * 1024;

/** Where Kafka is, and how it is spoken to. */
export const KafkaConfig = z.object({
  MILLRACE_KAFKA_BROKERS: z
    .string()
    .regex(/^\s*[^\s,]+:\d{1,5}\s*(,\s*[^\s,]+:\d{1,5}\s*)*$/, 'host:port, comma-separated')
    .optional()
    .describe('Apache Kafka brokers, host:port, comma-separated. Unset: the log is embedded, in the data directory.'),
  MILLRACE_KAFKA_CLIENT: z
    .enum(['kafkajs', 'platformatic'])
    .default('kafkajs')
    .describe('The library that speaks to Kafka. Both keep the same promises; docs/adr/0022 has what each costs.'),
  MILLRACE_KAFKA_CLIENT_ID: z
    .string()
    .regex(/^[\w.-]{1,128}$/)
    .default('millrace')
    .describe("What this node calls itself towards Kafka: in the brokers' logs and quotas."),
  MILLRACE_KAFKA_TLS: onOff
    .optional()
    .describe('TLS to the brokers. Unset: on if a file is named below. off also allows a password in the clear.'),
  MILLRACE_KAFKA_TLS_CA_FILE: z
    .string()
    .optional()
    .describe("PEM file of the authorities of the brokers' certificates. Unset: those of Node."),
  MILLRACE_KAFKA_TLS_CERT_FILE: z.string().optional().describe('PEM file of the certificate to show to the brokers.'),
  MILLRACE_KAFKA_TLS_KEY_FILE: z.string().optional().describe('PEM file of its private key.'),
  MILLRACE_KAFKA_SASL: z
    .enum(['plain', 'scram-sha-256', 'scram-sha-512'])
    .optional()
    .describe('How this node proves who it is to the brokers. Unset: not at all, or by certificate.'),
  MILLRACE_KAFKA_USER: z.string().min(1).optional().describe('The user of MILLRACE_KAFKA_SASL.'),
  MILLRACE_KAFKA_PASSWORD: z.string().min(1).optional().describe('Its password.'),
  MILLRACE_KAFKA_PASSWORD_FILE: z.string().optional().describe('A file that holds the password instead.'),
  MILLRACE_KAFKA_COMPRESSION: z
    .enum(['none', 'gzip', 'snappy', 'lz4', 'zstd'])
    .default('lz4')
    .describe('Codec of what is appended. Whatever others chose is read.'),
  MILLRACE_KAFKA_LINGER_MS: z.coerce
    .number()
    .int()
    .min(0)
    .max(1_000)
    .default(0)
    .describe('So long messages wait for others before they are sent to Kafka. 0: until the event loop turns.'),
  MILLRACE_KAFKA_BATCH_BYTES_MAX: bytes
    .min(16 * 1024)
    .max(16 * MiB)
    .default(900_000)
    .describe('So much of one partition goes into one request; a larger message goes alone.'),
  MILLRACE_KAFKA_REPLICATION: z.coerce
    .number()
    .int()
    .min(-1)
    .max(9)
    .optional()
    .describe(
      "Replicas of topics that are created; -1 takes the brokers' default. Unset: 3 with three brokers or more.",
    ),
  MILLRACE_KAFKA_MIN_INSYNC_REPLICAS: z.coerce
    .number()
    .int()
    .min(1)
    .max(9)
    .optional()
    .describe(
      "Replicas that must have a message before it is acknowledged, of topics that are created. Unset: 2 with three replicas, else the brokers' default.",
    ),
  MILLRACE_KAFKA_UNPROCESSED_SHARE_MAX: z
    .literal('off')
    .or(z.coerce.number().min(0.05).max(0.95))
    .default(0.8)
    .describe(
      "Kafka removes old messages whether they are processed or not. Once the oldest unprocessed one has used up this share of its topic's retention, by age or by size, new ones are refused (503). off: they are taken, and may be lost.",
    ),
});
export type KafkaConfig = z.infer<typeof KafkaConfig>;

/** The configuration of the log. */
export const LogConfig = KafkaConfig.extend({
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
      'The oldest messages beyond this size of a topic are removed from the log; from the embedded one only once processed, and counted for all topics together. Default 384 MiB embedded, no limit in Kafka.',
    ),
  MILLRACE_LOG_SEGMENT_BYTES: bytes
    .min(MiB)
    .max(64 * MiB)
    .default(8 * MiB)
    .describe(
      'Embedded log: size of its files, of which the newest two are held in memory. What is larger gets a file of its own.',
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

/** What a topic keeps, in bytes. Kafka's would not wait for what is processed, so there it has none unless asked for. */
export function retentionBytesOf(config: LogConfig): number {
  const unset = config.MILLRACE_KAFKA_BROKERS === undefined ? 384 * MiB : Number.POSITIVE_INFINITY;
  return config.MILLRACE_LOG_RETENTION_BYTES ?? unset;
}

/** The engine that the configuration asks for. */
export function openLog(
  config: LogConfig,
  parts: { readonly directory: string; readonly metrics: Metrics; readonly logger: Logger },
): Component<LogEngine> {
  if (config.MILLRACE_KAFKA_BROKERS !== undefined) {
    return kafkaLog({
      brokers: brokersOf(config).join(','),
      client: config.MILLRACE_KAFKA_CLIENT,
      clientId: config.MILLRACE_KAFKA_CLIENT_ID,
      ...securityOf(config, parts.logger),
      compression: config.MILLRACE_KAFKA_COMPRESSION,
      lingerMs: config.MILLRACE_KAFKA_LINGER_MS,
      batchBytesMax: config.MILLRACE_KAFKA_BATCH_BYTES_MAX,
      replication: config.MILLRACE_KAFKA_REPLICATION ?? null,
      unprocessedShareMax:
        config.MILLRACE_KAFKA_UNPROCESSED_SHARE_MAX === 'off' ? null : config.MILLRACE_KAFKA_UNPROCESSED_SHARE_MAX,
      minInSync: config.MILLRACE_KAFKA_MIN_INSYNC_REPLICAS ?? null,
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
    segmentBytesMax: config.MILLRACE_LOG_SEGMENT_BYTES,
    pendingBytesMax: config.MILLRACE_LOG_PENDING_BYTES_MAX,
    recordBytesMax: config.MILLRACE_LOG_RECORD_BYTES_MAX,
    metrics: parts.metrics,
    logger: parts.logger,
  });
}
