import { z } from 'zod';

/** Settings of this topic: parts of RegistryConfig. */
export const peopleConfig = {
  MILLRACE_PUBLIC_URL: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe(
      'Where clients reach this platform (https://iot.example.org): in mails and tokens. Unset: the HTTP listener.',
    ),
  MILLRACE_SMTP_URL: z
    .url({ protocol: /^smtps?$/ })
    .optional()
    .describe(
      'Server that takes mails: smtp://user:password@host:587, or smtps:// for TLS from the start; ?requireTLS=true refuses to go on without. Unset: each mail becomes a file in outbox/ of the data directory.',
    ),
  MILLRACE_MAIL_FROM: z
    .string()
    .max(320)
    .regex(/^[^\r\n\0]+@[^\r\n\0]+$/, 'must be an address, as Millrace <iot@example.org>')
    .default('Millrace <millrace@localhost>')
    .describe('Sender of mails.'),
  MILLRACE_ORGS_PER_USER_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .default(100)
    .describe('Organisations that one user may own; administrators of the installation may own any number.'),
  MILLRACE_MEMBERS_PER_ORG_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe('Members and pending invitations that one organisation may have.'),
};
