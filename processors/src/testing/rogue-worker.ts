import { EnvelopeReader } from '@millrace/core';
import type { BatchTask } from '../batch/task.ts';
import normalise from '../worker.ts';

/** A worker that does what payloads tell it to: `hang!`, `exit!`, `throw!`, `swallow!` (all memory). */
export default function misbehave(task: BatchTask): unknown {
  const view = Buffer.from(task.bytes.buffer, task.bytes.byteOffset, task.bytes.length);
  const envelope = new EnvelopeReader();
  let index = 0;
  for (let at = 0; at < view.length; index++) {
    const end = at + 4 + view.readUInt32LE(at);
    if (envelope.open(view, at + 4, end)) {
      if (task.inHand !== null) Atomics.store(task.inHand, 0, index);
      obey(envelope.payload.toString('latin1'));
    }
    at = end;
  }
  return normalise(task);
}

function obey(order: string): void {
  if (order === 'hang!') for (;;);
  if (order === 'exit!') process.exit(7);
  if (order === 'throw!') throw new Error('as told');
  if (order === 'swallow!') for (const held: unknown[] = []; ; ) held.push(Array.from({ length: 10_000 }, Math.random));
}
