import { StoreError } from '@millrace/core';

/** Where a page ended: the sort key of its last row. */
export interface Cursor {
  readonly order: 'time' | 'name';
  readonly direction: 'asc' | 'desc';
  readonly timeNs: string;
  readonly partition: number;
  readonly offset: string;
  readonly index: number;
  /** '' when the order is by time. */
  readonly name: string;
}

const TEXT_SIZE_MAX = 4_096;
const INT64 = /^-?\d{1,19}$/;
const UINT64 = /^\d{1,20}$/;

export function encodeCursor(cursor: Cursor): string {
  const { order, direction, timeNs, partition, offset, index, name } = cursor;
  return Buffer.from(JSON.stringify([1, order, direction, timeNs, partition, offset, index, name])).toString(
    'base64url',
  );
}

/** @throws StoreError STORE_QUERY_INVALID for what `encodeCursor` did not make, or made for another order */
export function decodeCursor(text: string, order: 'time' | 'name', direction: 'asc' | 'desc'): Cursor {
  const parts = parse(text);
  const [version, ofOrder, ofDirection, timeNs, partition, offset, index, name] = parts;
  const valid =
    parts.length === 8 &&
    version === 1 &&
    typeof timeNs === 'string' &&
    INT64.test(timeNs) &&
    isUint(partition, 0xffff) &&
    typeof offset === 'string' &&
    UINT64.test(offset) &&
    isUint(index, 0xffff_ffff) &&
    typeof name === 'string';
  if (!valid) throw new StoreError('STORE_QUERY_INVALID', 'never', { problem: 'cursor is not one that a page gave' });
  if (ofOrder !== order || ofDirection !== direction)
    throw new StoreError('STORE_QUERY_INVALID', 'never', { problem: 'cursor belongs to another order' });
  return { order, direction, timeNs, partition, offset, index, name };
}

/** Where a page of messages or dead letters ended, the newest first.  @shape index: -1 of a whole message */
export interface Place {
  readonly receivedUs: string;
  readonly partition: number;
  readonly offset: string;
  readonly index: number;
}

export function encodePlace({ receivedUs, partition, offset, index }: Place): string {
  return Buffer.from(JSON.stringify([2, receivedUs, partition, offset, index])).toString('base64url');
}

/** @throws StoreError STORE_QUERY_INVALID for what `encodePlace` did not make */
export function decodePlace(text: string): Place {
  const parts = parse(text);
  const [version, receivedUs, partition, offset, index] = parts;
  const valid =
    parts.length === 5 &&
    version === 2 &&
    typeof receivedUs === 'string' &&
    INT64.test(receivedUs) &&
    isUint(partition, 0xffff) &&
    typeof offset === 'string' &&
    UINT64.test(offset) &&
    typeof index === 'number' &&
    (index === -1 || isUint(index, 0xffff_ffff));
  if (!valid) throw new StoreError('STORE_QUERY_INVALID', 'never', { problem: 'cursor is not one that a page gave' });
  return { receivedUs, partition, offset, index };
}

const isUint = (value: unknown, max: number): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max;

function parse(text: string): readonly unknown[] {
  if (text.length > TEXT_SIZE_MAX || !/^[A-Za-z0-9_-]+$/.test(text)) return [];
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return Array.isArray(value) ? value : [];
  } catch {
    return [];
  }
}
