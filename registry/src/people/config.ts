import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const peopleConfig = {
  MILLRACE_PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      'Where clients reach this platform (https://iot.example.org): in mails and tokens. Unset: the HTTP listener.',
    ),
};
