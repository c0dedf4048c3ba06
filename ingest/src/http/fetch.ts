import { type HttpHandler, MillraceError } from '@millrace/core';
import { answerHead } from './answer.ts';
import type { Exchange } from './exchange.ts';

/** Header fields that belong to the connection, not to the message. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'upgrade', 'te', 'trailer', 'expect']);
/** Stands for "not yet": the answer goes on beyond its first part, so it is streamed. */
const WHOLE_AFTER = Symbol('not yet');

/** Answers one request by a handler in the web's own terms, when its turn has come.
 *  @param body decoded
 *  @holds the connection is held (no further request is read) until the answer is written
 *  @throws never: what the handler throws goes to `onFault` and is answered 500 */
export function answerByHandler(exchange: Exchange, handler: HttpHandler, body: Uint8Array): void {
  exchange.inTurn(() => run(exchange, handler, body));
}

async function run(exchange: Exchange, handler: HttpHandler, body: Uint8Array): Promise<void> {
  const { connection, head } = exchange;
  const abort = new AbortController();
  let request: Request;
  try {
    request = requestOf(exchange, body, abort.signal);
  } catch {
    exchange.refuse(400, 'malformed', 'The method or the Host header is not acceptable.');
    return;
  }
  // By way of the request: its signal hears of nothing once nobody holds that, and who answers may keep the signal alone.
  exchange.onAbort = () => {
    if (!request.signal.aborted) abort.abort();
  };
  exchange.onLeft = exchange.onAbort;
  let response: Response;
  try {
    const { remoteAddress, tls } = connection.context;
    response = await handler(request, { remoteAddress, tls, certificate: connection.certificate });
  } catch (error) {
    connection.host.onFault(error);
    exchange.refuse(500, 'fault', 'A fault on our side.');
    return;
  } finally {
    exchange.onLeft = null;
  }
  if (connection.closed) {
    await response.body?.cancel().catch(() => {});
    return;
  }
  try {
    await send(exchange, response, head.method === 'HEAD');
  } catch (error) {
    // A part may be written: only the connection's end tells that it is not the whole. Who answers knows what it refused.
    if (!(error instanceof MillraceError)) throw error;
    connection.destroy();
  }
}

function requestOf(exchange: Exchange, body: Uint8Array, signal: AbortSignal): Request {
  const { head, connection } = exchange;
  const headers = new Headers();
  for (const [name, value] of head.headers) {
    if (!HOP_BY_HOP.has(name) && name !== 'content-encoding' && name !== 'content-length') headers.append(name, value);
  }
  const origin = `${connection.context.tls ? 'https' : 'http'}://${head.header('host') || 'localhost'}`;
  const base = new URL(origin);
  if (base.pathname !== '/' || base.search !== '' || base.hash !== '' || base.username !== '') {
    throw new TypeError('Host is no authority');
  }
  const query = head.query === '' ? '' : `?${head.query}`;
  const init: RequestInit = { method: head.method, headers, signal };
  if (head.method !== 'GET' && head.method !== 'HEAD' && body.length > 0) init.body = body as Uint8Array<ArrayBuffer>;
  return new Request(`${base.origin}${head.path}${query}`, init);
}

/** Writes a response: whole with its length when it is there at once, else in chunks with backpressure. */
async function send(exchange: Exchange, response: Response, headOnly: boolean): Promise<void> {
  const { connection, head } = exchange;
  const { status } = response;
  let lines = exchange.lines;
  // Whom this server lets in is not said twice: browsers refuse two of these fields.
  const letsIn = lines.includes('Access-Control-Allow-Origin');
  for (const [name, value] of response.headers) {
    if (letsIn && name.startsWith('access-control-')) continue;
    if (!HOP_BY_HOP.has(name) && name !== 'content-length') lines += `${name}: ${latin1(value)}\r\n`;
  }
  const line = (more: string): string => answerHead(status, reasonOf(response), lines + more);
  const finish = (text: string): void => exchange.answer(text);
  if (headOnly || status === 204 || status === 304 || status < 200) {
    const length = response.headers.get('content-length');
    await response.body?.cancel().catch(() => {});
    finish(line(headOnly && length !== null ? `Content-Length: ${length}\r\n` : ''));
    return;
  }
  if (response.body === null) {
    finish(line('Content-Length: 0\r\n'));
    return;
  }
  const reader = response.body.getReader();
  const cancelled = exchange.onAbort;
  exchange.onAbort = () => {
    cancelled?.();
    reader.cancel().catch(() => {});
  };
  // What has no end but its client's: it is heard at once, not at the next write.
  if (response.headers.get('x-accel-buffering') === 'no') exchange.onLeft = exchange.onAbort;
  const first = await reader.read();
  const second = first.done ? first : reader.read();
  // It may fail while the client is waited for: heard below, and no unhandled fault until then.
  if (second instanceof Promise) second.catch(() => {});
  const soon = first.done ? first : await Promise.race([second, turnOfLoop()]);
  if (soon !== WHOLE_AFTER && soon.done) {
    const size = first.done ? 0 : first.value.length;
    connection.write(line(`Content-Length: ${size}\r\n`));
    if (!first.done) connection.write(first.value);
    finish('');
    return;
  }
  // HTTP/1.0 knows no chunks: there the connection's end is the body's.
  const chunked = head.minor === 1;
  if (!chunked) exchange.closes = true;
  connection.write(line(chunked ? 'Transfer-Encoding: chunked\r\n' : ''));
  for (let part = first; !part.done; part = part === first ? await second : await reader.read()) {
    if (connection.closed) return;
    if (part.value.length === 0) continue;
    if (chunked) connection.write(`${part.value.length.toString(16)}\r\n`);
    const taken = connection.write(part.value);
    if (chunked) connection.write('\r\n');
    if (!taken) await connection.drained();
  }
  finish(chunked ? '0\r\n\r\n' : '');
}

const turnOfLoop = (): Promise<typeof WHOLE_AFTER> => new Promise((resolve) => setImmediate(resolve, WHOLE_AFTER));
const latin1 = (value: string): string => value.replace(/[\r\n\0]/g, ' ');
const reasonOf = (response: Response): string =>
  response.statusText.replace(/[^\x20-\x7e]/g, '') || REASONS[response.status] || 'OK';
const REASONS: Readonly<Record<number, string>> = {
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  206: 'Partial Content',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  409: 'Conflict',
  410: 'Gone',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
};
