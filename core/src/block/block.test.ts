import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { packBatch, unpackBatch } from './batch.ts';
import { Block } from './block.ts';
import {
  Int64Column,
  LowCardinalityColumn,
  NullableColumn,
  NumberColumn,
  StringColumn,
  UuidColumn,
  writeVarint,
} from './columns.ts';
import { blockOf, deadLettersColumns, messageLogColumns, messagesColumns, readingsColumns } from './tables.ts';

// That the engine reads these blocks is shown in storage, against the engine itself. Here: the layout's own rules.
function bytesOf(block: Block): Buffer {
  const out = Buffer.alloc(block.sizeMax);
  return out.subarray(0, block.write(out, 0));
}

describe('columns', () => {
  test('64-bit times keep every nanosecond of a microsecond, before 1970 too', () => {
    fc.assert(
      fc.property(fc.integer({ min: -2_208_988_800_000_000, max: Number.MAX_SAFE_INTEGER }), (us) => {
        const column = new Int64Column('time', 'DateTime64(9)');
        column.addMicroseconds(us);
        column.add(us);
        const out = Buffer.alloc(16);
        column.write(out, 0);
        expect(out.readBigInt64LE(0)).toBe(BigInt(us) * 1_000n);
        expect(out.readBigInt64LE(8)).toBe(BigInt(us));
      }),
    );
  });

  test('text keeps its bytes, whatever its length', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 300 })), (texts) => {
        const column = new StringColumn('s');
        for (const text of texts) column.addText(text);
        const out = Buffer.alloc(column.sizeMax);
        expect(column.write(out, 0)).toBe(out.length);
        const wanted = Buffer.concat(
          texts.map((text) => {
            const head = Buffer.alloc(5);
            const size = Buffer.byteLength(text);
            return Buffer.concat([head.subarray(0, writeVarint(head, 0, size)), Buffer.from(text)]);
          }),
        );
        expect(out).toEqual(wanted);
      }),
    );
  });

  test.each([
    [3, 1],
    [300, 2],
    [70_000, 4],
  ])('a dictionary of %i values takes %i bytes an index', (distinct, width) => {
    const column = new LowCardinalityColumn('name');
    for (let value = 0; value < distinct; value++) column.addText(`v${value}`);
    column.addText('v0');
    const out = Buffer.alloc(column.sizeMax);
    const end = column.write(out, 0);
    expect(out.readBigUInt64LE(16)).toBe(BigInt(distinct + 1));
    const rows = distinct + 1;
    expect(out.readUIntLE(end - width, width)).toBe(1);
    expect(Number(out.readBigUInt64LE(end - rows * width - 8))).toBe(rows);
  });

  test('a UUID is written as two little-endian halves', () => {
    const column = new UuidColumn('id');
    column.add(Uint8Array.from({ length: 16 }, (_, index) => index));
    const out = Buffer.alloc(16);
    column.write(out, 0);
    expect([...out]).toEqual([7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8]);
  });
});

describe('block', () => {
  test('leaves out columns that hold nothing but defaults, and can be filled again after clear', () => {
    const count = new NumberColumn('n', 'UInt8', Uint8Array);
    const empty = new StringColumn('s');
    const absent = new NullableColumn('v', 'Float64', Float64Array);
    const block = new Block([count, empty, absent]);
    for (const value of [1, 2]) {
      count.add(value);
      empty.addEmpty();
      absent.addNull();
    }
    const first = bytesOf(block);
    expect([...first.subarray(0, 2)]).toEqual([1, 2]);
    block.clear();
    count.add(7);
    empty.addText('x');
    absent.add(1.5);
    expect([...bytesOf(block).subarray(0, 2)]).toEqual([3, 1]);
  });

  test('refuses columns of different counts rather than writing rows that are shifted', () => {
    const a = new NumberColumn('a', 'UInt8', Uint8Array);
    const b = new NumberColumn('b', 'UInt8', Uint8Array);
    a.add(1);
    expect(() => bytesOf(new Block([a, b]))).toThrow(/column b has 0 of 1 rows/);
  });

  test('a batch is unpacked as it was packed', () => {
    const readings = readingsColumns();
    const blocks = {
      readings: blockOf(readings),
      messages: blockOf(messagesColumns()),
      message_log: blockOf(messageLogColumns()),
      dead_letters: blockOf(deadLettersColumns()),
    };
    const tally = {
      messages: 1,
      readings: 0,
      stored: 0,
      dropped: { duplicate: 1 },
      dead: {},
      deadRecords: {},
      filteredReadings: 0,
    };
    const batch = unpackBatch(packBatch(blocks, tally), 3, 10, 11);
    expect(batch).toMatchObject({ partition: 3, first: 10, last: 11, tally });
    expect(batch.blocks.readings.rowCount).toBe(0);
    expect(batch.blocks.dead_letters.bytes.length).toBe(0);
  });
});
