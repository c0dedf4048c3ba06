import { onOff } from '@millrace/core';
import { z } from 'zod';

export const WebhooksConfig = z.object({
  MILLRACE_WEBHOOKS: onOff
    .default(true)
    .describe('Whether this node sends messages to webhooks; one node at a time does so for each of them.'),
  MILLRACE_WEBHOOKS_PRIVATE: onOff
    .default(false)
    .describe(
      'Whether webhooks may name addresses that are not public (loopback, private, link-local, metadata services) and any port. Only where every tenant may reach what the node can.',
    ),
  MILLRACE_WEBHOOKS_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .min(100)
    .max(60_000)
    .default(10_000)
    .describe('A webhook must have answered after so long.'),
  MILLRACE_WEBHOOKS_RETRY_HOURS: z.coerce
    .number()
    .min(0)
    .max(720)
    .default(24)
    .describe('What a webhook has not taken after so long is given up: kept apart, to be replayed.'),
  MILLRACE_WEBHOOKS_RETRY_MS_MAX: z.coerce
    .number()
    .int()
    .min(10)
    .max(3_600_000)
    .default(300_000)
    .describe('The longest pause between two tries; the first is a second, each further one twice as long.'),
});
export type WebhooksConfig = z.infer<typeof WebhooksConfig>;
