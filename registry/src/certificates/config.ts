import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const certificatesConfig = {
  MILLRACE_CERTS_PER_THING_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(64)
    .describe('Certificates of one thing that are valid at a time; a further one is refused.'),
  MILLRACE_CERTS_KEPT_DAYS: z.coerce
    .number()
    .int()
    .min(1)
    .max(3_650)
    .default(90)
    .describe('So long an issued certificate is still listed after it has expired.'),
  MILLRACE_CERTS_CRL_HOURS: z.coerce
    .number()
    .int()
    .min(1)
    .max(720)
    .default(24)
    .describe('Until when a revocation list says that the next one comes. Each change makes a new one at once anyway.'),
  MILLRACE_CERTS_AUTHORITIES_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(1_000)
    .default(16)
    .describe('Certificate authorities of its own that an organisation may register.'),
  MILLRACE_CERTS_JIT_PER_MINUTE_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(600)
    .describe('Things that one authority may register just in time in a minute; further ones are refused.'),
};
