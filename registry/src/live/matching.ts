import type { Comparator, Reading, ReadingsSelection } from '@millrace/core';

/** Whether a stored reading is among those that a selection means: the same answer as the store's own, but for
 *  `receivedBeforeUs`, which is not of what is yet to come.
 *  @holds texts compare by their bytes in UTF-8; NaN compares with nothing */
export function matcherOf(selection: ReadingsSelection): (reading: Reading) => boolean {
  const { namePrefix = '', fromUs, toUs, value, stringValue, boolValue } = selection;
  const channels = new Set(selection.channels);
  const publishers = among(selection.publishers);
  const names = among(selection.names);
  const subtopics = among(selection.subtopics);
  const protocols = among(selection.protocols);
  const fromNs = fromUs === undefined ? null : fromUs * 1_000n;
  const toNs = toUs === undefined ? null : toUs * 1_000n;
  const text = stringValue === undefined ? null : Buffer.from(stringValue.operand);
  const data = selection.dataValue === undefined ? null : Buffer.from(selection.dataValue, 'base64url');
  return (reading) => {
    if (!channels.has(reading.channel)) return false;
    if (!names(reading.name) || !reading.name.startsWith(namePrefix)) return false;
    if (!publishers(reading.publisher) || !subtopics(reading.subtopic) || !protocols(reading.protocol)) return false;
    if (fromNs !== null && BigInt(reading.timeNs) < fromNs) return false;
    if (toNs !== null && BigInt(reading.timeNs) >= toNs) return false;
    if (value !== undefined && (reading.value === undefined || !holds(reading.value, value.comparator, value.operand)))
      return false;
    if (stringValue !== undefined && text !== null) {
      if (reading.stringValue === undefined) return false;
      if (stringValue.comparator === 'contains') {
        if (!reading.stringValue.includes(stringValue.operand)) return false;
      } else if (!holds(Buffer.compare(Buffer.from(reading.stringValue), text), stringValue.comparator, 0))
        return false;
    }
    if (boolValue !== undefined && reading.boolValue !== boolValue) return false;
    if (data !== null) {
      if (reading.dataValue === undefined || !Buffer.from(reading.dataValue, 'base64url').equals(data)) return false;
    }
    return true;
  };
}

const any = (): boolean => true;
function among(values: readonly string[] | undefined): (value: string) => boolean {
  if (values === undefined) return any;
  const set = new Set(values);
  return (value) => set.has(value);
}

function holds(a: number, comparator: Comparator, b: number): boolean {
  if (comparator === 'eq') return a === b;
  if (comparator === 'lt') return a < b;
  if (comparator === 'le') return a <= b;
  if (comparator === 'gt') return a > b;
  return a >= b;
}
