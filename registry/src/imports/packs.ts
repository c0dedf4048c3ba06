import type { Entry, PackEntry, RejectedEntry, RowEntry } from './entries.ts';

/** Entries that become messages together. What is cut the same way at every reading can be known again. */
const ROWS_MAX = 1_000;
const READINGS_MAX = 5_000;
/** Of texts and packs: several stretches are in memory at once, and each value may be as long as a line. */
const STRETCH_CHARACTERS_MAX = 2_097_152;
/** Of one message. */
const MESSAGE_READINGS_MAX = 1_000;
const MESSAGE_CHARACTERS_MAX = 262_144;

/** Consecutive entries of a file.  @shape ordinal: of its first entry in the file, from 0 */
export interface Stretch {
  readonly ordinal: number;
  readonly entries: readonly Entry[];
}

/** Cuts entries into stretches: a function of the file alone, whichever parts it was read in.
 *  @param from entries that are left out, at a border of a stretch */
export async function* stretchesOf(batches: AsyncIterable<readonly Entry[]>, from = 0): AsyncGenerator<Stretch> {
  let ordinal = 0;
  let entries: Entry[] = [];
  let readings = 0;
  let characters = 0;
  for await (const batch of batches) {
    for (const entry of batch) {
      entries.push(entry);
      readings += entry.kind === 'row' ? entry.readings.length : entry.kind === 'pack' ? entry.readings : 0;
      characters += charactersOf(entry);
      if (entries.length < ROWS_MAX && readings < READINGS_MAX && characters < STRETCH_CHARACTERS_MAX) continue;
      if (ordinal >= from) yield { ordinal, entries };
      ordinal += entries.length;
      entries = [];
      readings = 0;
      characters = 0;
    }
  }
  if (entries.length > 0 && ordinal >= from) yield { ordinal, entries };
}

function charactersOf(entry: Entry): number {
  if (entry.kind !== 'row') return entry.kind === 'pack' ? entry.payload.length : 0;
  let characters = 0;
  for (const { value } of entry.readings) if (typeof value === 'string') characters += value.length;
  return characters;
}

/** A message that a stretch becomes.
 *  @shape key: of the message within its import; publisher: null, the import's own */
export interface ImportMessage {
  readonly key: string;
  readonly publisher: string | null;
  readonly subtopic: string | null;
  readonly contentType: string;
  readonly payload: Uint8Array;
  readonly readings: number;
  /** Entries that are in it. */
  readonly rows: readonly (RowEntry | PackEntry)[];
}

/** The messages of a stretch: one for each publisher and subtopic, more where that would be too large. */
export function messagesOf({ ordinal, entries }: Stretch): {
  messages: ImportMessage[];
  rejected: RejectedEntry[];
} {
  const rejected: RejectedEntry[] = [];
  const messages: ImportMessage[] = [];
  const open = new Map<string, Gathering>();
  for (const [index, entry] of entries.entries()) {
    if (entry.kind === 'rejected') {
      rejected.push(entry);
    } else if (entry.kind === 'pack') {
      const { contentType, payload, readings } = entry;
      const key = `${ordinal + index}`;
      messages.push({ key, publisher: null, subtopic: null, contentType, payload, readings, rows: [entry] });
    } else {
      const target = `${entry.publisher ?? ''}\0${entry.subtopic ?? ''}`;
      let gathering = open.get(target);
      if (gathering === undefined) {
        gathering = new Gathering(ordinal + index, entry);
        open.set(target, gathering);
      }
      gathering.add(entry);
      if (!gathering.isFull) continue;
      messages.push(gathering.message());
      open.delete(target);
    }
  }
  for (const gathering of open.values()) messages.push(gathering.message());
  return { messages, rejected };
}

class Gathering {
  readonly #first: number;
  readonly #of: RowEntry;
  readonly #rows: RowEntry[] = [];
  #text = '';
  #readings = 0;

  constructor(first: number, of: RowEntry) {
    this.#first = first;
    this.#of = of;
  }

  get isFull(): boolean {
    return this.#readings >= MESSAGE_READINGS_MAX || this.#text.length >= MESSAGE_CHARACTERS_MAX;
  }

  add(row: RowEntry): void {
    this.#rows.push(row);
    const time = seconds(row.timeUs);
    for (const { name, unit, value, data } of row.readings) {
      const field = data === true ? 'vd' : typeof value === 'number' ? 'v' : typeof value === 'boolean' ? 'vb' : 'vs';
      const told = unit === '' ? '' : `"u":${JSON.stringify(unit)},`;
      const lead = this.#text === '' ? '[' : ',';
      // A name is plain ASCII: it was checked.
      this.#text += `${lead}{"n":"${name}",${told}"${field}":${typeof value === 'string' ? JSON.stringify(value) : String(value)},"t":${time}}`;
    }
    this.#readings += row.readings.length;
  }

  message(): ImportMessage {
    const { publisher, subtopic } = this.#of;
    return {
      key: `${this.#first}-${this.#rows.length}`,
      publisher,
      subtopic,
      contentType: 'application/senml+json',
      payload: Buffer.from(`${this.#text}]`),
      readings: this.#readings,
      rows: this.#rows,
    };
  }
}

/** To the microsecond, which a double of today's seconds still carries. */
function seconds(us: number): string {
  const fraction = us % 1_000_000;
  const whole = (us - fraction) / 1_000_000;
  return fraction === 0 ? String(whole) : `${whole}.${String(fraction).padStart(6, '0').replace(/0+$/, '')}`;
}
