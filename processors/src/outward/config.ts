import { onOff } from '@millrace/core';
import { z } from 'zod';

export const TopicsConfig = z.object({
  MILLRACE_READINGS_TOPIC: onOff
    .default(false)
    .describe('Whether processors write what was stored to the topic millrace.readings, for other programs.'),
  MILLRACE_DEAD_LETTERS_TOPIC: onOff
    .default(false)
    .describe('Whether they write a copy of each dead letter to the topic millrace.dead-letters.'),
  MILLRACE_TOPICS_RETENTION_MS: z.coerce
    .number()
    .int()
    .min(1_000)
    .default(3 * 24 * 3_600_000)
    .describe('What is older than this goes from these two topics, read or not.'),
  MILLRACE_TOPICS_RETENTION_BYTES: z.coerce
    .number()
    .int()
    .min(1_048_576)
    .optional()
    .describe(
      'The oldest records beyond this size of each of the two go. Default 128 MiB embedded, no limit in Kafka.',
    ),
});
export type TopicsConfig = z.infer<typeof TopicsConfig>;
