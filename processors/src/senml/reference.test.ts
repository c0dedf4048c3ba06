import fc from 'fast-check';
import { expect, test } from 'vitest';
import { envelopeOf, RECEIVED_US, taskOf } from '../testing/envelopes.ts';
import { normalised } from '../testing/rows.ts';

type Fields = Record<string, unknown>;
interface Resolved {
  readonly index: number;
  readonly name: string;
  readonly unit: string;
  readonly timeUs: number;
  readonly value: unknown;
  readonly sum: number | null;
}

/** RFC 8428 read word for word, slowly: each record on its own, out of the base fields of all records up to it. */
function reference(pack: readonly Fields[]): Resolved[] {
  const resolved: Resolved[] = [];
  pack.forEach((record, index) => {
    const base = (key: string): unknown => pack.slice(0, index + 1).findLast((each) => key in each)?.[key];
    const values = ['v', 'vs', 'vb'].filter((key) => key in record);
    const bases = Object.keys(record).every((key) => key.startsWith('b'));
    if (values.length > 1 || (bases && Object.keys(record).length > 0)) return;
    const name = `${base('bn') ?? ''}${record.n ?? ''}`;
    if (!/^[a-zA-Z0-9][a-zA-Z0-9\-:./_]*$/.test(name)) return;
    const [key] = values;
    const bv = base('bv') as number | undefined;
    const bs = base('bs') as number | undefined;
    let value: unknown = key === undefined ? null : record[key];
    if (bv !== undefined && (key === undefined || key === 'v')) value = ((value as number | null) ?? 0) + bv;
    const sum = 's' in record || bs !== undefined ? ((record.s as number | undefined) ?? 0) + (bs ?? 0) : null;
    if (value === null && sum === null) return;
    const seconds = ((base('bt') as number | undefined) ?? 0) + ((record.t as number | undefined) ?? 0);
    const timeUs = seconds < 2 ** 28 ? RECEIVED_US + Math.round(seconds * 1e6) : Math.round(seconds * 1e6);
    const unit = (record.u ?? base('bu') ?? '') as string;
    resolved.push({ index, name, unit, timeUs, value, sum });
  });
  return resolved.sort((a, b) => a.timeUs - b.timeUs || a.index - b.index);
}

const text = fc.constantFrom('', 'a', 'b:', 'urn:dev:', '-x', 'ü', 'temp', '1/2_3');
const number = fc.oneof(fc.integer({ min: -1_000, max: 1_000 }), fc.double({ min: -1e6, max: 1e6, noNaN: true }));
const time = fc.oneof(
  fc.integer({ min: -100, max: 100 }),
  fc.double({ min: -1e3, max: 1e3, noNaN: true }),
  fc.constantFrom(0, 2 ** 28 - 1, 2 ** 28, 1_700_000_000.123456),
);
const record: fc.Arbitrary<Fields> = fc.record(
  {
    bn: text,
    bt: time,
    bu: text,
    bv: number,
    bs: number,
    n: text,
    u: text,
    t: time,
    v: number,
    vs: text,
    vb: fc.boolean(),
    s: number,
  },
  { requiredKeys: [] },
);

test('random packs resolve as the RFC says, word for word', () => {
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 12 }), (records) => {
      const pack = JSON.parse(JSON.stringify(records)) as Fields[];
      const rows = normalised(taskOf([envelopeOf({ payload: JSON.stringify(pack) })]));
      const seen = rows.readings.map((row) => ({
        index: row.index,
        name: row.name,
        unit: row.unit ?? '',
        timeUs: Number((row.time as bigint) / 1_000n),
        value: row.kind === 'string' ? (row.string_value ?? '') : (row.value ?? row.bool_value ?? null),
        sum: row.sum ?? null,
      }));
      expect(seen).toEqual(reference(pack));
    }),
    { numRuns: 2_000 },
  );
});
