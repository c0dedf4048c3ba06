/** The embedded engine writes each block of a streamed answer as if it were a whole one. These make one of the many again.
 *  Formats of rows without a head need nothing; Parquet can't be mended so (its foot counts from its beginning). */
export type Joining = (part: Uint8Array, index: number) => Uint8Array;

const HEAD_LINES: Readonly<Record<string, number>> = {
  CSVWithNames: 1,
  CSVWithNamesAndTypes: 2,
  TabSeparatedWithNames: 1,
  TSVWithNames: 1,
  TabSeparatedWithNamesAndTypes: 2,
  TSVWithNamesAndTypes: 2,
  JSONCompactEachRowWithNames: 1,
  JSONCompactEachRowWithNamesAndTypes: 2,
};
/** Formats of which parts are simply put after each other. */
const HEADLESS: ReadonlySet<string> = new Set([
  'CSV',
  'TabSeparated',
  'TSV',
  'TSVRaw',
  'TabSeparatedRaw',
  'JSONEachRow',
  'JSONCompactEachRow',
  'Native',
]);

/** @returns null for a format whose blocks can't be joined: it has to be written in one go */
export function joiningOf(format: string): Joining | null {
  if (HEADLESS.has(format)) return (part) => part;
  const lines = HEAD_LINES[format];
  if (lines !== undefined) return (part, index) => (index === 0 ? part : part.subarray(afterLines(part, lines)));
  if (format === 'ArrowStream') return (part, index) => withoutEnds(part, index);
  return null;
}

export const hasHead = (format: string): boolean => !HEADLESS.has(format);

const QUOTE = 0x22;
const NEWLINE = 0x0a;

/** Where the rows begin. A name in quotes may hold a line's end. */
function afterLines(part: Uint8Array, lines: number): number {
  let quoted = false;
  let left = lines;
  for (let at = 0; at < part.length; at++) {
    if (part[at] === QUOTE) quoted = !quoted;
    else if (part[at] === NEWLINE && !quoted && --left === 0) return at + 1;
  }
  return part.length;
}

/** Takes the end of the stream away, which `arrowEnd` is once for all, and from the second part on the schema.
 *  @source Arrow columnar format, "IPC Streaming Format": a message is 0xFFFFFFFF, its size (int32), itself; a schema has
 *  no body; the end is a message of size 0 */
function withoutEnds(part: Uint8Array, index: number): Uint8Array {
  const view = new DataView(part.buffer, part.byteOffset, part.length);
  const to = isEnd(view, part.length - ARROW_END.length) ? part.length - ARROW_END.length : part.length;
  if (index === 0 || part.length < 8) return part.subarray(0, to);
  const from = view.getUint32(0, true) === 0xffffffff ? 8 + view.getInt32(4, true) : 0;
  return part.subarray(Math.min(from, to), to);
}
const isEnd = (view: DataView, at: number): boolean =>
  at >= 0 && view.getUint32(at, true) === 0xffffffff && view.getUint32(at + 4, true) === 0;

/** What stands at the end of a stream of Arrow, once. */
export const ARROW_END = Uint8Array.of(0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0);
