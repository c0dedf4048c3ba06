import fc from 'fast-check';
import { ByteBuffer } from 'flatbuffers';
import { describe, expect, test } from 'vitest';
import { EnvelopeEncoder, type EnvelopeFields, EnvelopeReader } from './envelope/envelope.ts';
import { Envelope } from './envelope/generated/millrace/envelope.ts';
import { murmur2, partitionOf } from './murmur2.ts';
import { parseUuid, uuidText, uuidV7, writeUuidV7 } from './uuid.ts';

const bytes = (size: { minLength?: number; maxLength?: number }) => fc.uint8Array(size);
const fields: fc.Arbitrary<EnvelopeFields> = fc.record({
  id: bytes({ minLength: 16, maxLength: 16 }),
  org: fc.string(),
  channel: fc.string({ unit: 'grapheme' }),
  subtopic: fc.string(),
  publisher: fc.string(),
  protocol: fc.constantFrom(0, 1, 2, 3, 4, 5),
  contentType: fc.string(),
  receivedUs: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  payload: bytes({ maxLength: 3_000 }),
  traceContext: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
  dedupKey: fc.option(fc.string({ minLength: 1 }), { nil: undefined }),
  headers: fc.option(fc.array(fc.tuple(fc.string(), fc.string()), { minLength: 1, maxLength: 5 }), { nil: undefined }),
  admission: fc.option(
    fc.record({ version: fc.nat({ max: Number.MAX_SAFE_INTEGER }), mac: bytes({ minLength: 16, maxLength: 16 }) }),
    { nil: undefined },
  ),
});

describe('envelope', () => {
  const encoder = new EnvelopeEncoder();
  const reader = new EnvelopeReader();

  test('gives back what was put in, also at an offset in a larger buffer', () => {
    fc.assert(
      fc.property(fields, fc.nat({ max: 9 }), (given, shift) => {
        const encoded = encoder.encode(given);
        const large = new Uint8Array(encoded.length + shift + 3);
        large.set(encoded, shift);
        expect(reader.open(large, shift, shift + encoded.length)).toBe(true);
        expect(new Uint8Array(reader.id)).toEqual(given.id);
        expect(reader.org).toBe(given.org);
        expect(reader.channel).toBe(given.channel);
        expect(reader.subtopic).toBe(given.subtopic);
        expect(reader.publisher).toBe(given.publisher);
        expect(reader.protocol).toBe(given.protocol);
        expect(reader.contentType).toBe(given.contentType);
        expect(reader.receivedUs).toBe(given.receivedUs);
        expect(new Uint8Array(reader.payload)).toEqual(given.payload);
        expect(reader.traceContext).toBe(given.traceContext ?? '');
        expect(reader.dedupKey).toBe(given.dedupKey ?? '');
        expect(reader.headers).toEqual(given.headers ?? []);
        expect(reader.admissionVersion).toBe(given.admission?.version ?? -1);
        expect(reader.mac === null ? undefined : new Uint8Array(reader.mac)).toEqual(given.admission?.mac);
      }),
    );
  });

  test('is what the published schema says: the generated reader agrees', () => {
    fc.assert(
      fc.property(fields, (given) => {
        const envelope = Envelope.getRootAsEnvelope(new ByteBuffer(encoder.encode(given)));
        expect(envelope.org()).toBe(given.org);
        expect(envelope.channel()).toBe(given.channel);
        expect(envelope.subtopic() ?? '').toBe(given.subtopic);
        expect(envelope.received()).toBe(BigInt(given.receivedUs));
        expect(envelope.payloadArray()).toEqual(given.payload);
        expect(envelope.headersLength()).toBe(given.headers?.length ?? 0);
        expect(envelope.admission()?.version()).toEqual(given.admission && BigInt(given.admission.version));
      }),
    );
  });

  test('refuses hostile bytes or reads them within bounds, never throws', () => {
    fc.assert(
      fc.property(
        fields,
        fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 8 }),
        fc.nat(),
        (given, edits, cut) => {
          const hostile = encoder.encode(given).slice();
          for (const [at, value] of edits) hostile[at % Math.min(hostile.length, 200)] = value;
          const end = cut % 3 === 0 ? cut % (hostile.length + 1) : hostile.length;
          if (!reader.open(hostile, 0, end)) return;
          void [
            reader.org,
            reader.channel,
            reader.headers,
            reader.receivedUs,
            reader.admissionVersion,
            reader.dedupKey,
          ];
          expect(reader.payload.length).toBeLessThanOrEqual(end);
          expect(reader.id.length).toBe(16);
        },
      ),
      { numRuns: 5_000 },
    );
    fc.assert(
      fc.property(bytes({ maxLength: 300 }), (noise) => void reader.open(noise)),
      { numRuns: 5_000 },
    );
  });
});

describe('ids', () => {
  test('increase within a millisecond, and when the clock steps back', () => {
    const ids = [uuidV7(1_000_000), uuidV7(1_000_000), uuidV7(999), uuidV7(1_000_001)];
    expect(ids.toSorted()).toEqual(ids);
    const many = new Uint8Array(16 * 10_000);
    for (let index = 0; index < 10_000; index++) writeUuidV7(many, index * 16, 2_000_000);
    const texts = Array.from({ length: 10_000 }, (_, index) => uuidText(many, index * 16));
    expect(texts.toSorted()).toEqual(texts);
    expect(new Set(texts).size).toBe(10_000);
  });
  test('carry version 7, the variant and the time', () => {
    const id = uuidV7(Date.UTC(2030, 0, 1));
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(Number.parseInt(id.replace('-', '').slice(0, 12), 16)).toBe(Date.UTC(2030, 0, 1));
    expect(uuidText(parseUuid(id) as Uint8Array)).toBe(id);
    expect(parseUuid('nonsense')).toBeNull();
  });
});

describe('murmur2', () => {
  // org.apache.kafka.common.utils.UtilsTest#testMurmur2
  test.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('of %s is what the Kafka project says', (key, hash) => {
    expect(murmur2(Buffer.from(key))).toBe(hash);
    expect(partitionOf(Buffer.from(key), 7)).toBe((hash & 0x7fffffff) % 7);
  });
});
