import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { Builder } from 'flatbuffers';
import { describe, expect, test } from 'vitest';
import { EnvelopeEncoder, type EnvelopeFields, EnvelopeReader, Protocol } from './envelope.ts';
import { EnvelopeEncoder as FirstEncoder, EnvelopeReader as FirstReader } from './released/1/envelope.ts';

/** While nodes are upgraded one by one, old and new programs write to one log and read from it. `released/` keeps every
 *  schema that a release wrote, and the whole codec of the first. */
const RELEASED = new URL('./released/', import.meta.url);
const releases = readdirSync(RELEASED)
  .map(Number)
  .toSorted((a, b) => a - b);
const schemaOf = (release: number): string => readFileSync(new URL(`${release}/envelope.fbs`, RELEASED), 'utf8');
const current = readFileSync(new URL('./envelope.fbs', import.meta.url), 'utf8');

const identity = { minLength: 16, maxLength: 16 };
const text = fc.string({ minLength: 1 });
const known: fc.Arbitrary<EnvelopeFields> = fc.record({
  id: fc.uint8Array(identity),
  org: text,
  channel: text,
  subtopic: fc.string(),
  publisher: text,
  protocol: fc.constantFrom(0, 1, 2, 3, 4, 5),
  contentType: fc.string(),
  receivedUs: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
  payload: fc.uint8Array({ maxLength: 500 }),
  traceContext: fc.option(text, { nil: undefined }),
  dedupKey: fc.option(text, { nil: undefined }),
  headers: fc.option(fc.array(fc.tuple(text, fc.string()), { minLength: 1, maxLength: 3 }), { nil: undefined }),
  admission: fc.option(fc.record({ version: fc.nat({ max: Number.MAX_SAFE_INTEGER }), mac: fc.uint8Array(identity) }), {
    nil: undefined,
  }),
});
/** What came after the first release. */
const later = fc.record({
  qos: fc.constantFrom(0, 1, 2, undefined),
  retain: fc.boolean(),
  timeUs: fc.option(fc.nat({ max: Number.MAX_SAFE_INTEGER }), { nil: undefined }),
});

interface Readable extends Omit<FirstReader, 'open'> {}
function facts(reader: Readable) {
  const { org, channel, subtopic, publisher, protocol, contentType, receivedUs, traceContext, dedupKey } = reader;
  const { headers, admissionVersion } = reader;
  return {
    ...{ org, channel, subtopic, publisher, protocol, contentType, receivedUs, traceContext, dedupKey },
    ...{ headers, admissionVersion },
    id: Buffer.from(reader.id).toString('hex'),
    payload: Buffer.from(reader.payload).toString('hex'),
    mac: reader.mac === null ? null : Buffer.from(reader.mac).toString('hex'),
  };
}

function factsOf(given: EnvelopeFields): ReturnType<typeof facts> {
  return {
    org: String(given.org),
    channel: String(given.channel),
    subtopic: String(given.subtopic),
    publisher: String(given.publisher),
    protocol: given.protocol,
    contentType: String(given.contentType),
    receivedUs: given.receivedUs,
    traceContext: given.traceContext ?? '',
    dedupKey: given.dedupKey ?? '',
    headers: (given.headers ?? []).map(([name, value]) => [name, value]),
    admissionVersion: given.admission?.version ?? -1,
    id: Buffer.from(given.id).toString('hex'),
    payload: Buffer.from(given.payload).toString('hex'),
    mac: given.admission === undefined ? null : Buffer.from(given.admission.mac).toString('hex'),
  };
}

describe('envelopes of old and new programs on one log', () => {
  test('what the first release wrote is read by this one, with the defaults of what it did not know', () => {
    const encoder = new FirstEncoder();
    const reader = new EnvelopeReader();
    fc.assert(
      fc.property(known, (given) => {
        expect(reader.open(encoder.encode(given))).toBe(true);
        expect(facts(reader)).toEqual(factsOf(given));
        expect({ qos: reader.qos, retain: reader.retain, timeUs: reader.timeUs }).toEqual({
          qos: 1,
          retain: false,
          timeUs: given.receivedUs,
        });
      }),
    );
  });

  test('what this one writes is read by the first release, which passes over what it does not know', () => {
    const encoder = new EnvelopeEncoder();
    const reader = new FirstReader();
    fc.assert(
      fc.property(known, later, (given, more) => {
        expect(reader.open(encoder.encode({ ...given, ...more }))).toBe(true);
        expect(facts(reader)).toEqual(factsOf(given));
      }),
    );
  });

  test('what a later release may write is read by this one: more fields, a protocol that it does not know', () => {
    const builder = new Builder(256);
    const vector = (bytes: number[]) => builder.createByteVector(Uint8Array.from(bytes));
    const [novelty, payload, id] = [builder.createString('novel'), vector([1, 2, 3]), vector(new Array(16).fill(7))];
    const [org, channel, publisher] = ['o', 'c', 'p'].map((each) => builder.createString(each)) as [
      number,
      number,
      number,
    ];
    builder.startObject(19);
    builder.addFieldOffset(0, id, 0);
    builder.addFieldOffset(1, org, 0);
    builder.addFieldOffset(2, channel, 0);
    builder.addFieldOffset(4, publisher, 0);
    builder.addFieldInt8(5, 17, 0);
    builder.addFieldInt64(7, 1_700_000_000_000_000n, 0n);
    builder.addFieldOffset(12, payload, 0);
    builder.addFieldInt64(16, 5n, 0n);
    builder.addFieldOffset(17, novelty, 0);
    builder.addFieldInt8(18, 1, 0);
    builder.finish(builder.endObject(), 'MLRC');
    const reader = new EnvelopeReader();
    expect(reader.open(builder.asUint8Array())).toBe(true);
    expect(facts(reader)).toMatchObject({ org: 'o', channel: 'c', publisher: 'p', receivedUs: 1_700_000_000_000_000 });
    expect(reader.protocol).toBe(Protocol.unknown);
    expect([...reader.payload]).toEqual([1, 2, 3]);
  });

  test.each(releases)('the schema only grows: all of release %i is in it, in its place', (release) => {
    const [before, now] = [declarations(schemaOf(release)), declarations(current)];
    for (const [name, members] of before) expect(now.get(name)?.slice(0, members.length), name).toEqual(members);
  });

  test('the newest released schema is this one: what is written was kept here', () => {
    expect(declarations(schemaOf(releases.at(-1) as number))).toEqual(declarations(current));
  });
});

/** Tables and enums with their members, in order. */
function declarations(schema: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const bare = schema.replaceAll(/\/\/.*$/gm, '');
  for (const [, kind, name, body = ''] of bare.matchAll(/(table|enum) (\w+)[^{]*\{([^}]*)\}/g)) {
    const members = body.split(kind === 'enum' ? ',' : ';').map((each) => each.trim().replaceAll(/\s+/g, ' '));
    found.set(
      `${kind} ${name}`,
      members.filter((each) => each !== ''),
    );
  }
  return found;
}
