import { onOff } from '@millrace/core';
import { z } from 'zod';

const count = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const MIB = 1_048_576;

/** What WebSocket and event streams are configured with. They are served on the HTTP port. */
export const WsIngestConfig = z.object({
  MILLRACE_WS_CONNECTIONS_MAX: count(1, 1_000_000)
    .default(16_384)
    .describe('Open WebSockets and event streams together; further ones are answered 503.'),
  MILLRACE_WS_FRAME_BYTES_MAX: count(1_024, 64 * MIB)
    .default(MIB)
    .describe('Largest WebSocket message in bytes; beyond it the socket is closed with 1009.'),
  MILLRACE_WS_SUBSCRIPTIONS_MAX: count(1, 10_000)
    .default(128)
    .describe('Subscriptions that one socket at /ws may have.'),
  MILLRACE_WS_IN_FLIGHT_MESSAGES_MAX: count(1, 65_536)
    .default(256)
    .describe('Messages of one socket that may wait for the log; then it is not read.'),
  MILLRACE_WS_BUFFER_BYTES_MAX: count(16_384, 64 * MIB)
    .default(262_144)
    .describe('Bytes that may wait for one slow subscriber; the rest waits in the log.'),
  MILLRACE_WS_STALL_MS_MAX: count(100, 600_000)
    .default(10_000)
    .describe(
      'A subscriber that is full and takes nothing for so long is cut off with the position to resume from; also how long a publisher without acknowledgements waits for a full log.',
    ),
  MILLRACE_WS_PING_MS: count(100, 3_600_000)
    .default(30_000)
    .describe('An idle WebSocket is pinged after this time, and closed after as much again without a sign of life.'),
  MILLRACE_WS_HEARTBEAT_MS: count(100, 3_600_000)
    .default(15_000)
    .describe('An idle event stream carries a comment this often, so that nothing on the way takes it for dead.'),
  MILLRACE_WS_AUTHENTICATE_MS_MAX: count(100, 600_000)
    .default(10_000)
    .describe('A socket at /ws that showed no credential must send one within this time.'),
  MILLRACE_WS_QUERY_AUTHORIZATION: onOff
    .default(true)
    .describe('Whether the classic ?authorization=<key> is taken. A ticket keeps the key out of URLs.'),
  MILLRACE_WS_ORIGINS: z
    .string()
    .optional()
    .describe(
      'Origins (comma-separated, or *) whose pages may open WebSockets beside those of this host; those of MILLRACE_HTTP_CORS_ORIGINS if unset.',
    ),
  MILLRACE_WS_RATE_PER_SECOND: z.coerce
    .number()
    .min(0)
    .default(0)
    .describe(
      'Messages a second that one client may publish by WebSocket on this node; beyond it an error, or without acknowledgements its socket is not read. 0: no limit.',
    ),
  MILLRACE_WS_RATE_BURST: count(1, 1_000_000)
    .default(1_000)
    .describe('Messages that a client may publish at once before MILLRACE_WS_RATE_PER_SECOND counts.'),
});
export type WsIngestConfig = Readonly<z.infer<typeof WsIngestConfig>>;
