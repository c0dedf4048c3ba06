import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const commandsConfig = {
  MILLRACE_COMMANDS_PER_THING_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(10_000)
    .default(64)
    .describe('Commands that may wait to be carried out for one thing; a further one is refused.'),
  MILLRACE_COMMANDS_KEPT_PER_THING_MAX: z.coerce
    .number()
    .int()
    .min(10)
    .max(100_000)
    .default(1_000)
    .describe('Commands that have ended of which it is told for one thing; the oldest are forgotten first.'),
  MILLRACE_COMMANDS_RETENTION_DAYS: z.coerce
    .number()
    .int()
    .min(1)
    .max(3_650)
    .default(7)
    .describe('So long it is still told what became of a command.'),
};
