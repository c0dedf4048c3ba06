import { z } from 'zod';

export const RETENTION_DAYS_MAX = 36_500;

/** Settings of this topic: parts of RegistryConfig. */
export const retentionConfig = {
  MILLRACE_RETENTION_DAYS: z.coerce
    .number()
    .int()
    .min(1)
    .max(RETENTION_DAYS_MAX)
    .optional()
    .describe(
      'So long stored data is kept where neither its channel nor its organisation says otherwise. Unset: for ever.',
    ),
  MILLRACE_DELETED_ORG_DAYS: z.coerce
    .number()
    .int()
    .min(0)
    .max(365)
    .default(7)
    .describe('So long the stored data of a deleted organisation is kept before it is deleted too.'),
};
