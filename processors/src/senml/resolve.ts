import { DEAD_BASES_LOST, type DeadReason } from '@millrace/core';
import {
  type DeadRecord,
  HAS_BOOL,
  HAS_DATA,
  HAS_SUM,
  HAS_TEXT,
  HAS_UPDATE_TIME,
  HAS_VALUE,
  type MessageRows,
  NAME_SIZE_MAX,
  TIME_US_MAX,
  TIME_US_MIN,
} from '../rows/message-rows.ts';

// hot

/** Why a whole message gives no reading. */
export interface Refusal {
  readonly reason: DeadReason;
  readonly detail: string;
}

/** Times below are relative to when the message happened, which is its reception unless its network knows better.  @units s  @source RFC 8428 §4.5.3 */
const RELATIVE_TIME_S_MAX = 2 ** 28;
export const RECORDS_MAX = 65_536;
const UNIT_SIZE_MAX = 255;
/** Of base fields that the dead records of one pack are shown with: one long base name must not be told with each of
 *  65,536 records. */
const DEAD_BASES_CHARACTERS_MAX = 64 * 1024;
/** Version 10 is bits 1 and 3; 16 is "secondary units".  @source RFC 9100 §4, §6 */
const VERSION_BASE = 10;
const VERSION_SECONDARY_UNITS = 26;
const BASE64 = /^[A-Za-z0-9_\-+/]*={0,2}$/;

/** Which fields a record has. */
const OWN = 1;
const BASE = 2;

/** Resolves one SenML pack into rows.
 *  A rejected record's well-formed base fields still hold for the records after it (they would be mislabelled
 *  otherwise); of a malformed base field the value before stays in force.
 *  @units time in µs since 1970  @throws never: a bad record goes to `rows.dead`
 *  @returns null, or why the whole pack is refused (rows are void then)  @source RFC 8428 §4, RFC 9100 */
export function resolveSenml(pack: unknown, messageUs: number, rows: MessageRows): Refusal | null {
  if (!Array.isArray(pack)) return { reason: 'not_an_array', detail: 'a SenML pack is an array of records' };
  const count = pack.length;
  if (count === 0) return { reason: 'empty_pack', detail: 'the pack has no record' };
  if (count > RECORDS_MAX) return { reason: 'too_many_records', detail: `${count} records, at most ${RECORDS_MAX}` };

  let baseTime = 0;
  let baseUnit = '';
  let baseValue = 0;
  let hasBaseValue = false;
  let baseSum = 0;
  let hasBaseSum = false;
  let left = DEAD_BASES_CHARACTERS_MAX;

  for (let index = 0; index < count; index++) {
    const record: unknown = pack[index];
    if (typeof record !== 'object' || record === null || Array.isArray(record) || record instanceof Uint8Array) {
      rows.dead.push({ index, reason: 'not_an_object', detail: 'a record is an object', record });
      continue;
    }
    let name = '';
    let unit = baseUnit;
    let hasUnit = false;
    let time = 0;
    let updateTime = 0;
    let value = 0;
    let sum = 0;
    let text = '';
    let flags = 0;
    let valueCount = 0;
    let fields = 0;
    let reason: DeadReason | null = null;
    let field = '';

    for (const key in record) {
      const given = (record as Record<string, unknown>)[key];
      switch (key) {
        case 'n':
          fields |= OWN;
          if (typeof given === 'string') name = given;
          else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        case 'v':
          fields |= OWN;
          valueCount++;
          if (typeof given === 'number' && Number.isFinite(given)) {
            value = given;
            flags |= HAS_VALUE;
          } else if (reason === null) [reason, field] = ['bad_value', key];
          break;
        case 'u':
          fields |= OWN;
          if (typeof given === 'string' && given.length <= UNIT_SIZE_MAX) {
            unit = given;
            hasUnit = true;
          } else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        case 't':
          fields |= OWN;
          if (typeof given === 'number' && Number.isFinite(given)) time = given;
          else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        case 'vs':
          fields |= OWN;
          valueCount++;
          if (typeof given === 'string') {
            text = given;
            flags |= HAS_TEXT;
          } else if (reason === null) [reason, field] = ['bad_value', key];
          break;
        case 'vb':
          fields |= OWN;
          valueCount++;
          if (typeof given === 'boolean') {
            value = given ? 1 : 0;
            flags |= HAS_BOOL;
          } else if (reason === null) [reason, field] = ['bad_value', key];
          break;
        case 'vd': {
          fields |= OWN;
          valueCount++;
          const data = dataText(given);
          if (data !== null) {
            text = data;
            flags |= HAS_DATA;
          } else if (reason === null) [reason, field] = ['bad_value', key];
          break;
        }
        case 's':
          fields |= OWN;
          if (typeof given === 'number' && Number.isFinite(given)) {
            sum = given;
            flags |= HAS_SUM;
          } else if (reason === null) [reason, field] = ['bad_value', key];
          break;
        case 'ut':
          fields |= OWN;
          if (typeof given === 'number' && Number.isFinite(given)) {
            updateTime = given;
            flags |= HAS_UPDATE_TIME;
          } else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        case 'bn':
          fields |= BASE;
          if (typeof given === 'string') rows.useBase(given);
          else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        case 'bt':
          fields |= BASE;
          if (typeof given === 'number' && Number.isFinite(given)) baseTime = given;
          else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        case 'bu':
          fields |= BASE;
          if (typeof given === 'string' && given.length <= UNIT_SIZE_MAX) {
            baseUnit = given;
            if (!hasUnit) unit = given;
          } else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        case 'bv':
          fields |= BASE;
          if (typeof given === 'number' && Number.isFinite(given)) {
            baseValue = given;
            hasBaseValue = true;
          } else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        case 'bs':
          fields |= BASE;
          if (typeof given === 'number' && Number.isFinite(given)) {
            baseSum = given;
            hasBaseSum = true;
          } else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        case 'bver':
          fields |= BASE;
          if (typeof given === 'number' && Number.isInteger(given) && given > 0) {
            if (given > VERSION_BASE && given !== VERSION_SECONDARY_UNITS)
              return { reason: 'unsupported_version', detail: `record ${index}: bver ${given} is not known` };
          } else if (reason === null) [reason, field] = ['bad_field', key];
          break;
        default:
          if (key.charCodeAt(key.length - 1) === 0x5f) [reason, field] = ['must_understand', key];
      }
    }

    if (reason !== null) {
      left = bury(rows, left, { index, reason, detail: fieldDetail(reason, field), record }, [
        baseTime,
        baseUnit,
        baseValue,
        baseSum,
      ]);
      continue;
    }
    // Base fields for the records that follow, no reading of its own.
    if (fields === BASE) continue;
    if (valueCount > 1) {
      left = bury(rows, left, { index, reason: 'many_values', detail: 'more than one of v, vs, vb, vd', record }, [
        baseTime,
        baseUnit,
        baseValue,
        baseSum,
      ]);
      continue;
    }
    const nameIndex = rows.senmlName(name);
    if (nameIndex < 0) {
      const detail = nameIndex === -2 ? 'neither n nor bn' : 'base name and name together are no valid name';
      left = bury(rows, left, { index, reason: nameIndex === -2 ? 'missing_name' : 'bad_name', detail, record }, [
        baseTime,
        baseUnit,
        baseValue,
        baseSum,
      ]);
      continue;
    }
    if (hasBaseValue && (flags & HAS_VALUE || valueCount === 0)) {
      value += baseValue;
      flags |= HAS_VALUE;
    }
    if (hasBaseSum) {
      sum += baseSum;
      flags |= HAS_SUM;
    }
    if ((flags & ~HAS_UPDATE_TIME) === 0) {
      left = bury(rows, left, { index, reason: 'no_value', detail: 'none of v, vs, vb, vd, s', record }, [
        baseTime,
        baseUnit,
        baseValue,
        baseSum,
      ]);
      continue;
    }
    // Two finite numbers may add up to none.
    if (!Number.isFinite(value) || !Number.isFinite(sum)) {
      left = bury(
        rows,
        left,
        { index, reason: 'bad_value', detail: 'base value and value add up beyond a double', record },
        [baseTime, baseUnit, baseValue, baseSum],
      );
      continue;
    }
    const seconds = baseTime + time;
    const us = Math.round(seconds * 1e6) + (seconds < RELATIVE_TIME_S_MAX ? messageUs : 0);
    if (!(us >= TIME_US_MIN && us <= TIME_US_MAX)) {
      const detail = `the time ${seconds} s is before 1900 or after 2262`;
      left = bury(rows, left, { index, reason: 'time_out_of_range', detail, record }, [
        baseTime,
        baseUnit,
        baseValue,
        baseSum,
      ]);
      continue;
    }
    rows.add(index, nameIndex, unit === '' ? 0 : rows.unit(unit), us, flags, value, text, sum, updateTime);
  }
  return null;
}

/** A dead record, shown with the base fields that hold for it, so that it means the same alone.
 *  @returns characters of base fields that the records after it may be shown with */
function bury(
  rows: MessageRows,
  left: number,
  dead: Omit<DeadRecord, 'record'> & { readonly record: object },
  [bt, bu, bv, bs]: readonly [number, string, number, number],
): number {
  const { baseName: bn } = rows;
  const size = bn.length + bu.length;
  if (size > left || bn.length > NAME_SIZE_MAX) {
    rows.dead.push({ ...dead, detail: `${dead.detail}; ${DEAD_BASES_LOST}` });
    return left;
  }
  const bases = {
    ...(bn === '' ? {} : { bn }),
    ...(bt === 0 ? {} : { bt }),
    ...(bu === '' ? {} : { bu }),
    ...(bv === 0 ? {} : { bv }),
    ...(bs === 0 ? {} : { bs }),
  };
  rows.dead.push({ ...dead, record: { ...bases, ...dead.record } });
  return left - size;
}

/** base64url without padding, or null. JSON carries text, of either alphabet and padded or not; CBOR carries bytes. */
function dataText(given: unknown): string | null {
  if (given instanceof Uint8Array)
    return Buffer.from(given.buffer, given.byteOffset, given.length).toString('base64url');
  if (typeof given !== 'string' || !BASE64.test(given)) return null;
  const data = given.indexOf('=') === -1 ? given : given.slice(0, given.indexOf('='));
  return data.length % 4 === 1 ? null : Buffer.from(data, 'base64').toString('base64url');
}

function fieldDetail(reason: DeadReason, field: string): string {
  const shown = field.length > 64 ? `${field.slice(0, 64)}…` : field;
  return reason === 'must_understand' ? `the field ${shown} is not known` : `the field ${shown} has no valid value`;
}

/** Whether parsed JSON that came as application/json is SenML: an array that starts with a record. */
export function looksLikeSenml(value: unknown): boolean {
  if (!Array.isArray(value)) return false;
  const first: unknown = value[0];
  if (typeof first !== 'object' || first === null) return false;
  const record = first as Record<string, unknown>;
  if (typeof record.bn === 'string') return true;
  return typeof record.n === 'string' && SENML_VALUES.some((field) => Object.hasOwn(record, field));
}
const SENML_VALUES = ['v', 'vs', 'vb', 'vd', 's', 'bv', 'bs'];
