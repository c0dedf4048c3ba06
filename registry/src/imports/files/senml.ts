import { type Entry, FileFault, rejected } from '../entries.ts';
import { LINE_CHARACTERS_MAX, linesOf, textOf, unreadable } from './text.ts';

/** A file of one pack is read whole. */
const PACK_BYTES_MAX = 32 * 1_048_576;
/** What one message takes: records and bytes. */
const RECORDS_MAX = 1_000;
const MESSAGE_BYTES_MAX = 512 * 1_024;
const BASES = ['bn', 'bt', 'bu', 'bv', 'bs', 'bver'] as const;

type Senml = Record<string, unknown>;

/** Packs of SenML: a JSON array over any number of lines, one array a line, or CBOR.  @throws FileFault */
export async function* senmlEntries(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Entry[]> {
  const iterator = bytes[Symbol.asyncIterator]();
  const first = await nonEmpty(iterator);
  if (first === null) throw new FileFault('the file is empty');
  const all = following(first, iterator);
  // An array or an array without a length, as CBOR begins one.
  if ((first[0] as number) >= 0x80 && (first[0] as number) <= 0x9f) yield* cborEntries(all);
  else yield* jsonEntries(textOf(all));
}

/** One pack a line where the first line is one; else the whole is one pack. */
async function* jsonEntries(parts: AsyncIterable<string>): AsyncGenerator<Entry[]> {
  const iterator = parts[Symbol.asyncIterator]();
  let held = '';
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
    held += next.value;
    const end = held.indexOf('\n');
    if (end >= 0 && end <= LINE_CHARACTERS_MAX && /^\s*\[.*\]\s*$/.test(held.slice(0, end))) {
      yield* packLines(following(held, iterator));
      return;
    }
    if (held.length > PACK_BYTES_MAX)
      throw new FileFault('a pack is larger than 32 MiB: write several of them, one a line');
  }
  const wrong = unreadable(held);
  yield wrong === null ? packsOf(1, held, parsed(held)) : [rejected(1, wrong, held)];
}

async function* packLines(parts: AsyncIterable<string>): AsyncGenerator<Entry[]> {
  for await (const lines of linesOf(parts)) {
    const entries: Entry[] = [];
    for (const { line, text, tooLong } of lines) {
      const wrong = tooLong ? 'the line is too long' : unreadable(text);
      if (wrong === null) entries.push(...packsOf(line, text, parsed(text)));
      else entries.push(rejected(line, wrong, text));
    }
    yield entries;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param pack undefined: it is no JSON */
function packsOf(line: number, text: string, pack: unknown): Entry[] {
  if (!Array.isArray(pack))
    return [rejected(line, pack === undefined ? 'it is no JSON' : 'it is no SenML pack (a list)', text)];
  if (pack.length === 0) return [rejected(line, 'the pack is empty', text)];
  const odd = pack.findIndex((record) => typeof record !== 'object' || record === null || Array.isArray(record));
  if (odd >= 0) return [rejected(line, `record ${odd + 1} of the pack is no object`, text)];
  if (pack.length <= RECORDS_MAX && text.length <= MESSAGE_BYTES_MAX)
    return [
      { kind: 'pack', line, contentType: 'application/senml+json', payload: Buffer.from(text), readings: pack.length },
    ];
  return parts(line, pack as Senml[]);
}

/** A pack that is too large for a message, as several: each begins with what the records before it had set. */
function parts(line: number, records: readonly Senml[]): Entry[] {
  const entries: Entry[] = [];
  const bases: Senml = {};
  let kept: string[] = [];
  let size = 0;
  const end = (): void => {
    if (kept.length === 0) return;
    const payload = Buffer.from(`[${kept.join(',')}]`);
    entries.push({ kind: 'pack', line, contentType: 'application/senml+json', payload, readings: kept.length });
    kept = [];
    size = 0;
  };
  for (const record of records) {
    const whole = kept.length === 0 ? { ...bases, ...record } : record;
    const text = JSON.stringify(whole);
    if (text.length > MESSAGE_BYTES_MAX) {
      entries.push(rejected(line, 'a record is larger than a message may be', text));
      continue;
    }
    for (const base of BASES) if (record[base] !== undefined) bases[base] = record[base];
    kept.push(text);
    size += text.length + 1;
    if (kept.length >= RECORDS_MAX || size >= MESSAGE_BYTES_MAX) end();
  }
  end();
  return entries;
}

/** A sequence of packs (RFC 8742), each as it is. */
async function* cborEntries(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Entry[]> {
  let held: Buffer = Buffer.alloc(0);
  let number = 1;
  for await (const part of bytes) {
    held = Buffer.concat([held, part]);
    const entries: Entry[] = [];
    let from = 0;
    for (let end = itemEnd(held, from, 0); end !== null; end = itemEnd(held, from, 0)) {
      if (end - from > MESSAGE_BYTES_MAX)
        entries.push(
          rejected(number, `the pack has ${end - from} bytes; a message takes at most ${MESSAGE_BYTES_MAX}`),
        );
      else
        entries.push({
          kind: 'pack',
          line: number,
          contentType: 'application/senml+cbor',
          payload: Buffer.from(held.subarray(from, end)),
          readings: (held[from] as number) === 0x9f ? 1 : (headOf(held, from)?.value ?? 1),
        });
      number++;
      from = end;
      if (from >= held.length) break;
    }
    held = held.subarray(from);
    if (held.length > PACK_BYTES_MAX) throw new FileFault('a pack of CBOR is larger than 32 MiB, or broken', number);
    yield entries;
  }
  if (held.length > 0) yield [rejected(number, 'the last pack of CBOR is not complete')];
}

const DEPTH_MAX = 16;

function headOf(bytes: Buffer, at: number): { major: number; value: number; next: number; endless: boolean } | null {
  const first = bytes[at];
  if (first === undefined) return null;
  const info = first & 31;
  const major = first >> 5;
  if (info < 24) return { major, value: info, next: at + 1, endless: false };
  if (info === 31) return { major, value: 0, next: at + 1, endless: true };
  if (info > 27) throw new FileFault('it is no CBOR');
  const size = 1 << (info - 24);
  if (at + 1 + size > bytes.length) return null;
  const value = size === 8 ? Number(bytes.readBigUInt64BE(at + 1)) : bytes.readUIntBE(at + 1, size);
  return { major, value, next: at + 1 + size, endless: false };
}

/** Where the item that begins there ends; null if it is not all there.  @throws FileFault  @source RFC 8949 §3 */
function itemEnd(bytes: Buffer, at: number, depth: number): number | null {
  if (depth > DEPTH_MAX) throw new FileFault('the CBOR is nested too deep');
  const head = headOf(bytes, at);
  if (head === null) return null;
  const { major, value, next, endless } = head;
  if (depth === 0 && major !== 4) throw new FileFault('it is no sequence of SenML packs in CBOR');
  if (endless) {
    let each: number | null = next;
    while (each !== null) {
      if (each >= bytes.length) return null;
      if (bytes[each] === 0xff) return each + 1;
      if (major < 2 || major > 5) throw new FileFault('it is no CBOR');
      each = itemEnd(bytes, each, depth + 1);
    }
    return null;
  }
  if (major === 2 || major === 3) return next + value > bytes.length ? null : next + value;
  if (major === 6) return itemEnd(bytes, next, depth + 1);
  if (major !== 4 && major !== 5) return next;
  const count = major === 4 ? value : value * 2;
  if (count > PACK_BYTES_MAX) throw new FileFault('a list of the CBOR is longer than it can be');
  let each = next;
  for (let index = 0; index < count; index++) {
    const end = itemEnd(bytes, each, depth + 1);
    if (end === null) return null;
    each = end;
  }
  return each;
}

async function nonEmpty(iterator: AsyncIterator<Uint8Array>): Promise<Uint8Array | null> {
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
    if (next.value.length > 0) return next.value;
  return null;
}

async function* following<T>(first: T, rest: AsyncIterator<T>): AsyncGenerator<T> {
  yield first;
  for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
}
