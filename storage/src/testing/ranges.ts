import type { NormalisedBatch } from '@millrace/core';
import { batchOf, RECEIVED_US } from './batches.ts';

/** Messages of a range, and readings of a message: one number and one text. */
export const RANGE_MESSAGES = 200;
export const MESSAGE_READINGS = 2;

/** Always the same batch for the same range, as a redo makes it. */
export function rangeBatch(range: number): NormalisedBatch {
  const first = range * RANGE_MESSAGES;
  return batchOf(
    first,
    Array.from({ length: RANGE_MESSAGES }, (_, index) => {
      const offset = first + index;
      const timeUs = RECEIVED_US + offset * 1_000;
      const id = `0190b1c2-0000-7000-8000-${String(offset).padStart(12, '0')}`;
      const readings = [
        { name: 'number', timeUs, value: offset },
        { name: 'text', timeUs, stringValue: String(offset) },
      ];
      return { id, receivedUs: timeUs, readings, payload: Buffer.from(String(offset)) };
    }),
  );
}
