import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CborDecoder, CborFault } from '../cbor/decode.ts';
import { envelopeOf, type MessageFields, taskOf } from '../testing/envelopes.ts';
import { newNormaliser, normalised } from '../testing/rows.ts';
import type { BatchTask } from './task.ts';

const one = (fields: MessageFields, options: Partial<BatchTask> = {}) =>
  normalised(taskOf([envelopeOf(fields)], options));
const plain = (payload: string, contentType = 'application/json') => one({ payload, contentType });

describe('plain JSON', () => {
  test('becomes a reading a leaf, named by its path', () => {
    const rows = plain('{"a":{"b":[1,"x"]},"on":true,"none":null}');
    expect(rows.readings.map((row) => [row.name, row.kind])).toEqual([
      ['a.b.0', 'number'],
      ['a.b.1', 'string'],
      ['on', 'bool'],
    ]);
    expect(rows.messages).toMatchObject([{ payload: '{"a":{"b":[1,"x"]},"on":true,"none":null}' }]);
    expect(plain('21.5').readings).toMatchObject([{ name: 'value', value: 21.5 }]);
  });
  test('that is an array of SenML records is SenML, as the first dialect sends it', () => {
    const rows = plain('[{"bn":"a:","n":"x","v":1}]');
    expect(rows.readings).toMatchObject([{ name: 'a:x' }]);
    expect(rows.messages).toEqual([]);
  });
  test('is bounded in depth and number', () => {
    const deep = plain('['.repeat(40) + ']'.repeat(40));
    expect(deep.dead_letters).toMatchObject([{ reason: 'too_deep' }]);
    expect(plain(JSON.stringify(Array.from({ length: 70_000 }, () => 1))).tally.dead).toEqual({ too_many_records: 1 });
    expect(plain(`{"${'k'.repeat(300_000)}":[${Array.from({ length: 20_000 }, () => 1)}]}`).tally.deadRecords).toEqual({
      bad_name: 20_000,
    });
  });
});

describe('what a message is', () => {
  test('is told by its content type, parameters and case aside', () => {
    expect(plain('[{"n":"x","v":1}]', 'Application/SenML+JSON; charset=utf-8').readings).toHaveLength(1);
    expect(plain('{', 'text/plain').messages).toMatchObject([{ payload: '{', content_type: 'text/plain' }]);
    expect(plain('{"a":1}', '').readings).toHaveLength(1);
    expect(plain('hello', '').messages).toHaveLength(1);
    expect(one({ contentType: '', payload: Buffer.from('81a200617802f93c00', 'hex') }).readings).toMatchObject([
      { name: 'x', value: 1 },
    ]);
    expect(one({ contentType: '', payload: Buffer.from('81a2', 'hex') }).messages).toHaveLength(1);
  });
  test('is nothing when it is empty, as what clears a retained message', () => {
    const rows = one({ contentType: 'application/senml+json', payload: Buffer.alloc(0) });
    expect(rows.dead_letters).toHaveLength(0);
    expect(rows.tally).toMatchObject({ stored: 0, dead: {}, dropped: { empty: 1 } });
  });
  test('decides what is kept raw', () => {
    const payload = Buffer.from([0, 255, 128]);
    expect(one({ contentType: 'application/octet-stream', payload }, { raw: 'none' }).tally).toMatchObject({
      stored: 0,
      dropped: { not_kept: 1 },
    });
    expect(one({}, { raw: 'all' }).messages).toHaveLength(1);
    expect(one({}, { raw: 'non-senml' }).messages).toHaveLength(0);
  });
});

test('a record that is nested too deeply to be shown costs only itself', () => {
  const deep = '['.repeat(100_000) + ']'.repeat(100_000);
  const rows = plain(`[{"n":"x","v":1},{"n":"y","v":${deep}}]`, 'application/senml+json');
  expect(rows.readings).toMatchObject([{ name: 'x', value: 1 }]);
  expect(rows.dead_letters).toMatchObject([{ reason: 'bad_value', record_index: 1 }]);
});

test('every message is counted once: stored, dropped or dead', () => {
  const rows = normalised(
    taskOf([
      envelopeOf(),
      envelopeOf({ payload: '{"a"' }),
      envelopeOf({ payload: '[{"n":"x"}]' }),
      envelopeOf({ payload: '[{"bn":"x"}]' }),
      envelopeOf({ payload: Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]) }),
      new Uint8Array([1, 2, 3]),
      envelopeOf({ receivedUs: 5 }),
      envelopeOf({ dedupKey: 'k' }),
      envelopeOf({ dedupKey: 'k' }),
    ]),
  );
  expect(rows.tally).toEqual({
    messages: 9,
    readings: 2,
    stored: 2,
    dropped: { duplicate: 1 },
    dead: { malformed_json: 2, no_reading: 2, bad_envelope: 2 },
    deadRecords: { no_value: 1 },
    filteredReadings: 0,
  });
  expect(rows.message_log).toHaveLength(9);
  expect(rows.message_log[2]).toMatchObject({ stored: 'nothing', reason: 'no_reading', dead_letters: 1 });
});

test('readings come out in order of time, those of one time as they stood', () => {
  const times = [5, 1, 3, 1, 5, 2];
  const payload = JSON.stringify(times.map((t, n) => ({ n: `n${n}`, t: t - 10, v: n })));
  expect(one({ payload }).readings.map((row) => row.value)).toEqual([1, 3, 5, 2, 0, 4]);
});

test('a forged admission is not believed: the batch needs grants', () => {
  const forged = envelopeOf();
  forged[Buffer.from(forged).indexOf('"v":1') + 4] = 0x32;
  expect(newNormaliser().run(taskOf([forged]))).toMatchObject({
    kind: 'needs',
    needs: [{ subject: 'thing', org: 'org', channel: 'channel' }],
  });
});

describe('hostile bytes', () => {
  test('of any kind give rows or dead letters, never a fault', () => {
    const kinds = fc.constantFrom('', 'application/json', 'application/senml+json', 'application/senml+cbor', 'x/y');
    fc.assert(
      fc.property(kinds, fc.uint8Array({ maxLength: 200 }), (contentType, payload) => {
        expect(one({ contentType, payload }).tally.messages).toBe(1);
      }),
      { numRuns: 3_000 },
    );
    fc.assert(
      fc.property(kinds, fc.json(), (contentType, payload) => {
        expect(one({ contentType, payload }).tally.messages).toBe(1);
      }),
      { numRuns: 1_000 },
    );
  });
  test('that declare huge CBOR items are refused without room being made for them', () => {
    const decoder = new CborDecoder();
    for (const hex of [
      '9bffffffffffffffff',
      'bb0fffffffffffffff',
      '5b7fffffffffffffff',
      '7a7fffffff',
      'c2',
      '9f',
      'ff',
    ])
      expect(() => decoder.decode(Buffer.from(hex, 'hex'))).toThrow(CborFault);
    expect(() => decoder.decode(Buffer.alloc(1_000_000, 0x81))).toThrow('nested deeper');
    expect(() => decoder.decode(Buffer.alloc(1_000_000, 0xc1))).toThrow('nested deeper');
  });
  test('CBOR numbers of every kind are what they say', () => {
    const decoder = new CborDecoder();
    const value = (hex: string) => (decoder.decode(Buffer.from(`a16176${hex}`, 'hex')) as { v: unknown }).v;
    expect(value('f93e00')).toBe(1.5);
    expect(value('f90001')).toBe(2 ** -24);
    expect(value('f97e00')).toBeNaN();
    expect(value('fa47c35000')).toBe(100_000);
    expect(value('1bffffffffffffffff')).toBe(2 ** 64);
    expect(value('3bffffffffffffffff')).toBe(-(2 ** 64));
    expect(value('c249010000000000000000')).toBe(2 ** 64);
    expect(value('c48221196ab3')).toBe(273.15);
    expect(value('7f61616162ff')).toBe('ab');
  });
});
