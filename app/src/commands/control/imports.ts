import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, mkdtempSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@millrace/sdk';
import { idOf, PAGING, queryOf } from './entity.ts';
import { Failure } from './failure.ts';
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

const PART_BYTES = 1_048_576;
const POLL_MS = 500;
/** Rejected rows that are shown at the end. */
const SHOWN = 10;

interface Import {
  readonly id: string;
  readonly status: 'uploading' | 'running' | 'done' | 'failed' | 'cancelled';
  readonly job: string | null;
  readonly reason: string | null;
  readonly size: number;
  readonly parts?: number;
  readonly rows: number;
  readonly readings: number;
  readonly rejected: number;
  readonly dry_run: boolean;
}
interface Rejected {
  readonly line: number;
  readonly reason: string;
}

const MAPPING: readonly OptionSpecification[] = [
  {
    flags: '--format <format>',
    description: 'what the file is; left out, told by its name',
    choices: ['csv', 'ndjson', 'parquet', 'lineprotocol', 'senml'],
  },
  { flags: '--publisher <thing>', description: 'in whose name: id, external id or name of a thing (you)' },
  { flags: '--subtopic <subtopic>', description: 'of rows that name none' },
  { flags: '--map <columns>', description: 'time=ts,name=sensor,value=val,unit=…,publisher=…,subtopic=…' },
  { flags: '--columns <columns>', description: 'columns that are a reading each: temp=temperature[Cel],hum' },
  {
    flags: '--time-format <format>',
    description: 'of the time column',
    choices: ['auto', 'rfc3339', 's', 'ms', 'us', 'ns'],
  },
  { flags: '--time-zone <zone>', description: 'of times that say no offset, as Europe/Berlin (UTC)' },
  { flags: '--delimiter <character>', description: 'of CSV' },
  { flags: '--template <template>', description: 'of line protocol: names of readings ({measurement}/{field})' },
  { flags: '--rate <rows>', description: 'rows a second at most' },
];

async function importFile(call: Call): Promise<void> {
  const channel = text(call, 'channel');
  if (channel === undefined) throw new Failure(2, 'Say where the readings go: --channel <channel>.');
  const client = await call.client();
  const given = word(call, 0);
  const spool = given === '-' ? mkdtempSync(join(tmpdir(), 'millrace-import-')) : null;
  try {
    const path = spool === null ? given : join(spool, 'stdin');
    // It must be known whole before it is sent: what it is called by is its SHA-256.
    if (spool !== null) await pipeline(process.stdin, createWriteStream(path, { mode: 0o600 }));
    const file = await open(path).catch((error: NodeJS.ErrnoException) => {
      throw new Failure(
        2,
        `${given} can not be read: ${error.code === 'ENOENT' ? 'there is no such file' : error.code}.`,
      );
    });
    try {
      const query = {
        ...queryOf(call, MAPPING),
        channel: await idOf(client.channels as never, 'channel', channel),
        ...(given === '-' ? {} : { file: basename(given) }),
        sha256: await digestOf(path),
        ...(flag(call, 'dryRun') ? { dry_run: 'true' } : {}),
        ...(flag(call, 'force') ? { force: 'true' } : {}),
      };
      await carryOut(call, client, file, query);
    } finally {
      await file.close();
    }
  } finally {
    if (spool !== null) rmSync(spool, { recursive: true, force: true });
  }
}

async function carryOut(call: Call, client: Client, file: FileHandle, query: Record<string, unknown>): Promise<void> {
  const { signal, output } = call;
  const ask = (method: string, path: string, more: object = {}): Promise<Import> =>
    client.transport.call<Import>(method, path, { signal, ...more });
  let found = await ask('POST', '/imports', { query });
  if (found.status === 'done') output.note('The same file was imported before in the same way; --force does it again.');
  if (found.status === 'uploading') {
    const { size } = await file.stat();
    let place = found.parts ?? 0;
    // Somebody sent other parts of it.
    if (found.size !== Math.min(size, place * PART_BYTES)) {
      await ask('POST', `/imports/${found.id}/cancel`);
      found = await ask('POST', '/imports', { query });
      place = 0;
    }
    if (size === 0) throw new Failure(2, 'The file is empty.');
    const headers = { 'content-type': 'application/octet-stream' };
    for (; place * PART_BYTES < size; place++) {
      const bytes = Buffer.alloc(Math.min(PART_BYTES, size - place * PART_BYTES));
      const { bytesRead } = await file.read(bytes, 0, bytes.length, place * PART_BYTES);
      if (bytesRead !== bytes.length) throw new Failure(2, 'The file has become shorter meanwhile.');
      await ask('PUT', `/imports/${found.id}/parts/${place}`, { bytes, headers });
      output.progress('sent bytes', Math.min(size, (place + 1) * PART_BYTES), size);
    }
    found = await ask('POST', `/imports/${found.id}/start`);
  }
  if (flag(call, 'detach')) return output.one(found);
  for (; found.status === 'running'; found = await ask('GET', `/imports/${found.id}`)) {
    await sleep(POLL_MS, undefined, { signal });
    if (found.job === null) continue;
    const job = await client.transport.call<{ done: number; total: number }>('GET', `/jobs/${found.job}`, { signal });
    // What there is of it is an estimate until the end.
    if (job.total > job.done) output.progress('imported rows', job.done, job.total);
  }
  await told(call, client, found);
}

async function told(call: Call, client: Client, found: Import): Promise<void> {
  const { output, signal } = call;
  if (found.rejected > 0) {
    const { errors } = await client.transport.call<{ errors: Rejected[] }>('GET', `/imports/${found.id}/errors`, {
      signal,
      query: { limit: SHOWN },
    });
    for (const { line, reason } of errors) output.note(`line ${line}: ${reason}`);
    if (found.rejected > errors.length)
      output.note(`${found.rejected} rows were rejected; millrace imports errors ${found.id} shows them.`);
  }
  if (output.json) output.one(found);
  else
    output.note(
      `${found.readings} readings of ${found.rows} rows ${found.dry_run ? 'could be' : 'were'} imported (${found.id}).`,
    );
  if (found.status === 'failed')
    throw new Failure(
      1,
      found.reason ?? 'The import failed.',
      'The same again goes on where it was. What a mended file holds besides is stored beside what there is.',
    );
  if (found.status === 'cancelled') throw new Failure(1, 'The import was cancelled.');
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(path)) hash.update(part as Buffer);
  return hash.digest('hex');
}

export const importing: CommandSpecification = {
  name: 'import',
  summary: 'import a file of readings; the same again goes on where it was',
  arguments: [
    {
      name: '<file>',
      description: 'CSV, NDJSON, Parquet, line protocol or SenML, also as .gz or .zst; - for standard input',
    },
  ],
  options: [
    { flags: '-c, --channel <channel>', description: 'where the readings go: id, alias or name' },
    ...MAPPING,
    { flags: '--dry-run', description: 'read and check it, store nothing' },
    { flags: '--force', description: 'again, though it has been imported' },
    { flags: '--detach', description: 'do not wait until it is done' },
  ],
  examples: [
    'millrace import history.csv --channel kitchen --publisher thermometer',
    'millrace import dump.csv.gz -c kitchen --map time=ts,name=sensor,value=val --time-zone Europe/Berlin --dry-run',
    'influx export | millrace import - --format lineprotocol -c kitchen --map publisher=device',
  ],
  run: importFile,
};

const FILTERS: readonly OptionSpecification[] = [
  {
    flags: '--status <status>',
    description: 'only these',
    choices: ['uploading', 'running', 'done', 'failed', 'cancelled'],
  },
];
/** A page at a time. */
const PAGES = PAGING.slice(0, 2);
const one = { name: '<import>', description: 'id of the import' };

export const imports: Topic = {
  name: 'imports',
  summary: 'files that were imported, and what became of their rows',
  commands: [
    {
      name: 'list',
      summary: 'list imports, newest first',
      options: [...FILTERS, ...PAGES],
      examples: ['millrace imports list', 'millrace imports list --status failed'],
      async run(call) {
        const { transport } = await call.client();
        const query = queryOf(call, [...FILTERS, ...PAGES]);
        const columns = [
          column('ID', 'id'),
          column('STATUS', 'status'),
          column('FILE', 'file'),
          column('ROWS', 'rows', { align: 'right' }),
          column('REJECTED', 'rejected', { align: 'right' }),
          time('CREATED', 'created_at'),
        ];
        call.output.page(columns, 'imports', await transport.call('GET', '/imports', { query, signal: call.signal }));
      },
    },
    {
      name: 'get',
      summary: 'how far an import is',
      arguments: [one],
      options: [{ flags: '--wait', description: 'until it has ended' }],
      examples: ['millrace imports get 5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0150 --wait'],
      async run(call) {
        const { imports: known } = await call.client();
        const look = flag(call, 'wait')
          ? known.wait(word(call, 0), { signal: call.signal })
          : known.get(word(call, 0), { signal: call.signal });
        call.output.one(await look);
      },
    },
    {
      name: 'errors',
      summary: 'rows that were rejected, and why',
      arguments: [one],
      options: PAGES,
      examples: ['millrace imports errors 5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0150 --limit 100'],
      async run(call) {
        const { transport } = await call.client();
        const query = queryOf(call, PAGES);
        const path = `/imports/${encodeURIComponent(word(call, 0))}/errors`;
        const columns = [
          column('LINE', 'line', { align: 'right' }),
          column('REASON', 'reason'),
          column('TEXT', 'text', { wide: true }),
        ];
        call.output.page(columns, 'errors', await transport.call('GET', path, { query, signal: call.signal }));
      },
    },
    {
      name: 'cancel',
      summary: 'stop an import; what it has stored stays',
      arguments: [one],
      examples: ['millrace imports cancel 5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0150'],
      async run(call) {
        const { transport } = await call.client();
        const path = `/imports/${encodeURIComponent(word(call, 0))}/cancel`;
        call.output.one(await transport.call('POST', path, { signal: call.signal }));
      },
    },
  ],
};
