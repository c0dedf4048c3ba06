import { createHash } from 'node:crypto';
import { EnvelopeReader, type Log, type LogBatch } from '@millrace/core';
import { parseUse, type Use } from './inbound.ts';

/** Records that are looked through at most: before this node started, and before now. */
const WINDOW_RECORDS = 32_768;
const READ_BYTES_MAX = 1_048_576;
/** What was found is forgotten after so long, even if somebody goes on asking: it grows with what is published. */
const KEPT_MS = 300_000;
const PREFIX = 'mqtt/';

/** What names a QoS 2 publish on the log: the client's packet id and which use of it. */
export const publishKey = (clientId: string, packetId: number, use: string): string =>
  `${PREFIX}${packetId}/${use}/${clientId}`;

export interface Asked {
  readonly publisher: string;
  readonly clientId: string;
  readonly packetId: number;
  readonly partition: number;
  readonly channel: string;
  readonly subtopic: string;
  readonly payload: Uint8Array;
}

interface Seen {
  readonly use: Use;
  readonly digest: string;
}

interface Index {
  readonly seen: Map<string, Seen>;
  next: number;
  reading: Promise<void> | null;
}

/** Finds QoS 2 publishes on the log that a node which crashed has not acknowledged. Each record is read once at most, and
 *  only when a client comes back to such a node and repeats itself.
 *  @holds looks only through the last records before this node started and before now: a publish that is older than both
 *         is not found, and appended again */
export class EarlierPublishes {
  readonly #log: Log;
  readonly #indexes = new Map<number, Index>();
  readonly #startTails: Promise<readonly number[]>;
  #timer: NodeJS.Timeout | null = null;

  constructor(log: Log) {
    this.#log = log;
    const partitions = Array.from({ length: log.partitionCount }, (_, partition) => partition);
    this.#startTails = Promise.all(
      partitions.map((partition) =>
        log.extent(partition).then(
          ({ next }) => next,
          () => -1,
        ),
      ),
    );
  }

  /** The last publish with this packet id in the partition. @throws LogError */
  async find(asked: Asked): Promise<{ readonly use: Use; readonly same: boolean } | null> {
    const index = await this.#indexOf(asked.partition);
    const { publisher, clientId, packetId, channel, subtopic, payload } = asked;
    const seen = index.seen.get(`${publisher}\0${packetId}\0${clientId}`);
    return seen === undefined ? null : { use: seen.use, same: seen.digest === digestOf(channel, subtopic, payload) };
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #indexOf(partition: number): Promise<Index> {
    let index = this.#indexes.get(partition);
    if (index === undefined) {
      index = { seen: new Map(), next: -1, reading: null };
      this.#indexes.set(partition, index);
    }
    if (this.#timer === null) {
      this.#timer = setTimeout(() => {
        this.#timer = null;
        this.#indexes.clear();
      }, KEPT_MS);
      this.#timer.unref();
    }
    const current = index;
    // Whoever asks while it is read waits for a reading that began after he asked: the log may have gone on.
    if (current.reading !== null) await current.reading.catch(() => {});
    current.reading ??= this.#readOn(partition, current).finally(() => {
      current.reading = null;
    });
    await current.reading;
    return current;
  }

  async #readOn(partition: number, index: Index): Promise<void> {
    const { earliest, next } = await this.#log.extent(partition);
    if (index.next < 0) {
      const startTail = (await this.#startTails)[partition] ?? -1;
      if (startTail >= 0) await this.#read(partition, index, Math.max(earliest, startTail - WINDOW_RECORDS), startTail);
      index.next = Math.max(startTail, 0);
    }
    await this.#read(partition, index, Math.max(earliest, index.next, next - WINDOW_RECORDS), next);
    index.next = next;
  }

  async #read(partition: number, { seen }: Index, from: number, to: number): Promise<void> {
    for (let at = from; at < to; ) {
      const batch = await this.#log.peek(partition, at, { bytesMax: READ_BYTES_MAX });
      if (batch === null) return;
      note(batch, seen);
      at = batch.last + 1;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

/** Keeps the last use of each packet id in a batch. */
function note({ bytes, count }: LogBatch, seen: Map<string, Seen>): void {
  const reader = new EnvelopeReader();
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (let index = 0; index < count; index++) {
    const end = at + 4 + view.getUint32(at, true);
    const wellFormed = reader.open(bytes, at + 4, end);
    at = end;
    if (!wellFormed || reader.qos !== 2 || !reader.dedupKey.startsWith(PREFIX)) continue;
    const [packetId = '', use = '', ...clientId] = reader.dedupKey.slice(PREFIX.length).split('/');
    const parsed = parseUse(use);
    if (parsed === null) continue;
    const digest = digestOf(reader.channel, reader.subtopic, reader.payload);
    seen.set(`${reader.publisher}\0${packetId}\0${clientId.join('/')}`, { use: parsed, digest });
  }
}

function digestOf(channel: string, subtopic: string, payload: Uint8Array): string {
  return createHash('sha256').update(`${channel}\0${subtopic}\0`).update(payload).digest('base64');
}
