import type { Entry } from '../entries.ts';
import type { Mapping } from '../mapping.ts';
import { csvEntries } from './csv.ts';
import { decompressed } from './decompress.ts';
import { lineProtocolEntries } from './line-protocol.ts';
import { ndjsonEntries } from './ndjson.ts';
import type { FileSlices } from './parquet.ts';
import { parquetEntriesApart } from './parquet-apart.ts';
import { senmlEntries } from './senml.ts';
import { textOf } from './text.ts';

/** What is read of a file at once. */
const READ_BYTES = 65_536;

/** The entries of a file, some at a time; the same for the same file and mapping, whenever they are read.
 *  @param unfoldedBytesMax of what a packed file may become  @throws FileFault, and what reading the file throws */
export function entriesOf(file: FileSlices, mapping: Mapping, unfoldedBytesMax: number): AsyncGenerator<Entry[]> {
  // Parquet packs its own pages, and is read from its end.
  if (mapping.format === 'parquet') return parquetEntriesApart(file, mapping);
  const bytes = decompressed(following(file), unfoldedBytesMax);
  if (mapping.format === 'senml') return senmlEntries(bytes);
  const text = textOf(bytes);
  if (mapping.format === 'csv') return csvEntries(text, mapping);
  return mapping.format === 'ndjson' ? ndjsonEntries(text, mapping) : lineProtocolEntries(text, mapping);
}

async function* following(file: FileSlices): AsyncGenerator<Uint8Array> {
  for (let from = 0; from < file.size; from += READ_BYTES)
    yield file.read(from, Math.min(from + READ_BYTES, file.size));
}
