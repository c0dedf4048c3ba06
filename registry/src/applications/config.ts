import { onOff } from '@millrace/core';
import { z } from 'zod';

const LOOPBACK = /^http:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d+)?(?:\/|$)/;

/** Settings of this topic: parts of RegistryConfig. */
export const applicationsConfig = {
  MILLRACE_OAUTH_ACCESS_TOKEN_SECONDS: z.coerce
    .number()
    .int()
    .min(60)
    .max(3_600)
    .default(900)
    .describe("How long an application's access token is good for."),
  MILLRACE_OAUTH_REFRESH_TOKEN_DAYS: z.coerce
    .number()
    .int()
    .min(1)
    .max(365)
    .default(30)
    .describe("How long an application's refresh token waits for its use; each use gives a new one."),
  MILLRACE_OAUTH_SESSION_HOURS: z.coerce
    .number()
    .int()
    .min(1)
    .max(720)
    .default(12)
    .describe('How long a browser stays logged in on the pages where people let applications in.'),
  MILLRACE_OIDC_ISSUER: z
    .url({ protocol: /^https?$/ })
    .refine((url) => url.startsWith('https:') || LOOPBACK.test(url), 'must be https, or http on the loopback')
    .optional()
    .describe('Outside OpenID Connect provider by which people may log in (https://login.example.org). Unset: none.'),
  MILLRACE_OIDC_CLIENT_ID: z.string().min(1).max(512).optional().describe('What this platform is called there.'),
  MILLRACE_OIDC_CLIENT_SECRET: z
    .string()
    .min(1)
    .max(1_024)
    .optional()
    .describe('Its secret there. Unset: it is a public client there.'),
  MILLRACE_OIDC_NAME: z
    .string()
    .min(1)
    .max(64)
    .default('single sign-on')
    .describe('What people call that provider: "Continue with <name>".'),
  MILLRACE_OIDC_SCOPES: z
    .string()
    .regex(/^openid(?: [\x21-\x7e]+)*$/, 'must begin with openid, scopes separated by one space')
    .default('openid email profile')
    .describe('What is asked of that provider.'),
  MILLRACE_OIDC_REGISTER: onOff
    .optional()
    .describe('Whether people whom only that provider knows get an account. Unset: as MILLRACE_SELF_REGISTER.'),
};
