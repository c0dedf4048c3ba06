import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const jobsConfig = {
  MILLRACE_REDIS_URL: z
    .string()
    .regex(/^rediss?:\/\/[^\s]+$/, 'must start with redis:// or rediss://')
    .optional()
    .describe(
      'Redis or Valkey that tells nodes of jobs (redis://user:password@host:port/database, rediss:// with TLS). Unset: the database of the registry does.',
    ),
};
