import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const inventoryConfig = {
  MILLRACE_PRESENCE_WRITE_MS: z.coerce
    .number()
    .int()
    .min(200)
    .max(60_000)
    .default(3_000)
    .describe('How often it is written down which things are there, in ms; so late may other nodes know of it.'),
};
