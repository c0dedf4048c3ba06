import type { Reading } from '@millrace/core';
import { Encoder } from 'cbor-x';

interface Record {
  n: string;
  u?: string;
  t: number;
  ut?: number;
  v?: number;
  vs?: string;
  vb?: boolean;
  vd?: string;
  s?: number;
}

/** @units t in s since 1970, to the microsecond */
function recordOf(reading: Reading): Record {
  const record: Record = { n: reading.name, t: Number(BigInt(reading.timeNs) / 1_000n) / 1e6 };
  if (reading.unit !== '') record.u = reading.unit;
  if (reading.updateTime !== undefined) record.ut = reading.updateTime;
  if (reading.value !== undefined) record.v = reading.value;
  if (reading.stringValue !== undefined) record.vs = reading.stringValue;
  if (reading.boolValue !== undefined) record.vb = reading.boolValue;
  if (reading.dataValue !== undefined) record.vd = reading.dataValue;
  if (reading.sum !== undefined) record.s = reading.sum;
  return record;
}

/** @source RFC 8428 §5 */
export const senmlJson = (readings: readonly Reading[]): Buffer => Buffer.from(JSON.stringify(readings.map(recordOf)));

/** @source RFC 8428 §6 */
const LABELS: readonly (readonly [keyof Record, number])[] = [
  ['n', 0],
  ['u', 1],
  ['v', 2],
  ['vs', 3],
  ['vb', 4],
  ['s', 5],
  ['t', 6],
  ['ut', 7],
  ['vd', 8],
];
const cbor = new Encoder({ useRecords: false, mapsAsObjects: false, tagUint8Array: false });

/** @source RFC 8428 §6: labels are numbers, and data is bytes */
export function senmlCbor(readings: readonly Reading[]): Buffer {
  const pack = readings.map((reading) => {
    const record = recordOf(reading);
    const labelled = new Map<number, unknown>();
    for (const [name, label] of LABELS) {
      const value = record[name];
      if (value !== undefined) labelled.set(label, name === 'vd' ? Buffer.from(value as string, 'base64url') : value);
    }
    return labelled;
  });
  return cbor.encode(pack);
}
