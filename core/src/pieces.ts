const NEWLINE = 10;
const TAB = 9;

/** Cuts a stream of rows into pieces of whole rows, each at least so large but for the last: each can be loaded by itself.
 *  @shape rows end with a newline, which no value holds; values are parted by tabs
 *  @throws Error when the stream ends within a row: what sent it broke off */
export async function* piecesOf(
  rows: AsyncIterable<Uint8Array>,
  columnCount: number,
  sizeMin: number,
): AsyncGenerator<{ readonly bytes: Buffer; readonly rowCount: number }> {
  let parts: Uint8Array[] = [];
  let size = 0;
  const cut = (): { bytes: Buffer; rowCount: number } | null => {
    const all = Buffer.concat(parts, size);
    const end = all.lastIndexOf(NEWLINE) + 1;
    if (end === 0) {
      parts = [all];
      return null;
    }
    const bytes = all.subarray(0, end);
    parts = end === size ? [] : [Buffer.from(all.subarray(end))];
    size -= end;
    assertRow(bytes, columnCount);
    return { bytes, rowCount: count(bytes, NEWLINE, 0) };
  };
  for await (const part of rows) {
    parts.push(part);
    size += part.length;
    if (size < sizeMin) continue;
    const piece = cut();
    if (piece !== null) yield piece;
  }
  if (size === 0) return;
  const last = cut();
  if (last === null || size > 0) throw new Error('the rows broke off');
  yield last;
}

/** An engine that fails after the first rows says so in the midst of them. */
function assertRow(bytes: Buffer, columnCount: number): void {
  const begin = bytes.lastIndexOf(NEWLINE, bytes.length - 2) + 1;
  if (count(bytes, TAB, begin) !== columnCount - 1) throw new Error('the rows broke off');
}

function count(bytes: Buffer, what: number, from: number): number {
  let found = 0;
  for (let at = bytes.indexOf(what, from); at !== -1; at = bytes.indexOf(what, at + 1)) found++;
  return found;
}
