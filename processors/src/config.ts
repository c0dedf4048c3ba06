import { availableParallelism } from 'node:os';
import { z } from 'zod';

/** Which raw payloads are kept beside the readings. */
export const RAW_POLICIES = ['non-senml', 'all', 'none'] as const;
export type RawPolicy = (typeof RAW_POLICIES)[number];

const cores = availableParallelism();

export const ProcessorsConfig = z.object({
  MILLRACE_PROCESSOR_THREADS: z.coerce
    .number()
    .int()
    .min(1)
    .max(256)
    .default(cores <= 2 ? 1 : cores - 1)
    .describe('Worker threads that normalise messages. Default: one on two cores or fewer, else all cores but one.'),
  MILLRACE_BATCH_BYTES_MAX: z.coerce
    .number()
    .int()
    .min(65_536)
    .max(67_108_864)
    .default(6_291_456)
    .describe('Bytes of the log that one batch (one insert a table) carries at most; one message is always taken.'),
  MILLRACE_BATCH_LINGER_MS: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .default(500)
    .describe(
      'Least time between two inserts of a partition, none when batches come full. The first message after a pause is not held back.',
    ),
  MILLRACE_STORE_RAW: z
    .enum(RAW_POLICIES)
    .default('non-senml')
    .describe('Raw payloads to keep byte for byte: of what is not SenML, of all messages, or of none.'),
  MILLRACE_DEDUP_RECORDS_MAX: z.coerce
    .number()
    .int()
    .min(1_000)
    .max(5_000_000)
    .default(250_000)
    .describe(
      'A message is dropped that repeats the key of one among so many records before it in its partition. After a start, so many are read back when the first key comes.',
    ),
  MILLRACE_DEDUP_SECONDS_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(2_592_000)
    .default(86_400)
    .describe('And that was received at most so long before it. No longer than the log keeps its records.'),
  MILLRACE_WORKER_TASK_MS_MAX: z.coerce
    .number()
    .int()
    .min(100)
    .max(600_000)
    .default(20_000)
    .describe('A worker that has had a batch for longer is ended and replaced.'),
  MILLRACE_WORKER_HEAP_MIB_MAX: z.coerce
    .number()
    .int()
    .min(64)
    .max(8_192)
    .default(512)
    .describe('JavaScript heap of a worker thread; beyond it the worker is ended and replaced.'),
});
export type ProcessorsConfig = z.infer<typeof ProcessorsConfig>;
