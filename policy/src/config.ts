import { z } from 'zod';

export const PolicyConfig = z.object({
  MILLRACE_POLICY_CREDENTIALS_MAX: z.coerce
    .number()
    .int()
    .min(16)
    .max(10_000_000)
    .default(100_000)
    .describe(
      'Clients whose credentials are remembered (3 kB each with their answers, 10 kB more for twenty policies); the least used are looked up again.',
    ),
  MILLRACE_POLICY_ANSWERS_MAX: z.coerce
    .number()
    .int()
    .min(16)
    .max(10_000_000)
    .default(1_000_000)
    .describe('Decisions that are remembered; beyond that all are forgotten and made again.'),
  MILLRACE_POLICY_UNKNOWN_MAX: z.coerce
    .number()
    .int()
    .min(16)
    .max(1_000_000)
    .default(50_000)
    .describe('Unknown keys and unknown channels that are remembered, each.'),
  MILLRACE_POLICY_UNKNOWN_MS_MAX: z.coerce
    .number()
    .int()
    .min(0)
    .max(60_000)
    .default(5_000)
    .describe('So long an unknown key or channel is refused without asking again (a change ends it at once).'),
  MILLRACE_POLICY_GUESSES_PER_SECOND: z.coerce
    .number()
    .int()
    .min(0)
    .max(1_000_000)
    .default(100)
    .describe(
      'Unknown keys and tokens that one network (an IPv4 address, a /64 of IPv6) may show, ten seconds of it at once. Beyond that who is not known yet waits (429); 0: no limit.',
    ),
  MILLRACE_POLICY_LOOKUPS_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000)
    .default(4)
    .describe('Questions to the registry at a time, once for credentials and once for decisions.'),
  MILLRACE_POLICY_LOOKUPS_WAITING_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe('Questions that may wait, for each of the two; more are refused (503, retry later).'),
  MILLRACE_POLICY_HASHES_MAX: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .default(2)
    .describe('Password hashes at a time (19 MiB each); 64 more may wait.'),
});
export type PolicyConfig = z.infer<typeof PolicyConfig>;

/** Bounds of a gate. */
export interface GateLimits {
  readonly credentialsMax: number;
  readonly answersMax: number;
  readonly unknownMax: number;
  readonly unknownMsMax: number;
  readonly guessesPerSecond: number;
  readonly lookupsMax: number;
  readonly lookupsWaitingMax: number;
}

export const gateLimits = (config: PolicyConfig): GateLimits => ({
  credentialsMax: config.MILLRACE_POLICY_CREDENTIALS_MAX,
  answersMax: config.MILLRACE_POLICY_ANSWERS_MAX,
  unknownMax: config.MILLRACE_POLICY_UNKNOWN_MAX,
  unknownMsMax: config.MILLRACE_POLICY_UNKNOWN_MS_MAX,
  guessesPerSecond: config.MILLRACE_POLICY_GUESSES_PER_SECOND,
  lookupsMax: config.MILLRACE_POLICY_LOOKUPS_MAX,
  lookupsWaitingMax: config.MILLRACE_POLICY_LOOKUPS_WAITING_MAX,
});
