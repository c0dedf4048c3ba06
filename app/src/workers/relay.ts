import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { Readable } from 'node:stream';
import { type HttpHandler, problem } from '@millrace/core';
import type { NativeHandler } from '@millrace/ingest';
import { RELAYED_CLIENT, writeClient } from './relayed-client.ts';

type Exchange = Parameters<NativeHandler['request']>[0];

/** Below what the main process keeps an idle connection for: no request meets one that is being closed. */
const IDLE_MS_MAX = 30_000;
const FREE_SOCKETS_MAX = 16;
/** Header fields of the connection, and what holds no longer: a worker has decoded the body, and heard what a proxy in
 *  front says of its client. */
const NOT_PASSED_ON = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'te',
  'trailer',
  'expect',
  'content-length',
  'content-encoding',
  'client-cert',
  'x-client-cert',
  'x-forwarded-for',
  'x-forwarded-proto',
  RELAYED_CLIENT,
]);

/** Methods that ask a proxy for something, and are nobody's here. */
const NOT_ASKED = new Set(['CONNECT', 'TRACE', 'TRACK']);

/** Passes every request on to the main process, and its answer back as it comes.  @param path of its Unix socket */
export function relay(path: string): NativeHandler {
  const agent = new Agent({ keepAlive: true, maxFreeSockets: FREE_SOCKETS_MAX, timeout: IDLE_MS_MAX });
  return {
    request(exchange) {
      exchange.inTurn(() => pass(exchange, path, agent));
      return true;
    },
    // What is upgraded is a worker's, also where it asks the main process for the content.
    upgrade: () => false,
    drain: async () => {},
  };
}

/** Asks the main process for one answer that stays open.  @param path of its Unix socket */
export function askThrough(socketPath: string): HttpHandler {
  return async ({ method, url, headers, signal }, { remoteAddress, tls, certificate = null }) => {
    const { pathname, search } = new URL(url);
    const client = writeClient({ remoteAddress, tls, mutualTls: certificate !== null, certificate });
    const asked = request({
      socketPath,
      method,
      path: `${pathname}${search}`,
      headers: { ...Object.fromEntries(headers), [RELAYED_CLIENT]: client, connection: 'close' },
      signal,
    });
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      asked.once('response', resolve);
      asked.on('error', reject);
      asked.end();
    }).catch(() => null);
    if (answer === null) return Response.json(problem(503, 'This node is going down: ask another.'), { status: 503 });
    return new Response(Readable.toWeb(answer) as ReadableStream, { status: answer.statusCode ?? 502 });
  };
}

async function pass(exchange: Exchange, socketPath: string, agent: Agent): Promise<void> {
  const { head, body, connection } = exchange;
  const headers: string[] = [
    RELAYED_CLIENT,
    writeClient({ ...connection.context, certificate: connection.certificate }),
  ];
  for (const [name, value] of head.headers) if (!NOT_PASSED_ON.has(name)) headers.push(name, value);
  if (head.header('host') === undefined) headers.push('host', 'localhost');
  if (body.length > 0) headers.push('content-length', String(body.length));
  const path = head.query === '' ? head.path : `${head.path}?${head.query}`;
  let asked: ClientRequest | null = null;
  try {
    if (!NOT_ASKED.has(head.method))
      asked = request({ socketPath, agent, method: head.method, path, headers: headers as never, setHost: false });
  } catch {
    // Characters that no client of HTTP may send.
  }
  if (asked === null) {
    exchange.refuse(400, 'malformed', 'The method, the path or a header field is not acceptable.');
    return;
  }
  const passed = asked;
  exchange.onAbort = () => passed.destroy();
  exchange.onLeft = exchange.onAbort;
  let answer: IncomingMessage;
  try {
    answer = await new Promise<IncomingMessage>((resolve, reject) => {
      passed.once('response', resolve);
      // Also after the answer has begun: it ends there, too.
      passed.on('error', reject);
      passed.once('close', () => reject(new Error('no answer')));
      passed.end(body);
    });
  } catch {
    exchange.refuse(503, 'draining', 'This node is going down: send it to another, or try again.');
    return;
  }
  await send(exchange, answer);
}

async function send(exchange: Exchange, answer: IncomingMessage): Promise<void> {
  const { connection, head } = exchange;
  const status = answer.statusCode ?? 502;
  let lines = `HTTP/1.1 ${status} ${answer.statusMessage ?? ''}\r\n${exchange.lines}`;
  // Whom this process lets in is not said twice.
  const letsIn = lines.includes('Access-Control-Allow-Origin');
  const raw = answer.rawHeaders;
  for (let at = 0; at + 1 < raw.length; at += 2) {
    const name = (raw[at] as string).toLowerCase();
    if (letsIn && name.startsWith('access-control-')) continue;
    if (name === 'connection' || name === 'keep-alive' || name === 'transfer-encoding') continue;
    lines += `${raw[at]}: ${raw[at + 1]}\r\n`;
  }
  // As the main process hears it: only of what is not there yet, or has no end but its client's.
  if (answer.headers['x-accel-buffering'] !== 'no') exchange.onLeft = null;
  const sized = answer.headers['content-length'] !== undefined;
  if (head.method === 'HEAD' || status === 204 || status === 304) {
    answer.resume();
    exchange.answer(`${lines}\r\n`);
    return;
  }
  // HTTP/1.0 knows no chunks: there the connection's end is the body's.
  const chunked = !sized && head.minor === 1;
  if (!sized && !chunked) exchange.closes = true;
  connection.write(`${lines}${chunked ? 'Transfer-Encoding: chunked\r\n' : ''}\r\n`);
  try {
    for await (const part of answer as AsyncIterable<Buffer>) {
      if (connection.closed) return;
      if (chunked) connection.write(`${part.length.toString(16)}\r\n`);
      const taken = connection.write(part);
      if (chunked) connection.write('\r\n');
      if (!taken) await connection.drained();
    }
  } catch (error) {
    // The client has left, and what was asked for it was ended.
    if (connection.closed) return;
    throw error;
  }
  exchange.answer(chunked ? '0\r\n\r\n' : '');
}
