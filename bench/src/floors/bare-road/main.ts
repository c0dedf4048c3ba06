import uWS, { type HttpResponse } from 'uWebSockets.js';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { siblingUrl } from '@millrace/core';
import { open } from 'lmdb';
import { Piscina } from 'piscina';
import type { Target } from '../../pack.ts';
import { listen } from '../listener.ts';
import { childOptions, tell } from '../options.ts';
import { openFloorTable } from '../table.ts';
import { encodeEnvelope } from './envelope.ts';

/** Floor: the whole way and nothing else. HTTP → key look-up → envelope → lmdb append → one worker thread →
 *  TabSeparated text → insert with a deduplication token. No policy, no limits, no errors, no recovery, no delivery.
 *  Answers `GET /metrics` with the two figures that the measurement reads, under the product's names. */
interface Options {
  readonly targets: readonly Target[];
  /** `commit`: acknowledged when lmdb has committed. `fsync`: when the commit is on disk, as the product does. */
  readonly durability: 'commit' | 'fsync';
  /** Empty; whoever started this removes it. */
  readonly directory: string;
}

interface Waiting extends HttpResponse {
  aborted?: boolean;
}

const APPEND_BYTES_MAX = 262_144;
const BATCH_BYTES_MAX = 2_000_000;
const BATCHES_IN_WORKER_MAX = 2;
const ROWS_WAITING_MAX = 400_000;
const INSERT_ROWS_MIN = 100_000;
const INSERT_MS_MAX = 500;
const INSERTS_MAX = 2;

const { targets, durability, directory } = childOptions<Options>();
const log = open<Buffer, number>({ path: join(directory, 'log'), encoding: 'binary', keyEncoding: 'uint32' });
const engine = await openFloorTable(join(directory, 'engine'));
const pool = new Piscina<ArrayBuffer, ArrayBuffer>({
  filename: siblingUrl(import.meta.url, './worker'),
  minThreads: 1,
  maxThreads: 1,
});

const keys = new Map(
  targets.map(({ key }, index) => [key, { thing: `thing-${index}`, org: 'acme', memo: new Map<string, boolean>() }]),
);

// Append.
let appended = 0;
let acknowledged = 0;
let waiting: Waiting[] = [];
let chunks: Uint8Array[] = [];
let chunkBytes = 0;
let flushing = false;

function flush(): void {
  flushing = false;
  if (waiting.length === 0) return;
  const responses = waiting;
  const record = Buffer.concat(chunks);
  waiting = [];
  chunks = [];
  chunkBytes = 0;
  const put = log.put(appended++, record);
  const durable = durability === 'fsync' ? put.then(() => log.flushed) : put;
  void durable.then(() => {
    for (const response of responses) {
      if (response.aborted === true) continue;
      response.cork(() => response.writeStatus('202 Accepted').end('{"response":"message sent"}'));
    }
    acknowledged += responses.length;
    pump();
  });
}

function append(envelope: Uint8Array, response: Waiting): void {
  chunks.push(envelope);
  chunkBytes += envelope.length;
  waiting.push(response);
  if (chunkBytes > APPEND_BYTES_MAX) flush();
  else if (!flushing) {
    flushing = true;
    setImmediate(flush);
  }
}

// Process.
let taken = 0;
let inWorker = 0;
let rowsDone = 0;
let block: Buffer[] = [];
let blockRows = 0;
let blockSince = 0;
let inserting = 0;
let insertCount = 0;

function pump(): void {
  while (taken < appended && inWorker < BATCHES_IN_WORKER_MAX && blockRows < ROWS_WAITING_MAX) {
    const records: Buffer[] = [];
    let size = 0;
    while (taken < appended && size < BATCH_BYTES_MAX) {
      const record = log.get(taken);
      if (record === undefined) break;
      records.push(record);
      size += record.length;
      taken++;
    }
    if (size === 0) return;
    const batch = new Uint8Array(size);
    let at = 0;
    for (const record of records) {
      batch.set(record, at);
      at += record.length;
    }
    inWorker++;
    void pool.run(batch.buffer, { transferList: [batch.buffer] }).then((result) => {
      inWorker--;
      const text = Buffer.from(result);
      block.push(text.subarray(4));
      blockRows += text.readUInt32LE(0);
      if (blockSince === 0) blockSince = performance.now();
      store();
      pump();
    });
  }
}

function store(): void {
  if (inserting >= INSERTS_MAX || blockRows === 0) return;
  if (blockRows < INSERT_ROWS_MIN && performance.now() - blockSince < INSERT_MS_MAX) return;
  const body = block;
  const rows = blockRows;
  block = [];
  blockRows = 0;
  blockSince = 0;
  inserting++;
  void insert(body, `b${insertCount++}`).then(() => {
    inserting--;
    rowsDone += rows;
    store();
    pump();
  });
}

async function insert(body: Buffer[], token: string): Promise<void> {
  const query = `INSERT INTO readings SETTINGS insert_deduplication_token='${token}' FORMAT TabSeparated`;
  const { stream } = await engine.exec({ query, values: Readable.from(body) });
  for await (const _ of stream);
}

setInterval(() => {
  pump();
  store();
}, 50);

// Ingest.
const app = uWS
  .App()
  .get('/metrics', (response) => {
    const lag = acknowledged === 0 ? 0 : appended - taken;
    response.end(`millrace_store_rows_total{table="readings"} ${rowsDone}\nmillrace_log_lag_messages ${lag}\n`);
  })
  .any('/*', (response: Waiting, request) => {
    const channel = request.getUrl().split('/')[2] ?? '';
    const who = keys.get(request.getHeader('authorization').slice('Thing '.length));
    response.onAborted(() => {
      response.aborted = true;
    });
    if (who === undefined) {
      response.writeStatus('401 Unauthorized').end();
      return;
    }
    if (who.memo.get(channel) === undefined) who.memo.set(channel, true);
    let held: Buffer | null = null;
    response.onData((chunk, last) => {
      if (!last) {
        held = held === null ? Buffer.from(chunk.slice(0)) : Buffer.concat([held, Buffer.from(chunk)]);
        return;
      }
      const body = held === null ? new Uint8Array(chunk) : Buffer.concat([held, Buffer.from(chunk)]);
      const receivedUs = BigInt(Date.now()) * 1_000n;
      append(encodeEnvelope(who.org, channel, who.thing, 'application/senml+json', receivedUs, body), response);
    });
  });

tell({ url: await listen(app) });
