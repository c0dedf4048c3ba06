// hot
import type { LogBatch } from '@millrace/core';

export interface Message {
  readonly offset: string;
  readonly value: Uint8Array | null;
}

/** Messages [head, end) of one partition as a batch; a tombstone becomes an empty record.
 *  @holds size = the sum of 4 + length over them; offsets ascend, and may have gaps where Kafka keeps markers of its own
 *         or has compacted */
export function frameBatch(
  partition: number,
  messages: readonly Message[],
  head: number,
  end: number,
  size: number,
): LogBatch {
  const bytes = new Uint8Array(size);
  const count = end - head;
  const first = Number((messages[head] as Message).offset);
  const last = Number((messages[end - 1] as Message).offset);
  const gaps = last - first + 1 !== count;
  const offsets = gaps ? new Float64Array(count) : null;
  let at = 0;
  for (let index = head; index < end; index++) {
    const { value, offset } = messages[index] as Message;
    const length = value === null ? 0 : value.length;
    bytes[at] = length;
    bytes[at + 1] = length >>> 8;
    bytes[at + 2] = length >>> 16;
    bytes[at + 3] = length >>> 24;
    if (value !== null) bytes.set(value, at + 4);
    at += 4 + length;
    if (offsets !== null) offsets[index - head] = Number(offset);
  }
  return { partition, first, last, count, bytes, offsets };
}
