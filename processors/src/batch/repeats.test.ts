import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { envelopeOf, type MessageFields, RECEIVED_US, taskOf } from '../testing/envelopes.ts';
import { newNormaliser, rowsOf } from '../testing/rows.ts';
import { NOWHERE, RepeatTable } from './repeat-table.ts';

const keyed = (dedupKey: string, fields: MessageFields = {}) => envelopeOf({ dedupKey, ...fields });

/** Whether each message was taken for one that repeats. */
function repeated(
  records: readonly Uint8Array[],
  options: { table?: RepeatTable; first?: number; recordsMax?: number; secondsMax?: number } = {},
): boolean[] {
  const { table = RepeatTable.create(100), first = 0, recordsMax = 1_000, secondsMax = 3_600 } = options;
  const answer = newNormaliser().run(
    taskOf(records, {
      first,
      last: first + records.length - 1,
      repeats: table.buffer,
      repeatWindow: { recordsMax, secondsMax },
      grants: [{ ...need, forbidden: null, channelId: 'channel', groups: [], rules }],
    }),
  );
  return rowsOf(answer).message_log.map(({ reason }) => reason === 'duplicate');
}
const need = { subject: 'thing', org: 'org', channel: 'channel' };
const rules = [{ type: 'p' as const, values: ['thing', 'org', 'channels/channel', 'publish', 'allow', ''] }];

describe('a message that repeats an earlier one', () => {
  test('is dropped, and its fate tells why', () => {
    const rows = rowsOf(newNormaliser().run(taskOf([keyed('k'), keyed('k'), keyed('l')])));
    expect(rows.readings).toHaveLength(2);
    expect(rows.message_log.map(({ stored, reason = '' }) => [stored, reason])).toEqual([
      ['readings', ''],
      ['nothing', 'duplicate'],
      ['readings', ''],
    ]);
    expect(rows.tally).toMatchObject({ messages: 3, stored: 2, dropped: { duplicate: 1 } });
  });
  test('is told by publisher, channel and key together', () => {
    expect(
      repeated([keyed('k'), keyed('k', { publisher: 'other' }), keyed('k', { channel: 'other' }), keyed('k')]),
    ).toEqual([false, false, false, true]);
  });
  test('is found in a batch before', () => {
    const table = RepeatTable.create(100);
    expect(repeated([keyed('a'), keyed('b')], { table })).toEqual([false, false]);
    expect(repeated([envelopeOf(), keyed('b'), keyed('c'), keyed('c')], { table, first: 2 })).toEqual([
      false,
      true,
      false,
      true,
    ]);
  });
  test('is one only within the window of records, from the last message with its key', () => {
    const other = envelopeOf();
    const window = { recordsMax: 2 };
    expect(repeated([keyed('k'), other, keyed('k')], window)).toEqual([false, false, true]);
    expect(repeated([keyed('k'), other, other, keyed('k')], window)).toEqual([false, false, false, false]);
    // What repeats is itself repeated: nothing but what stands in the window matters.
    expect(repeated([keyed('k'), other, keyed('k'), other, keyed('k')], window)[4]).toBe(true);
    const table = RepeatTable.create(100);
    repeated([keyed('k')], { table });
    expect(repeated([keyed('k')], { table, first: 3, ...window })).toEqual([false]);
  });
  test('is one only within the window of time, whichever way clocks went', () => {
    const at = (seconds: number) => keyed('k', { receivedUs: RECEIVED_US + seconds * 1_000_000 });
    expect(repeated([at(0), at(10)], { secondsMax: 10 })).toEqual([false, true]);
    expect(repeated([at(0), at(11)], { secondsMax: 10 })).toEqual([false, false]);
    expect(repeated([at(0), at(-100)], { secondsMax: 10 })).toEqual([false, true]);
  });
  test('repeats only what bore an admission: nobody can make another one’s message a repeated one', () => {
    const unsealed = keyed('k', { sealed: false });
    expect(repeated([unsealed, keyed('k'), unsealed])).toEqual([false, false, true]);
  });
  test('asks for what was before, once a key comes, and only then', () => {
    const normaliser = newNormaliser();
    expect(normaliser.run(taskOf([envelopeOf()], { repeats: null })).kind).toBe('rows');
    expect(normaliser.run(taskOf([envelopeOf(), keyed('k')], { repeats: null }))).toMatchObject({
      kind: 'needs',
      needs: [],
      repeats: true,
    });
    const both = taskOf([keyed('k', { sealed: false })], { repeats: null });
    expect(normaliser.run(both)).toMatchObject({ kind: 'needs', needs: [need], repeats: false });
  });
  test('is the same one when a batch is run again, as it is when nothing of it was kept', () => {
    const table = RepeatTable.create(100);
    const records = [keyed('a'), keyed('b', { sealed: false, publisher: 'stranger' }), keyed('a')];
    const normaliser = newNormaliser();
    const task = () => taskOf(records, { repeats: table.buffer });
    expect(normaliser.run(task()).kind).toBe('needs');
    expect(table.used).toBe(0);
    expect(repeated([keyed('a'), keyed('a')], { table })).toEqual([false, true]);
  });
});

test('learning from the log gives the very same answers as having carried it', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ key: fc.integer({ min: 0, max: 6 }), sealed: fc.boolean() }), {
        minLength: 2,
        maxLength: 40,
      }),
      fc.integer({ min: 1, max: 39 }),
      fc.integer({ min: 1, max: 10 }),
      (messages, split, recordsMax) => {
        const first = Math.min(split, messages.length - 1);
        const records = messages.map(({ key, sealed }) => keyed(key === 0 ? '' : `k${key}`, { sealed }));
        const carried = repeated(records, { recordsMax });
        const from = Math.max(0, first - recordsMax);
        const table = RepeatTable.create(records.length);
        // What is beyond `last` is not learned.
        const part = taskOf(records.slice(from), { first: from, last: first - 1, repeats: table.buffer });
        expect(newNormaliser().learn(part)).toEqual({ kind: 'learned' });
        const again = repeated(records.slice(first), {
          table: table.grown(100, first - recordsMax),
          first,
          recordsMax,
        });
        expect(again).toEqual(carried.slice(first));
      },
    ),
    { numRuns: 150 },
  );
});

describe('the table of keys', () => {
  test('finds what was put last, through growing, without what is too old', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 500 }), fc.boolean()), { maxLength: 800 }), (steps) => {
        const wanted = new Map<number, number>();
        let table = RepeatTable.create(0);
        let oldest = 0;
        steps.forEach(([key, grows], offset) => {
          if (grows && offset % 50 === 0) {
            oldest = offset - 100;
            table = table.grown(1, oldest);
          } else if (!table.hasRoom(1)) table = table.grown(1, 0);
          table.put(table.keyOf('p', 'c', `${key}`), offset + 2 ** 33, offset);
          wanted.set(key, offset);
        });
        for (const [key, offset] of wanted) {
          if (offset < oldest) continue;
          const seen = { receivedS: -1 };
          expect(table.find(table.keyOf('p', 'c', `${key}`), seen)).toBe(offset + 2 ** 33);
          expect(seen.receivedS).toBe(offset);
        }
        expect(table.find(table.keyOf('q', 'c', '1'), { receivedS: 0 })).toBe(NOWHERE);
      }),
      { numRuns: 50 },
    );
  });
  test('leaves out what is too old when it grows', () => {
    const table = RepeatTable.create(10);
    for (let offset = 0; offset < 10; offset++) table.put(table.keyOf('p', 'c', `${offset}`), offset, 0);
    const grown = table.grown(5, 7);
    expect(grown.used).toBe(3);
    expect(grown.find(grown.keyOf('p', 'c', '6'), { receivedS: 0 })).toBe(NOWHERE);
    expect(grown.find(grown.keyOf('p', 'c', '7'), { receivedS: 0 })).toBe(7);
  });
});
