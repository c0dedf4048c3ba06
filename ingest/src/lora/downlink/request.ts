import type { LoraDownlinkArguments } from '@millrace/core';
import { DEPTH_MAX, isShallow, timeUsOf } from '../events/members.ts';

/** What a message to `down/<fPort>[/<device>]` asks for. */
export interface DownlinkRequest {
  /** Id of a thing, or a DevEUI in lower case; null: the only device of the channel. */
  readonly device: string | null;
  readonly arguments: LoraDownlinkArguments;
  /** ms since 1970; null: as this node's settings say. */
  readonly expiresMs: number | null;
}
export type ReadDownlink =
  | { readonly kind: 'downlink'; readonly request: DownlinkRequest }
  | { readonly kind: 'bad'; readonly detail: string };

/** FRMPayload has 242 bytes at most, at the best data rate of any region. */
export const PAYLOAD_BYTES_MAX = 242;
/** As for a command that is given by REST. */
const EXPIRES_MS_MAX = 30 * 86_400_000;
const SUBTOPIC = /^down(?:\/(\d{1,3})(?:\/([^/]+))?)?$/;
const MEMBERS = ['device', 'data', 'hex', 'object', 'confirmed', 'expires_in', 'expires_at', 'flush', 'f_port'];

export const isDownlink = (subtopic: string): boolean => subtopic === 'down' || subtopic.startsWith('down/');

/** Reads such a message: `application/json` describes the downlink, anything else is its payload. Pure.
 *  @throws never */
export function readDownlink(
  subtopic: string,
  contentType: string,
  payload: Uint8Array,
  receivedMs: number,
): ReadDownlink {
  const [matched, port, name] = SUBTOPIC.exec(subtopic) ?? [];
  if (matched === undefined) return bad('The subtopic is not down/<fPort>[/<thing id or DevEUI>].');
  const device = name === undefined ? null : deviceName(name);
  const fPort = port === undefined ? undefined : Number(port);
  if (!/^application\/json\s*(;|$)/i.test(contentType) && !(contentType === '' && payload[0] === 0x7b)) {
    if (fPort === undefined || !isPort(fPort)) return bad(NO_PORT);
    if (payload.length === 0 || payload.length > PAYLOAD_BYTES_MAX) return bad(TOO_LONG);
    const data = Buffer.from(payload).toString('base64');
    return { kind: 'downlink', request: { device, arguments: { f_port: fPort, data }, expiresMs: null } };
  }
  let body: unknown;
  try {
    body = JSON.parse(Buffer.from(payload).toString('utf8'));
  } catch {
    return bad('The message says that it is JSON, and is none.');
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return bad('The downlink is no JSON object.');
  return described(body as Record<string, unknown>, device, fPort, receivedMs);
}

function described(
  body: Readonly<Record<string, unknown>>,
  device: string | null,
  port: number | undefined,
  receivedMs: number,
): ReadDownlink {
  const unknown = Object.keys(body).find((name) => !MEMBERS.includes(name));
  if (unknown !== undefined)
    return bad(`A downlink has no member ${unknown.slice(0, 64)}: it has ${MEMBERS.join(', ')}.`);
  const { data, hex, object, confirmed, flush, f_port: given = port } = body;
  if (!isPort(given)) return bad(NO_PORT);
  if ([data, hex, object].filter((each) => each !== undefined).length !== 1)
    return bad('Give one of data, hex, object.');
  if (data !== undefined && !(isBase64(data) && fits(Buffer.from(data, 'base64')))) return bad(TOO_LONG);
  if (hex !== undefined && !(isHex(hex) && fits(Buffer.from(hex, 'hex')))) return bad(TOO_LONG);
  if (object !== undefined && (typeof object !== 'object' || object === null || Array.isArray(object))) {
    return bad('object is no JSON object.');
  }
  if (object !== undefined && !isShallow(object, DEPTH_MAX)) return bad('object is nested too deeply.');
  if (confirmed !== undefined && typeof confirmed !== 'boolean') return bad('confirmed is not true or false.');
  if (flush !== undefined && typeof flush !== 'boolean') return bad('flush is not true or false.');
  const expiresMs = expiryOf(body, receivedMs);
  if (Number.isNaN(expiresMs))
    return bad('expires_in is no number of seconds above 0, or expires_at no time (RFC 3339), up to 30 days.');
  if (body.device !== undefined && typeof body.device !== 'string') return bad('device is no text.');
  const named = device ?? (body.device === undefined ? null : deviceName(body.device));
  const described: LoraDownlinkArguments = {
    f_port: given,
    ...(data === undefined ? {} : { data: data as string }),
    ...(hex === undefined ? {} : { hex: hex as string }),
    ...(object === undefined ? {} : { object: object as Record<string, unknown> }),
    ...(confirmed === true ? { confirmed } : {}),
    ...(flush === true ? { flush } : {}),
  };
  return { kind: 'downlink', request: { device: named, arguments: described, expiresMs } };
}

/** NaN: it cannot be read, or is too far away. */
function expiryOf({ expires_in, expires_at }: Readonly<Record<string, unknown>>, receivedMs: number): number | null {
  if (expires_in === undefined && expires_at === undefined) return null;
  const timeUs = typeof expires_at === 'string' ? timeUsOf(expires_at) : null;
  const atMs = expires_in === undefined ? timeUs && timeUs / 1_000 : inSeconds(expires_in, receivedMs);
  return atMs === null || atMs > receivedMs + EXPIRES_MS_MAX ? Number.NaN : atMs;
}

const inSeconds = (seconds: unknown, receivedMs: number): number | null =>
  typeof seconds === 'number' && seconds > 0 ? receivedMs + seconds * 1_000 : null;

/** A DevEUI however it is written, in its normal form; anything else as it is. */
function deviceName(name: string): string {
  const digits = name.replaceAll(/[-:]/g, '').toLowerCase();
  return /^[0-9a-f]{16}$/.test(digits) ? digits : name;
}

export const isPort = (value: unknown): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 223;
export const isBase64 = (value: unknown): value is string =>
  typeof value === 'string' && value.length <= 1_024 && /^[A-Za-z0-9+/_-]+={0,2}$/.test(value);
export const isHex = (value: unknown): value is string =>
  typeof value === 'string' && /^([0-9a-fA-F]{2})+$/.test(value);
const fits = (bytes: Uint8Array): boolean => bytes.length > 0 && bytes.length <= PAYLOAD_BYTES_MAX;

const NO_PORT = 'The downlink needs an fPort from 1 to 223: down/<fPort>, or f_port.';
const TOO_LONG = `The payload is not 1 to ${PAYLOAD_BYTES_MAX} bytes, or not written as said.`;
const bad = (detail: string): ReadDownlink => ({ kind: 'bad', detail });
