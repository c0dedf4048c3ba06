import { z } from 'zod';
import { isProxies } from './proxies.ts';

const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const MIB = 1_048_576;

/** What the HTTP ingress is configured with. Host and port are the program's own keys. */
export const HttpIngestConfig = z.object({
  MILLRACE_HTTP_BODY_BYTES_MAX: count(1_024, 256 * MIB)
    .default(MIB)
    .describe('Largest request body in bytes, as sent and when decompressed; beyond it 413.'),
  MILLRACE_HTTP_BATCH_MESSAGES_MAX: count(1, 30_000)
    .default(10_000)
    .describe('Most messages in one request to .../messages/batch; beyond it 413.'),
  MILLRACE_HTTP_IN_FLIGHT_MESSAGES_MAX: count(1, 10_000_000)
    .default(65_536)
    .describe('Messages that may wait for the log at once; beyond it 503 with Retry-After.'),
  MILLRACE_HTTP_IN_FLIGHT_BYTES_MAX: count(65_536, 64 * 1_024 * MIB)
    .default(256 * MIB)
    .describe('Bytes of bodies being received and of messages that wait for the log; beyond it 503 with Retry-After.'),
  MILLRACE_HTTP_CONNECTIONS_MAX: count(1, 1_000_000)
    .default(16_384)
    .describe('Open HTTP connections; further ones are answered 503 and closed.'),
  MILLRACE_HTTP_REQUEST_MS_MAX: count(100, 3_600_000)
    .default(60_000)
    .describe('A request must be complete within this time of its first byte; otherwise 408.'),
  MILLRACE_HTTP_HEAD_MS_MAX: count(100, 600_000)
    .default(10_000)
    .describe('The head of a request must be complete within this time of its first byte; otherwise 408.'),
  MILLRACE_HTTP_IDLE_MS_MAX: count(1_000, 3_600_000)
    .default(75_000)
    .describe('A connection without a request under way is closed after this time.'),
  MILLRACE_HTTP_RATE_PER_SECOND: z.coerce
    .number()
    .min(0)
    .default(0)
    .describe(
      'Messages a second that one client (thing or user) may publish on this node; beyond it 429. 0: no limit.',
    ),
  MILLRACE_HTTP_RATE_BURST: count(1, 1_000_000)
    .default(1_000)
    .describe('Messages that a client may publish at once before MILLRACE_HTTP_RATE_PER_SECOND counts.'),
  MILLRACE_HTTP_CORS_ORIGINS: z
    .string()
    .default('')
    .describe('Origins (comma-separated, or *) whose pages may call this server; none by default.'),
  MILLRACE_HTTP_TRUSTED_PROXIES: z
    .string()
    .default('')
    .refine(isProxies, 'must be addresses and networks, separated by commas, as 10.0.0.0/8,::1')
    .describe(
      'Proxies (addresses and networks, comma-separated) that are believed in X-Forwarded-For, X-Forwarded-Proto and Client-Cert (or X-Client-Cert): conditions of policies, slowed logins and the audit are about the client that they ask for, and a thing may show its certificate to them. They must drop these fields from what clients send. Without it all who come by a proxy are one.',
    ),
  MILLRACE_HTTP_TLS_CERT: z.string().default('').describe('File of the certificate chain (PEM); with the key: HTTPS.'),
  MILLRACE_HTTP_TLS_KEY: z.string().default('').describe('File of the private key (PEM).'),
});
export type HttpIngestConfig = Readonly<z.infer<typeof HttpIngestConfig>>;
