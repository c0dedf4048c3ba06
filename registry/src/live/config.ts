import { z } from 'zod';

const whole = (min: number, max: number, normal: number) => z.coerce.number().int().min(min).max(max).default(normal);

/** Settings of this topic: parts of RegistryConfig. */
export const liveConfig = {
  MILLRACE_LIVE_QUESTIONS_MAX: whole(0, 100_000, 1_000).describe('Live questions that are open on this node at most.'),
  MILLRACE_LIVE_QUESTIONS_PER_SUBJECT_MAX: whole(1, 100_000, 50).describe(
    'Live questions of one thing or user that are open on this node at most.',
  ),
  MILLRACE_LIVE_POLL_MS: whole(20, 60_000, 250).describe(
    'How often is looked whether more is stored, for the partitions that live questions are about.',
  ),
  MILLRACE_LIVE_HEARTBEAT_MS: whole(1_000, 600_000, 15_000).describe(
    'After so long a silence, a live question tells that it is still there.',
  ),
};
