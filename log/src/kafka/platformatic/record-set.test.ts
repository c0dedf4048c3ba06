import { crc32c, createRecordsBatch, Reader, readRecordsBatches } from '@platformatic/kafka';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decompress } from './codecs.ts';
import { encodeBatch } from './record-batch.ts';
import { RecordSet } from './record-set.ts';

const IDENTITY = { producerId: 4_611_686_018_427_387_905n, producerEpoch: 3, sequence: 2 ** 31 - 1 };
const NOW = 1_763_700_000_123;
const TRANSACTIONAL = 1 << 4;
const CONTROL = 1 << 5;

const recordOf = (key: string | null, value: Uint8Array) => ({
  topic: 't',
  partition: 0,
  key,
  value: Buffer.from(value),
});
const someRecords = fc.array(
  fc.record({ key: fc.option(fc.string({ unit: 'binary', maxLength: 40 })), value: fc.uint8Array({ maxLength: 300 }) }),
  { minLength: 1, maxLength: 200 },
);

/** What a set holds, as [offset, value]. */
async function read(set: RecordSet): Promise<[number, string][]> {
  const found: [number, string][] = [];
  for (let batch = await set.decode(decompress); batch !== null; batch = await set.decode(decompress)) {
    const { base, bytes, count, deltas, sizes, starts } = batch;
    for (let index = 0; index < count; index++) {
      const start = starts[index] as number;
      const value = bytes.subarray(start, start + (sizes[index] as number));
      found.push([base + (deltas[index] as number), value.toString('hex')]);
    }
  }
  return found;
}

/** A batch as a broker keeps it: with an offset of its own. */
const at = (offset: number, batch: Buffer): Buffer => {
  batch.writeBigInt64BE(BigInt(offset), 0);
  return batch;
};
const ofValues = (...values: string[]): Promise<Buffer> =>
  encodeBatch(
    values.map((value) => recordOf(null, Buffer.from(value))),
    IDENTITY,
    NOW,
    null,
  );
const texts = async (set: RecordSet): Promise<string[]> =>
  (await read(set)).map(([offset, hex]) => `${offset} ${Buffer.from(hex, 'hex').toString()}`);

describe('record batches', () => {
  test('the library reads what is written, keys, identity and checksum included', async () => {
    await fc.assert(
      fc.asyncProperty(someRecords, async (records) => {
        const bytes = await encodeBatch(
          records.map(({ key, value }) => recordOf(key, value)),
          IDENTITY,
          NOW,
          null,
        );
        const [batch, ...more] = readRecordsBatches(Reader.from(bytes));
        expect(more).toEqual([]);
        expect(batch).toMatchObject({
          producerId: IDENTITY.producerId,
          producerEpoch: 3,
          firstSequence: IDENTITY.sequence,
          firstTimestamp: BigInt(NOW),
          lastOffsetDelta: records.length - 1,
        });
        expect(
          batch?.records.map(({ key, value, offsetDelta }) => [
            key?.toString() ?? null,
            [...(value ?? [])],
            offsetDelta,
          ]),
        ).toEqual(
          records.map(({ key, value }, index) => [
            key === null ? null : Buffer.from(key).toString(),
            [...value],
            index,
          ]),
        );
        expect((await read(new RecordSet(bytes, []))).length).toBe(records.length);
      }),
    );
  });

  test('what the library writes is read, empty values and tombstones too', async () => {
    await fc.assert(
      fc.asyncProperty(someRecords, fc.integer({ min: 0, max: 2 ** 40 }), async (records, base) => {
        const messages = records.map(({ key, value }, index) => ({
          topic: 't',
          partition: 0,
          ...(key === null ? {} : { key: Buffer.from(key) }),
          value: index % 7 === 3 ? (null as unknown as Buffer) : Buffer.from(value),
          headers: new Map([[Buffer.from('h'), Buffer.from('v')]]),
          timestamp: BigInt(NOW + index * 1_000),
        }));
        const bytes = at(base, Buffer.from(createRecordsBatch(messages).buffer));
        const set = new RecordSet(bytes, []);
        expect(set.next).toBe(base + records.length);
        expect(await read(set)).toEqual(
          records.map(({ value }, index) => [base + index, index % 7 === 3 ? '' : Buffer.from(value).toString('hex')]),
        );
      }),
    );
  });

  test('the same bytes are made again under the same sequence number, so that a broker knows them', async () => {
    expect((await ofValues('a', 'b')).equals(await ofValues('a', 'b'))).toBe(true);
  });

  test('a batch that is cut off is not there yet, and one that is damaged is told', async () => {
    const [first, second] = [at(5, await ofValues('a', 'b')), at(7, await ofValues('c'))];
    const cut = new RecordSet(Buffer.concat([first, second.subarray(0, second.length - 1)]), []);
    expect(cut.next).toBe(7);
    expect(await texts(cut)).toEqual(['5 a', '6 b']);
    const damaged = Buffer.from(first);
    damaged[damaged.length - 2] = (damaged[damaged.length - 2] as number) ^ 1;
    await expect(read(new RecordSet(damaged, []))).rejects.toThrow('damaged');
  });

  test('whatever the bytes are, it ends, and reads or tells that it can not', async () => {
    const whole = at(0, await ofValues('one', 'two', 'three'));
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(255), async (where, byte) => {
        const bytes = Buffer.from(whole);
        bytes[where] = byte;
        await read(new RecordSet(bytes, [])).catch((error: unknown) => expect(error).toBeInstanceOf(RangeError));
      }),
    );
  });

  test('what a transaction gave up is not seen, nor are the marks of its end', async () => {
    const marked = async (offset: number, attributes: number, ...values: string[]): Promise<Buffer> => {
      const bytes = at(offset, await ofValues(...values));
      bytes.writeInt16BE(attributes, 21);
      return resealed(bytes);
    };
    const abort = resealed(at(3, await endOfTransaction(0)));
    const all = Buffer.concat([
      await marked(0, TRANSACTIONAL, 'given up', 'given up too'),
      at(2, await ofValues('plain')),
      abort,
      await marked(4, TRANSACTIONAL, 'kept'),
      resealed(at(5, await endOfTransaction(1))),
    ]);
    // The plain one is of another producer.
    all.writeBigInt64BE(7n, (await marked(0, TRANSACTIONAL, 'given up', 'given up too')).length + 43);
    const set = new RecordSet(sealedAgain(all), [{ producerId: IDENTITY.producerId, firstOffset: 0 }]);
    expect(await texts(set)).toEqual(['2 plain', '4 kept']);
    expect(set.next).toBe(6);
  });
});

async function endOfTransaction(type: number): Promise<Buffer> {
  const key = Buffer.from([0, 0, 0, type]).toString('latin1');
  const bytes = await encodeBatch([recordOf(key, Buffer.alloc(6))], IDENTITY, NOW, null);
  bytes.writeInt16BE(TRANSACTIONAL | CONTROL, 21);
  return bytes;
}

/** With the checksum of what it holds now. */
function resealed(batch: Buffer): Buffer {
  batch.writeUInt32BE(crc32c(batch.subarray(21)), 17);
  return batch;
}

function sealedAgain(batches: Buffer): Buffer {
  for (let start = 0; start < batches.length; ) {
    const end = start + 12 + batches.readInt32BE(start + 8);
    resealed(batches.subarray(start, end));
    start = end;
  }
  return batches;
}
