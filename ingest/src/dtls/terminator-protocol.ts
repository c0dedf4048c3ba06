import { z } from 'zod';

/** What a DTLS terminator and Millrace tell each other over a Unix socket: JSON objects, one a line. The terminator asks
 *  with an `id` and is answered with the same; `cut` comes by itself. */

/** Longest line: a certificate chain's first is in it. */
export const LINE_BYTES_MAX = 32_768;

const id = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const base64 = z.base64().max(24_576);
const address = z.string().max(64);
const udpPort = z.number().int().min(1).max(65_535);

/** `keys`: which keys has this PSK identity?  → `{ id, keys: [base64, …] }`, the newest first, none if nobody has it. */
const keys = z.strictObject({ op: z.literal('keys'), id, identity: base64.max(344), address });
/** `open`: datagrams from this port of the loopback are those of who proved to be this, until it is closed.
 *  → `{ id, ok: true }`, or `{ id, ok: false }`: it may not. Nothing may be forwarded before. */
const open = z.strictObject({
  op: z.literal('open'),
  id,
  port: udpPort,
  /** The device's own. */
  address,
  devicePort: udpPort,
  psk: z.strictObject({ identity: base64.max(344), key: base64.max(4_096) }).optional(),
  /** DER, with the proof of its key's possession. */
  certificate: base64.optional(),
});
const close = z.strictObject({ op: z.literal('close'), port: udpPort });

export const TerminatorLine = z.discriminatedUnion('op', [keys, open, close]);
export type TerminatorLine = z.infer<typeof TerminatorLine>;

/** What we say: an answer, or that a session must end. */
export type TerminatorWord =
  | { readonly id: number; readonly keys: readonly string[] }
  | { readonly id: number; readonly ok: boolean }
  /** The registry can't be asked now. */
  | { readonly id: number; readonly error: 'away' }
  | { readonly op: 'cut'; readonly port: number };
