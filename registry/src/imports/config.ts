import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const importsConfig = {
  MILLRACE_IMPORTS_BYTES_MAX: z.coerce
    .number()
    .int()
    .min(1_024)
    .max(1_099_511_627_776)
    .default(1_073_741_824)
    .describe('Largest file that may be imported, in bytes as it is sent; unpacked it may be twenty times as large.'),
  MILLRACE_IMPORTS_LAG_MESSAGES_MAX: z.coerce
    .number()
    .int()
    .min(10)
    .max(10_000_000)
    .default(1_000)
    .describe('Imports wait while so many messages of their partition are not processed yet, so that others need not.'),
};
