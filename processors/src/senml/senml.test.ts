import { readFileSync } from 'node:fs';
import { Encoder } from 'cbor-x';
import { describe, expect, test } from 'vitest';
import { envelopeOf, taskOf } from '../testing/envelopes.ts';
import { normalised, type Row } from '../testing/rows.ts';
import { SENML_LABELS } from './labels.ts';

interface Case {
  readonly id: string;
  readonly pack: unknown;
  readonly readings: readonly Record<string, unknown>[];
  readonly dead?: readonly { readonly index: number | null; readonly reason: string }[];
}
const vectors = JSON.parse(readFileSync(new URL('./vectors.json', import.meta.url), 'utf8')) as {
  readonly received_us: string;
  readonly cases: readonly Case[];
};
const receivedUs = Number(vectors.received_us);

const cbor = new Encoder({ useRecords: false });
const LABELS = new Map([...SENML_LABELS].map(([label, name]) => [name, label]));

/** As CBOR says it: integer labels, data as bytes. */
function toCbor(pack: unknown): Buffer {
  const record = (given: unknown): unknown =>
    new Map(
      Object.entries(given as object).map(([key, value]) => [
        LABELS.get(key) ?? key,
        key === 'vd' && typeof value === 'string' ? Buffer.from(value, 'base64url') : value,
      ]),
    );
  return cbor.encode(Array.isArray(pack) ? pack.map(record) : record(pack));
}

const read = (contentType: string, payload: Uint8Array | string) =>
  normalised(taskOf([envelopeOf({ contentType, payload, receivedUs })], { raw: 'none' }));
const json = (pack: unknown) => read('application/senml+json', JSON.stringify(pack));

function shown(row: Row): Record<string, unknown> {
  const reading: Record<string, unknown> = {
    name: row.name ?? '',
    unit: row.unit ?? '',
    time_us: String((row.time as bigint) / 1_000n),
  };
  if (typeof row.value === 'number') reading.value = row.value;
  if (row.kind === 'string') reading.string_value = row.string_value ?? '';
  if (row.kind === 'data') reading.data_value = row.data_value ?? '';
  if (typeof row.bool_value === 'boolean') reading.bool_value = row.bool_value;
  if (typeof row.sum === 'number') reading.sum = row.sum;
  if (typeof row.update_time === 'number') reading.update_time_s = row.update_time;
  return reading;
}

describe.each([
  ['JSON', (pack: unknown) => json(pack)],
  ['CBOR', (pack: unknown) => read('application/senml+cbor', toCbor(pack))],
] as const)('the vectors as %s', (_dialect, run) => {
  test.each(vectors.cases.map((each) => [each.id, each] as const))('%s', (_id, { pack, readings, dead }) => {
    const rows = run(pack);
    expect(rows.readings.map(shown)).toEqual(readings);
    expect(rows.dead_letters.map((row) => ({ index: row.record_index ?? null, reason: row.reason }))).toEqual(
      dead ?? [],
    );
  });
});

const reasons = (pack: unknown) => json(pack).dead_letters.map((row) => [row.record_index ?? null, row.reason]);

describe('SenML', () => {
  test('rejects a value of the wrong type, and only that record', () => {
    expect(
      reasons([
        { n: 'a', v: 'x' },
        { n: 'b', vb: 1 },
        { n: 'c', vd: '*' },
        { n: 'd', vs: null },
        { n: 'e', s: '1', v: 1 },
        { n: 5, v: 1 },
        { bn: 5, n: 'f', v: 1 },
        { n: 'g', t: '1', v: 1 },
        7,
        { n: 'ok', v: 1 },
      ]),
    ).toEqual([
      [0, 'bad_value'],
      [1, 'bad_value'],
      [2, 'bad_value'],
      [3, 'bad_value'],
      [4, 'bad_value'],
      [5, 'bad_field'],
      [6, 'bad_field'],
      [7, 'bad_field'],
      [8, 'not_an_object'],
    ]);
  });

  test('knows version 26 (secondary units) and rejects other features', () => {
    expect(json([{ bver: 26, n: 'x', v: 1 }]).readings).toHaveLength(1);
    for (const bver of [11, 12, 16, 27, 42, 2 ** 40])
      expect(reasons([{ n: 'x', v: 1 }, { bver }])).toEqual([[null, 'unsupported_version']]);
    expect(reasons([{ bver: 'x', n: 'x', v: 1 }])).toEqual([[0, 'bad_field']]);
  });

  test('shows a rejected record with the base fields that hold for it, so that it can be replayed alone', () => {
    const shown = (pack: unknown): unknown[] => json(pack).dead_letters.map((row) => JSON.parse(String(row.payload)));
    const dead = { n: 'a', v: 1, vs: 'x' };
    expect(shown([{ bn: 'r/', bt: 1e9, bu: 'Cel', bv: 2, bs: 3, n: 'ok', v: 1 }, dead])).toEqual([
      { bn: 'r/', bt: 1e9, bu: 'Cel', bv: 2, bs: 3, ...dead },
    ]);
    // Its own come first, and what is malformed stays to be seen.
    expect(
      shown([
        { bn: 'r/', n: 'ok', v: 1 },
        { bn: 's/', ...dead },
      ]),
    ).toEqual([{ bn: 's/', ...dead }]);
    expect(
      shown([
        { bn: 'r/', n: 'ok', v: 1 },
        { bn: 5, n: 'a', v: 1 },
      ]),
    ).toEqual([{ bn: 5, n: 'a', v: 1 }]);
    expect(shown([dead])).toEqual([dead]);
  });

  test('does not repeat a long base name with each of many rejected records', () => {
    const rows = json([{ bn: `${'b'.repeat(1_000)}/` }, ...Array.from({ length: 1_000 }, () => ({ n: 'a' }))]);
    const size = rows.dead_letters.reduce((sum, row) => sum + String(row.payload).length, 0);
    expect(rows.dead_letters).toHaveLength(1_000);
    expect(size).toBeLessThan(100_000);
    expect(rows.dead_letters.at(-1)?.detail).toContain('its base fields are not kept');
  });

  test('keeps the base fields of a rejected record, so that the next are not mislabelled', () => {
    const rows = json([
      { bn: 'a:', bu: 'V', n: 'x' },
      { n: 'y', v: 1 },
    ]);
    expect(rows.readings.map(shown)).toEqual([{ name: 'a:y', unit: 'V', time_us: vectors.received_us, value: 1 }]);
  });

  test('stores the bytes of data, of either alphabet and padded or not', () => {
    const rows = json([
      { n: 'a', vd: 'aGkgCg==' },
      { n: 'b', vd: '-_-_' },
      { n: 'c', vd: '+/+/' },
      { n: 'd', vd: '' },
    ]);
    expect(rows.readings.map((row) => row.data_value)).toEqual(['aGkgCg', '-_-_', '-_-_', '']);
  });

  test('refuses a time that the engine cannot hold', () => {
    expect(
      reasons([
        { n: 'a', t: 9_300_000_000, v: 1 },
        { n: 'b', t: -5e9, v: 1 },
        { n: 'c', t: 9_220_000_000, v: 1 },
      ]),
    ).toEqual([
      [0, 'time_out_of_range'],
      [1, 'time_out_of_range'],
    ]);
    expect(json([{ n: 'c', t: 9_220_000_000.000002, v: 1 }]).readings[0]?.time).toBe(9_220_000_000_000_002_000n);
  });

  test('takes huge integers as doubles and refuses what is beyond them', () => {
    const rows = read(
      'application/senml+json',
      '[{"n":"a","v":9007199254740993},{"n":"b","v":1e999},{"n":"c","v":1e308}]',
    );
    expect(rows.readings.map((row) => row.value)).toEqual([9_007_199_254_740_992, 1e308]);
    expect(rows.dead_letters.map((row) => row.reason)).toEqual(['bad_value']);
  });

  test('is not harmed by the names of the prototype', () => {
    const rows = read(
      'application/senml+json',
      '[{"n":"a","v":1,"__proto__":{"v":2}},{"n":"b","constructor":1,"v":2}]',
    );
    // "__proto__" ends in '_': it must be understood.
    expect(rows.dead_letters.map((row) => row.reason)).toEqual(['must_understand']);
    expect(rows.readings.map((row) => row.name)).toEqual(['b']);
  });

  test('does not let a long base name multiply', () => {
    const pack = [
      { bn: 'a'.repeat(100_000), n: 'x', v: 1 },
      ...Array.from({ length: 5_000 }, (_, n) => ({ n: `${n}`, v: 1 })),
    ];
    const rows = json(pack);
    expect(rows.tally.deadRecords).toEqual({ bad_name: 5_001 });
  });
});
