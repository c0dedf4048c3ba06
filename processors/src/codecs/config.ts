import { z } from 'zod';

export const CodecsConfig = z.object({
  MILLRACE_CODECS_THREADS: z.coerce
    .number()
    .int()
    .min(1)
    .max(16)
    .default(2)
    .describe('Threads that run the codecs of devices, at most; they start when one is needed and end when none is.'),
  MILLRACE_CODECS_MS_MAX: z.coerce
    .number()
    .int()
    .min(5)
    .max(10_000)
    .default(50)
    .describe(
      'How long one run of a codec may take. What cannot even be interrupted is ended by force, some seconds later.',
    ),
  MILLRACE_CODECS_MEMORY_BYTES_MAX: z.coerce
    .number()
    .int()
    .min(1_048_576)
    .max(268_435_456)
    .default(8_388_608)
    .describe('Memory that one run of a codec may take, beyond the 16 MiB that its engine begins with.'),
  MILLRACE_CODECS_OUTPUT_BYTES_MAX: z.coerce
    .number()
    .int()
    .min(1_024)
    .max(1_048_576)
    .default(65_536)
    .describe('Size of what a codec may give back, as JSON.'),
  MILLRACE_CODECS_QUEUE_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(1_000)
    .describe(
      'Runs of codecs that may wait for a thread, half of them of one organisation, a quarter of one codec; beyond, they are refused.',
    ),
});
export type CodecsConfig = z.infer<typeof CodecsConfig>;
