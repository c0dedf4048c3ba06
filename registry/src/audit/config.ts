import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const auditConfig = {
  MILLRACE_AUDIT_RETENTION_DAYS: z.coerce
    .number()
    .int()
    .min(1)
    .max(36_500)
    .default(365)
    .describe('Days that the audit is kept; older lines are deleted.'),
};
