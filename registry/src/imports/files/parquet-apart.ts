import { type ChildProcess, fork } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { siblingUrl } from '@millrace/core';
import { type Entry, FileFault } from '../entries.ts';
import type { Mapping } from '../mapping.ts';
import type { FileSlices } from './parquet.ts';

/** What the process is told. */
export type ParquetOrder =
  | { readonly kind: 'open'; readonly size: number; readonly mapping: Mapping }
  | { readonly kind: 'next' }
  | { readonly kind: 'bytes'; readonly id: number; readonly bytes: Uint8Array };
/** What it says. */
export type ParquetReport =
  | { readonly kind: 'read'; readonly id: number; readonly from: number; readonly to: number }
  | { readonly kind: 'entries'; readonly entries: Entry[] }
  | { readonly kind: 'fault'; readonly detail: string }
  | { readonly kind: 'end' };

const HEAP_MIB_MAX = 1_024;
/** Of the whole process: arrays of numbers are beside the heap. */
const RESIDENT_MIB_MAX = 1_536;
const WATCH_MS = 100;
/** For the next rows, of which the first are those of a row group. */
const ANSWER_MS_MAX = 300_000;
const PAGE_BYTES = 4_096;

const TOO_MUCH = new FileFault(
  `the Parquet can not be read with ${RESIDENT_MIB_MAX} MiB of memory, or is broken: write smaller row groups`,
);

/** Rows of a Parquet file, read by a process of its own: a few bytes can tell a decoder to make arrays without end, and
 *  that ends the process which does it, whatever limits its threads have.
 *  @throws FileFault, and what reading the file throws */
export async function* parquetEntriesApart(file: FileSlices, mapping: Mapping): AsyncGenerator<Entry[]> {
  // It needs no secret of ours.
  const child = fork(fileURLToPath(siblingUrl(import.meta.url, './parquet-process')), {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    env: {},
    execArgv: [
      ...process.execArgv.filter((each) => !each.startsWith('--inspect')),
      `--max-old-space-size=${HEAP_MIB_MAX}`,
    ],
  });
  let heard: { resolve(report: ParquetReport): void; reject(error: unknown): void } | null = null;
  let failure: unknown = null;
  const fail = (error: unknown): void => {
    failure ??= error;
    heard?.reject(failure);
  };
  const tell = (order: ParquetOrder): void => {
    child.send(order, (error) => error !== null && fail(TOO_MUCH));
  };
  child.on('message', (report: ParquetReport) => {
    if (report.kind !== 'read') return heard?.resolve(report);
    file.read(report.from, report.to).then((bytes) => tell({ kind: 'bytes', id: report.id, bytes }), fail);
  });
  child.on('error', fail);
  // Who stops does not wait for it: it ends with its channel.
  child.unref();
  child.channel?.unref();
  child.on('exit', () => fail(TOO_MUCH));
  const watch = setInterval(() => {
    residentMib(child).then((mib) => mib > RESIDENT_MIB_MAX && child.kill('SIGKILL'), fail);
  }, WATCH_MS).unref();
  try {
    tell({ kind: 'open', size: file.size, mapping });
    for (;;) {
      const late = setTimeout(() => fail(new FileFault('the Parquet takes too long to read')), ANSWER_MS_MAX);
      const report = await new Promise<ParquetReport>((resolve, reject) => {
        heard = { resolve, reject };
        if (failure !== null) reject(failure);
        else tell({ kind: 'next' });
      }).finally(() => clearTimeout(late));
      if (report.kind === 'end') return;
      if (report.kind === 'fault') throw new FileFault(report.detail);
      if (report.kind === 'entries') yield report.entries;
    }
  } finally {
    clearInterval(watch);
    child.kill('SIGKILL');
  }
}

/** 0 where the system does not tell. */
async function residentMib({ pid }: ChildProcess): Promise<number> {
  const told = await readFile(`/proc/${pid}/statm`, 'latin1').catch(() => '');
  return (Number(told.split(' ')[1] ?? 0) * PAGE_BYTES) / 1_048_576;
}
