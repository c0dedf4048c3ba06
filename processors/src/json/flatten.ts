import { Bignum } from '../cbor/decode.ts';
import type { TimeField } from '../profile/time.ts';
import { HAS_BOOL, HAS_DATA, HAS_TEXT, HAS_VALUE, type MessageRows } from '../rows/message-rows.ts';
import { RECORDS_MAX, type Refusal } from '../senml/resolve.ts';

const DEPTH_MAX = 32;
/** Name of a message that is one bare number, text or bool. */
const ROOT_NAME = 'value';

/** Flattens plain JSON, or CBOR as plain, into readings at the time of the message, one a leaf: `{"a":{"b":[1]}}` gives
 *  `a.b.0`. Numbers, strings, bools and byte strings are leaves; null is no reading.
 *  Where messages say their time, an array is a list of records with a time each: `[{"t":1,"a":2}]` gives `a` at 1.
 *  The time itself is no reading then; a record without one has that of the message, one whose time is none is dead.
 *  @throws never  @returns null, or why the whole message is refused (rows are void then) */
export function flattenJson(
  value: unknown,
  messageUs: number,
  rows: MessageRows,
  time: TimeField | null = null,
): Refusal | null {
  const flattening = new Flattening(messageUs, rows);
  if (time === null) return flattening.walk(value, '', 0);
  const records: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (records.length > RECORDS_MAX) return { reason: 'too_many_records', detail: `more than ${RECORDS_MAX} records` };
  for (const [index, record] of records.entries()) {
    const timeUs = time.of(record, messageUs);
    if (timeUs === null) {
      rows.dead.push({ index, reason: 'bad_time', detail: `${time.path} holds no time that can be read`, record });
      continue;
    }
    flattening.begin(timeUs, time.path);
    const refusal = flattening.walk(record, '', 0);
    if (refusal !== null) return refusal;
  }
  return null;
}

class Flattening {
  #leafCount = 0;
  #timeUs: number;
  /** What is no reading. */
  #timePath: string | null = null;
  readonly #rows: MessageRows;

  constructor(timeUs: number, rows: MessageRows) {
    this.#timeUs = timeUs;
    this.#rows = rows;
  }

  /** Before each record. */
  begin(timeUs: number, timePath: string): void {
    this.#timeUs = timeUs;
    this.#timePath = timePath;
  }

  walk(value: unknown, path: string, depth: number): Refusal | null {
    if (typeof value !== 'object' || value instanceof Uint8Array) return this.#leaf(value, path);
    if (value instanceof Bignum) return this.#leaf(Number(value.integer), path);
    if (value === null) return null;
    if (depth === DEPTH_MAX) return { reason: 'too_deep', detail: `nested deeper than ${DEPTH_MAX}` };
    const prefix = depth === 0 ? '' : `${path}.`;
    if (Array.isArray(value)) {
      for (let index = 0; index < value.length; index++) {
        const refusal = this.walk(value[index], prefix + index, depth + 1);
        if (refusal !== null) return refusal;
      }
      return null;
    }
    for (const key in value) {
      const refusal = this.walk((value as Record<string, unknown>)[key], prefix + key, depth + 1);
      if (refusal !== null) return refusal;
    }
    return null;
  }

  #leaf(value: unknown, path: string): Refusal | null {
    if (path === this.#timePath) return null;
    const index = this.#leafCount++;
    if (index === RECORDS_MAX) return { reason: 'too_many_records', detail: `more than ${RECORDS_MAX} values` };
    const rows = this.#rows;
    const name = rows.pathName(path === '' ? ROOT_NAME : path);
    if (name < 0) {
      // The path is not shown: many long ones would cost more than the message.
      rows.dead.push({ index, reason: 'bad_name', detail: 'the path to the value is too long', record: value });
      return null;
    }
    if (typeof value === 'number' && Number.isFinite(value))
      rows.add(index, name, 0, this.#timeUs, HAS_VALUE, value, '', 0, 0);
    else if (typeof value === 'string') rows.add(index, name, 0, this.#timeUs, HAS_TEXT, 0, value, 0, 0);
    else if (typeof value === 'boolean') rows.add(index, name, 0, this.#timeUs, HAS_BOOL, value ? 1 : 0, '', 0, 0);
    else if (value instanceof Uint8Array) {
      const data = Buffer.from(value.buffer, value.byteOffset, value.length).toString('base64url');
      rows.add(index, name, 0, this.#timeUs, HAS_DATA, 0, data, 0, 0);
    } else rows.dead.push({ index, reason: 'bad_value', detail: `${path} is no finite number`, record: value });
    return null;
  }
}
