import { problem, statusLine } from '@millrace/core';

/** Why a request was not accepted. Closed: it is a metric label. */
export const REFUSALS = [
  'malformed',
  'malformed_topic',
  'bad_subtopic',
  'bad_body',
  'unauthenticated',
  'forbidden',
  'no_such_channel',
  'method',
  'timeout',
  'too_large',
  'encoding',
  'rate',
  // The channel's own limits.
  'channel_rate',
  'channel_too_large',
  'log_full',
  'log_unreachable',
  'registry_unreachable',
  'draining',
  'in_flight',
  'connections',
  'fault',
] as const;
export type Refusal = (typeof REFUSALS)[number];

let dateSecond = 0;
let dateLine = '';
/** The Date header, made once a second. */
function date(): string {
  const second = Math.floor(Date.now() / 1_000);
  if (second !== dateSecond) {
    dateSecond = second;
    dateLine = `Date: ${new Date(second * 1_000).toUTCString()}\r\n`;
  }
  return dateLine;
}

/** A whole answer with a JSON body of ASCII. @param extra header lines, each with its CRLF */
export const jsonAnswer = (status: number, body: string, extra: string, type = 'application/json'): string =>
  `HTTP/1.1 ${status === 202 ? '202 Accepted' : statusLine(status)}\r\n${date()}Content-Type: ${type}\r\nContent-Length: ${body.length}\r\n${extra}\r\n${body}`;

/** The answer to a message that is durable. */
export const sentAnswer = (id: string, extra: string): string =>
  `HTTP/1.1 202 Accepted\r\n${date()}Content-Type: application/json\r\nContent-Length: 71\r\n${extra}\r\n{"response":"message sent","id":"${id}"}`;

/** @param detail ASCII, from us: never an echo of what the client sent */
export function problemAnswer(status: number, detail: string, extra: string, retryAfterSeconds = 1): string {
  let more = extra;
  if (status === 401) more += 'WWW-Authenticate: Thing, Bearer, Basic realm="millrace"\r\n';
  if (status === 405) more += 'Allow: POST, OPTIONS\r\n';
  if (status === 415) more += 'Accept-Encoding: gzip, deflate, br, zstd\r\n';
  if (status === 426) more += 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n';
  if (status === 429 || status === 503) more += `Retry-After: ${retryAfterSeconds}\r\n`;
  return jsonAnswer(status, JSON.stringify(problem(status, detail)), more, 'application/problem+json');
}

/** The head of a streamed answer. */
export const answerHead = (status: number, statusText: string, lines: string): string =>
  `HTTP/1.1 ${status} ${statusText}\r\n${date()}${lines}\r\n`;
