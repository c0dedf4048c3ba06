import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const webhooksConfig = {
  MILLRACE_WEBHOOKS_PER_ORG_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(10_000)
    .default(100)
    .describe('Webhooks that an organisation may have.'),
};
