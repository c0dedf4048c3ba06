import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@millrace/sdk';
import { durationSeconds } from './duration.ts';
import { PAGING, queryOf } from './entity.ts';
import { Failure } from './failure.ts';
import { secretOf } from './input.ts';
import { MADE, QUERY_FILE, questionOrFile, RANGE, WHICH } from './questions.ts';
import {
  type Call,
  type CommandSpecification,
  flag,
  type OptionSpecification,
  type Topic,
  text,
  word,
} from './specification.ts';
import { column, time } from './table.ts';

const POLL_MS = 500;
const EXPORT = '0198b5a0-1c2d-7e3f-8a4b-5c6d7e8f9a0b';
const exported = { name: '<export>', description: 'id of the export' };

interface File {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly url: string;
}
interface Export {
  readonly id: string;
  readonly status: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled' | 'expired';
  readonly reason: string | null;
  readonly rows: number;
  readonly rows_total: number;
  readonly bytes: number;
  readonly files: readonly File[];
}

const SQL: OptionSpecification = {
  flags: '--sql <statement>',
  description: 'what this answers; @file or @- to read it',
};
const QUESTION: readonly OptionSpecification[] = [...WHICH, ...RANGE, ...MADE, QUERY_FILE, SQL];
const FORM: readonly OptionSpecification[] = [
  {
    flags: '--format <format>',
    description: 'of the files',
    choices: ['csv', 'ndjson', 'parquet', 'arrow'],
    default: 'csv',
  },
  { flags: '--compression <compression>', description: 'of csv, ndjson and arrow', choices: ['gzip', 'zstd'] },
  { flags: '--spreadsheet', description: 'of csv: no text is a formula' },
  { flags: '--title <name>', description: 'what the files are called by' },
  { flags: '--expires-in <duration>', description: 'keep the files so long: 12h, 7d' },
  { flags: '--s3 [prefix]', description: "into the platform's bucket instead" },
];
const OUT: OptionSpecification = { flags: '-o, --out <directory>', description: 'where to (here)' };

async function create(call: Call): Promise<void> {
  const client = await call.client();
  const spreadsheet = flag(call, 'spreadsheet');
  const compression = text(call, 'compression');
  const title = text(call, 'title');
  const sql = text(call, 'sql');
  const expires = text(call, 'expiresIn');
  const s3 = call.options.s3;
  const body = {
    ...(sql === undefined ? { query: await questionOrFile(call) } : { sql: { query: secretOf(sql) } }),
    format: text(call, 'format'),
    ...(compression === undefined ? {} : { compression }),
    ...(spreadsheet ? { spreadsheet } : {}),
    ...(title === undefined ? {} : { name: title }),
    ...(expires === undefined ? {} : { expires_in: durationSeconds(expires) }),
    ...(s3 === undefined ? {} : { destination: { s3: typeof s3 === 'string' ? { prefix: s3 } : {} } }),
  };
  const asked = await client.transport.call<Export>('POST', '/exports', { body, signal: call.signal });
  if (flag(call, 'detach')) return call.output.one(asked);
  const found = await over(call, client, asked);
  if (text(call, 'out') !== undefined) await download(call, client, found);
  call.output.one(found);
}

/** Until it has ended.  @throws Failure where it came to nothing */
async function over(call: Call, client: Client, asked: Export): Promise<Export> {
  let found = asked;
  while (found.status === 'waiting' || found.status === 'running') {
    await sleep(POLL_MS, undefined, { signal: call.signal });
    found = await get(call, client, found.id);
    if (found.rows_total > 0)
      call.output.progress('exported rows', Math.min(found.rows, found.rows_total), found.rows_total);
  }
  if (found.status !== 'done') throw new Failure(1, found.reason ?? `The export is ${found.status}.`);
  return found;
}

const get = (call: Call, client: Client, id: string): Promise<Export> =>
  client.transport.call<Export>('GET', `/exports/${id}`, { signal: call.signal });

/** Takes what is not there yet; a file that was cut short goes on where it ended. */
async function download(call: Call, client: Client, { id, files }: Export): Promise<void> {
  const directory = text(call, 'out') ?? '.';
  await mkdir(directory, { recursive: true });
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  for (const file of files) {
    if (file.url.startsWith('s3:')) throw new Failure(1, `It lies in the bucket: ${file.url}.`);
    // What it is called by is told by the server: never a path.
    if (!/^[\w.-]+$/.test(file.name)) throw new Failure(1, `The server calls a file ${JSON.stringify(file.name)}.`);
    const path = join(directory, file.name);
    if ((await sizeOf(path)) !== file.bytes || (await digestOf(path)) !== file.sha256)
      await fetchFile(call, client, file, path, (bytes) => call.output.progress('bytes', done + bytes, total));
    done += file.bytes;
  }
  call.output.note(`${files.length} files of ${id} are in ${directory}`);
}

async function fetchFile(call: Call, client: Client, file: File, path: string, told: (bytes: number) => void) {
  const unfinished = `${path}.part`;
  const had = Math.min((await sizeOf(unfinished)) ?? 0, file.bytes);
  const target = await open(unfinished, had > 0 ? 'a' : 'w', 0o600);
  try {
    let at = had;
    if (had < file.bytes) {
      const headers = had > 0 ? { range: `bytes=${had}-`, 'if-range': `"${file.sha256}"` } : {};
      const response = await client.transport.stream('GET', file.url, { headers, signal: call.signal });
      if (response.status === 200 && had > 0) {
        await target.truncate(0);
        at = 0;
      }
      for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
        await target.writeFile(part);
        at += part.length;
        told(at);
      }
    }
  } finally {
    await target.close();
  }
  if ((await digestOf(unfinished)) !== file.sha256) {
    const rest = await open(unfinished, 'w');
    await rest.close();
    throw new Failure(1, `${file.name} did not arrive as it was sent: try again.`);
  }
  await rename(unfinished, path);
}

const sizeOf = (path: string): Promise<number | null> =>
  stat(path).then(
    ({ size }) => size,
    () => null,
  );

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(path)) hash.update(part as Buffer);
  return hash.digest('hex');
}

const COLUMNS = [
  column('ID', 'id'),
  column('NAME', 'name'),
  column('STATUS', 'status'),
  column('FORMAT', 'format'),
  column('ROWS', 'rows', { align: 'right' }),
  time('CREATED', 'created_at'),
  time('EXPIRES', 'expires_at'),
  column('REASON', 'reason', { wide: true }),
];

const commands: readonly CommandSpecification[] = [
  {
    name: 'create',
    summary: 'write the readings of a question to files, and wait until they are made',
    options: [...QUESTION, ...FORM, OUT, { flags: '--detach', description: 'do not wait' }],
    examples: [
      'millrace exports create -c kitchen --from now-30d --format parquet -o kitchen',
      "millrace exports create --sql 'SELECT * FROM readings' --format parquet",
      'millrace exports create -c kitchen --aggregation avg --interval 1h --compression gzip --detach',
    ],
    run: create,
  },
  {
    name: 'list',
    summary: 'list exports',
    options: PAGING,
    examples: ['millrace exports list'],
    async run(call) {
      const { transport } = await call.client();
      const query = queryOf(call, PAGING);
      call.output.page(COLUMNS, 'exports', await transport.call('GET', '/exports', { query, signal: call.signal }));
    },
  },
  {
    name: 'get',
    summary: 'how far an export is, and its files',
    arguments: [exported],
    options: [{ flags: '--wait', description: 'until it has ended' }],
    examples: [`millrace exports get ${EXPORT} --wait`],
    async run(call) {
      const client = await call.client();
      const found = await get(call, client, word(call, 0));
      call.output.one(flag(call, 'wait') ? await over(call, client, found) : found);
    },
  },
  {
    name: 'download',
    summary: 'take the files of an export; what was cut short goes on',
    arguments: [exported],
    options: [OUT],
    examples: [`millrace exports download ${EXPORT} -o kitchen`],
    async run(call) {
      const client = await call.client();
      await download(call, client, await over(call, client, await get(call, client, word(call, 0))));
    },
  },
  {
    name: 'cancel',
    summary: 'stop an export; what it has made is removed',
    arguments: [exported],
    examples: [`millrace exports cancel ${EXPORT}`],
    async run(call) {
      const { transport } = await call.client();
      await transport.call('POST', `/exports/${word(call, 0)}/cancel`, { signal: call.signal });
      call.output.note(`cancelled ${word(call, 0)}`);
    },
  },
  {
    name: 'delete',
    summary: 'delete an export and its files',
    arguments: [exported],
    examples: [`millrace exports delete ${EXPORT}`],
    async run(call) {
      const { transport } = await call.client();
      await transport.call('DELETE', `/exports/${word(call, 0)}`, { signal: call.signal });
      call.output.note(`deleted ${word(call, 0)}`);
    },
  },
];

export const exports: Topic = { name: 'exports', summary: 'answers of any size, as files', commands };
