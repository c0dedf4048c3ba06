import { z } from '@hono/zod-openapi';

/** Where nobody says it. */
export const EXPIRES_SECONDS = 86_400;
const EXPIRES_SECONDS_MAX = 30 * 86_400;

export const expiresIn = z
  .int()
  .min(1)
  .max(EXPIRES_SECONDS_MAX)
  .optional()
  .describe('Seconds within which it must be begun, up to 30 days (a day).');
