import { randomBytes } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { gunzipSync, gzipSync } from 'node:zlib';
import { drainPending, Session } from 'chdb';
import { literal } from '../engine/binding.ts';
import { makeFifo, throughFifo } from '../engine/fifo.ts';
import { clusterConfig, type PlayedCluster, playedDatabase, playedStatements } from './played-cluster.ts';

/** The program behind `startClickHouseShell`. @shape argv: directory, ports, what it plays of a cluster as JSON */
const [directory = '', ports = '0', told = 'null'] = process.argv.slice(2);
const played = JSON.parse(told) as PlayedCluster | null;
const BODY_BYTES_MAX = 512 * 1_024 * 1_024;
const SESSIONS_MAX = 4;
const KILL_BYTES_MAX = 200;
/** Of the HTTP protocol, not of the engine. */
const PROTOCOL_PARAMETERS = new Set([
  'query',
  'query_id',
  'database',
  'default_format',
  'user',
  'password',
  'compress',
  'decompress',
  'wait_end_of_query',
  'enable_http_compression',
  'send_progress_in_http_headers',
  'http_headers_progress_interval_ms',
  'session_id',
]);
/** Of statements for many servers, of which there is one here. */
const CLUSTER_SETTINGS = new Set(['distributed_ddl_task_timeout', 'distributed_ddl_output_mode', 'receive_timeout']);
const INSERT = /^\s*(INSERT INTO \S+)\s+((?:SETTINGS\s.*?)?)\s*FORMAT\s+(\w+)\s*$/is;

const spool = join(directory, 'spool');
const sessions: Session[] = [];
const waiting: ((session: Session) => void)[] = [];
let killed: Promise<void> = Promise.resolve();
let fileCount = 0;

const take = (): Promise<Session> => {
  const session = sessions.pop();
  return session === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(session);
};
/** What a statement that failed left in the engine goes when its session is asked something else. */
const cleared = (session: Session) => session.queryAsync('SELECT 1').catch(() => {});
const give = (session: Session): void => {
  const next = waiting.shift();
  if (next === undefined) sessions.push(session);
  else next(session);
};

const killing = (mark: string): string =>
  `KILL QUERY WHERE position(query, '${mark}') > 0 AND query NOT LIKE 'KILL%' AND query NOT LIKE '%system.processes%' ASYNC FORMAT JSONEachRow`;
/** By a session of its own: the others may all be at what is to end. @shape of each that was found, a line of JSON */
function kill(mark: string): Promise<Uint8Array> {
  const told = killed.then(() => killer.queryAsync(killing(mark), { format: 'JSONEachRow' }));
  killed = told.then(
    () => {},
    () => {},
  );
  return told.then((answer) => answer.bytes());
}

class ProtocolError extends Error {}
/** What stands before a statement, so that it can be found by its id. */
const markOf = (id: string): string => (/^[\w-]+$/.test(id) ? `/*${id}*/ ` : '');
const KILL = /^\s*KILL QUERY WHERE query_id = '([\w-]+)' ASYNC/;

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_BYTES_MAX) throw new ProtocolError('Code: 307. DB::Exception: body is too large. (TOO_MANY_BYTES)');
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  return request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
}

async function run(
  session: Session,
  shard: number,
  url: URL,
  body: Buffer,
): Promise<{ bytes: Uint8Array; rowsRead: number } | { parts: AsyncIterable<Uint8Array> }> {
  for (const name of url.searchParams.keys())
    if (!PROTOCOL_PARAMETERS.has(name) && !name.startsWith('param_') && !(played && CLUSTER_SETTINGS.has(name)))
      throw new ProtocolError(`Code: 115. DB::Exception: the shell knows no setting ${name}. (UNKNOWN_SETTING)`);
  const here = (name: string): string => (played === null ? name : playedDatabase(played, shard, name));
  await session.queryAsync(`USE ${here(url.searchParams.get('database') ?? 'default')}`);
  const inUrl = url.searchParams.get('query');
  const insert = inUrl === null ? null : INSERT.exec(inUrl);
  if (insert !== null) {
    const file = join(spool, `${fileCount++}.data`);
    try {
      await writeFile(file, body);
      const [, into = '', settings = '', format = ''] = insert;
      const answer = await session.queryAsync(`${into} FROM INFILE '${file}' ${settings} FORMAT ${format}`);
      return { bytes: answer.bytes(), rowsRead: answer.rowsRead };
    } finally {
      await rm(file, { force: true });
    }
  }
  const asked = inUrl === null ? body.toString('utf8') : `${inUrl}\n${body.toString('utf8')}`;
  const [statement = '', ...others] = played === null ? [asked] : playedStatements(played, shard, asked);
  for (const each of others) await session.queryAsync(each);
  const bound = [...url.searchParams].filter(([name]) => name.startsWith('param_'));
  if (bound.length > 0)
    await session.queryAsync(`SET ${bound.map(([name, value]) => `${name}=${literal(here(value))}`).join(', ')}`);
  const format = url.searchParams.get('default_format') ?? 'TabSeparated';
  const id = url.searchParams.get('query_id') ?? '';
  const told = markOf(id) + statement;
  // Who wants to hear of progress reads what comes as it comes.
  if (url.searchParams.has('send_progress_in_http_headers')) {
    const [, plain = told, named = format] = /^(.*)\sFORMAT (\w+)\s*$/s.exec(told) ?? [];
    const path = join(spool, `${randomBytes(8).toString('hex')}.fifo`);
    await makeFifo(path);
    const into = `INSERT INTO FUNCTION file(${literal(path)}, '${named}') ${plain}`;
    return {
      parts: throughFifo(
        path,
        () => session.queryAsync(into).finally(() => rm(path, { force: true })),
        () => void kill(markOf(id)).catch(() => {}),
      ),
    };
  }
  const answer = await session.queryAsync(told, { format });
  return { bytes: answer.bytes(), rowsRead: answer.rowsRead };
}

/** Sends an answer as it comes, and says a late failure as ClickHouse 25.11 and later do. */
async function send(answered: AsyncIterable<Uint8Array>, response: ServerResponse): Promise<void> {
  const iterator = answered[Symbol.asyncIterator]();
  const tag = randomBytes(8).toString('hex');
  const first = await iterator.next();
  response.writeHead(200, { 'X-ClickHouse-Exception-Tag': tag });
  async function* parts(): AsyncGenerator<Uint8Array> {
    try {
      for (let part = first; !part.done; part = await iterator.next()) yield part.value;
    } catch (error) {
      const text = `${textOf(error)}\n`;
      const size = Buffer.byteLength(text);
      yield Buffer.from(`\r\n__exception__\r\n${tag}\r\n${text}${size} ${tag}\r\n__exception__\r\n`);
    } finally {
      await iterator.return?.();
    }
  }
  // Who asked may leave.
  await pipeline(Readable.from(parts()), response).catch(() => {});
}

function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.slice(Math.max(0, text.indexOf('Code: ')));
}

async function answer(shard: number, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://shell');
  if (url.pathname === '/ping') {
    response.end('Ok.\n');
    return;
  }
  let session: Session | null = null;
  try {
    const body = await bodyOf(request);
    const id = KILL.exec(`${url.searchParams.get('query') ?? ''}${body.toString('utf8', 0, KILL_BYTES_MAX)}`)?.[1];
    if (id !== undefined) {
      response.end(await kill(markOf(id)));
      return;
    }
    session = await take();
    const ran = await run(session, shard, url, body);
    if ('parts' in ran) {
      await send(ran.parts, response);
      await cleared(session);
      return;
    }
    const { bytes, rowsRead } = ran;
    const zipped = url.searchParams.get('enable_http_compression') === '1' && bytes.length > 0;
    response.writeHead(200, {
      'X-ClickHouse-Summary': JSON.stringify({ read_rows: String(rowsRead), written_rows: '0', elapsed_ns: '0' }),
      'X-ClickHouse-Query-Id': url.searchParams.get('query_id') ?? '',
      ...(zipped ? { 'Content-Encoding': 'gzip' } : {}),
    });
    response.end(zipped ? gzipSync(bytes) : bytes);
  } catch (error) {
    if (session !== null) await cleared(session);
    const told = textOf(error);
    response.writeHead(500, { 'X-ClickHouse-Exception-Code': /Code: (\d+)/.exec(told)?.[1] ?? '1002' });
    response.end(told);
  } finally {
    if (session !== null) give(session);
  }
}

await mkdir(directory, { recursive: true });
const connectionArgs: string[] = [];
if (played !== null) {
  await writeFile(join(directory, 'config.xml'), clusterConfig(played));
  connectionArgs.push(`--config-file=${join(directory, 'config.xml')}`);
}
for (let index = 0; index < SESSIONS_MAX; index++)
  sessions.push(index === 0 ? new Session(directory, { connectionArgs }) : new Session(directory));
const killer = new Session(directory);
await rm(spool, { recursive: true, force: true });
await mkdir(spool);
// A port for each shard that it plays.
const servers = await Promise.all(
  Array.from({ length: played?.shards.length ?? 1 }, (_, index) => {
    const server = createServer((request, response) => void answer(index + 1, request, response));
    return new Promise<typeof server>((resolve) => {
      server.listen(Number(ports.split(',')[index] ?? 0), '127.0.0.1', () => resolve(server));
    });
  }),
);
process.stdout.write(`${servers.map((server) => (server.address() as AddressInfo).port).join(' ')}\n`);
process.once('SIGTERM', () => {
  for (const server of servers) {
    server.close();
    server.closeAllConnections();
  }
  void drainPending().then(() => process.exit(0));
});
process.once('disconnect', () => process.exit(0));
