// Reads one Parquet file in the place of who started it.
import { type Entry, FileFault } from '../entries.ts';
import { parquetEntries } from './parquet.ts';
import type { ParquetOrder, ParquetReport } from './parquet-apart.ts';

/** Of what is asked for at once, however large a column is. */
const READ_BYTES = 1_048_576;

const tell = (report: ParquetReport): void => {
  process.send?.(report);
};
const waiting = new Map<number, (bytes: Uint8Array) => void>();
let asked = 0;
let entries: AsyncGenerator<Entry[]> | null = null;

async function read(from: number, to: number): Promise<Uint8Array> {
  const all = new Uint8Array(to - from);
  for (let at = from; at < to; at += READ_BYTES) {
    const some = await new Promise<Uint8Array>((resolve) => {
      const id = asked++;
      waiting.set(id, resolve);
      tell({ kind: 'read', id, from: at, to: Math.min(to, at + READ_BYTES) });
    });
    all.set(some, at - from);
  }
  return all;
}

async function next(): Promise<void> {
  try {
    const some = await entries?.next();
    if (some === undefined || some.done === true) tell({ kind: 'end' });
    else tell({ kind: 'entries', entries: some.value });
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    tell({ kind: 'fault', detail: error.message });
  }
}

process.on('message', (order: ParquetOrder) => {
  if (order.kind === 'open') entries = parquetEntries({ size: order.size, read }, order.mapping);
  else if (order.kind === 'next') void next();
  else {
    waiting.get(order.id)?.(order.bytes);
    waiting.delete(order.id);
  }
});
process.on('disconnect', () => process.exit());
