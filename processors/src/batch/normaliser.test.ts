import { DEAD_LETTER_HEADER, Protocol } from '@millrace/core';
import { encode } from 'cbor-x';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CborDecoder, CborFault } from '../cbor/decode.ts';
import { envelopeOf, type MessageFields, RECEIVED_US, taskOf } from '../testing/envelopes.ts';
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

describe('plain CBOR', () => {
  const cbor = (bytes: Uint8Array | string, options: Partial<BatchTask> = {}) =>
    one(
      { payload: typeof bytes === 'string' ? Buffer.from(bytes, 'hex') : bytes, contentType: 'application/cbor' },
      options,
    );

  test('becomes the readings that the same JSON gives', () => {
    const value = { a: { b: [1, 'x'] }, on: true, none: null, f: -0.5 };
    const shown = (rows: ReturnType<typeof one>) =>
      rows.readings.map(({ id: _, log_offset: __, ...row }) => row as unknown);
    expect(shown(cbor(encode(value)))).toEqual(shown(plain(JSON.stringify(value))));
    expect(cbor(encode(21.5)).readings).toMatchObject([{ name: 'value', value: 21.5 }]);
    expect(cbor(encode(value)).messages).toMatchObject([{ content_type: 'application/cbor' }]);
  });
  test('that is an array of SenML records is SenML, by label or by name', () => {
    // [{-2: "a:", 0: "x", 2: 1}]
    expect(cbor('81a32162613a00617802 01'.replaceAll(' ', '')).readings).toMatchObject([{ name: 'a:x', value: 1 }]);
    expect(cbor(encode([{ bn: 'a:', n: 'x', v: 1 }])).readings).toMatchObject([{ name: 'a:x' }]);
    expect(cbor(encode([{ temperature: 1 }])).readings).toMatchObject([{ name: '0.temperature' }]);
  });
  test.each([
    [
      'integer keys become text',
      'a2013901f3200a',
      [
        ['1', -500],
        ['-1', 10],
      ],
    ],
    ['a bignum is its double', 'a16162c249010000000000000000', [['b', 2 ** 64]]],
    ['also in an array', '81c349010000000000000000', [['0', -1 - 2 ** 64]]],
    ['a decimal fraction is a number', 'a16164c48221196ab3', [['d', 273.15]]],
    ['a bigfloat is one', 'a16166c5822003', [['f', 1.5]]],
    ['a date in seconds is its seconds', 'a16174c11a514b67b0', [['t', 1_363_896_240]]],
    ['a half float is a number', 'a16168f93e00', [['h', 1.5]]],
  ])('%s', (_, hex, wanted) => {
    expect(cbor(hex).readings.map(({ name, value }) => [name, value])).toEqual(wanted);
  });
  test('keeps text of any tag, and bytes as data', () => {
    // {"t": 0("2013-03-21T20:04:00Z"), "i": 37(h'00…0f'), "u": undefined}
    const rows = cbor(
      'a36174c074323031332d30332d32315432303a30343a30305a6169d82550000102030405060708090a0b0c0d0e0f6175f7',
    );
    expect(rows.readings).toMatchObject([
      { name: 't', string_value: '2013-03-21T20:04:00Z' },
      { name: 'i', kind: 'data', data_value: 'AAECAwQFBgcICQoLDA0ODw' },
    ]);
  });
  test('has dead records where a number is none, and is dead when it is not well-formed or too deep', () => {
    expect(cbor('a2616101616ef97e00')).toMatchObject({
      readings: [{ name: 'a' }],
      dead_letters: [{ reason: 'bad_value', record_index: 1 }],
    });
    expect(cbor('a161').dead_letters).toMatchObject([{ reason: 'malformed_cbor' }]);
    expect(cbor(`${'81'.repeat(60)}01`).dead_letters).toMatchObject([{ reason: 'too_deep' }]);
    expect(cbor('1bffffffffffffffff').readings).toMatchObject([{ value: 2 ** 64 }]);
  });
  test('never throws, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (payload) => {
        expect(cbor(payload).tally.messages).toBe(1);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('when it happened', () => {
  const timeUs = RECEIVED_US - 3_600_000_000;
  const times = (rows: ReturnType<typeof one>) => rows.readings.map(({ time, received }) => [time, received]);
  const ns = (us: number) => BigInt(us) * 1_000n;

  test('is when a message was received, unless its network says otherwise', () => {
    for (const contentType of ['application/senml+json', 'application/json']) {
      const payload = contentType.includes('senml') ? '[{"n":"x","v":1}]' : '{"x":1}';
      expect(times(one({ contentType, payload }))).toEqual([[ns(RECEIVED_US), BigInt(RECEIVED_US)]]);
      expect(times(one({ contentType, payload, timeUs }))).toEqual([[ns(timeUs), BigInt(RECEIVED_US)]]);
    }
  });
  test('is what relative times are relative to', () => {
    const payload = '[{"n":"x","v":1,"t":-5},{"n":"y","v":1,"t":1320067464}]';
    expect(times(one({ payload, timeUs }))).toEqual([
      [1_320_067_464_000_000_000n, BigInt(RECEIVED_US)],
      [ns(timeUs - 5_000_000), BigInt(RECEIVED_US)],
    ]);
    const early = one({ payload: '[{"n":"x","v":1,"t":-10}]', timeUs: 5_000_000 });
    expect(times(early)).toEqual([[-5_000_000_000n, BigInt(RECEIVED_US)]]);
  });
  test('may not be after 2262', () => {
    expect(one({ timeUs: 9_223_372_036_854_000 }).readings).toHaveLength(1);
    expect(one({ timeUs: Number.MAX_SAFE_INTEGER * 2_000 })).toMatchObject({
      readings: [],
      dead_letters: [{ reason: 'time_out_of_range', received: BigInt(RECEIVED_US) }],
    });
  });
});

describe('what the ingress could not make a message of', () => {
  const letter = (value: string, fields: MessageFields = {}, options: Partial<BatchTask> = {}) =>
    one({ headers: [[DEAD_LETTER_HEADER, value]], protocol: Protocol.lora, ...fields }, options);

  test('is a dead letter with its reason, its detail and all that came', () => {
    const rows = letter('unknown_device no thing has the DevEUI 0102030405060708', { payload: '{"devEui":"…"}' });
    expect(rows.readings).toEqual([]);
    expect(rows.dead_letters).toMatchObject([
      {
        org: 'org',
        channel: 'channel',
        reason: 'unknown_device',
        detail: 'no thing has the DevEUI 0102030405060708',
        payload: '{"devEui":"…"}',
      },
    ]);
    expect(rows.message_log).toMatchObject([{ reason: 'unknown_device', stored: 'nothing', decision: 'admitted' }]);
    expect(rows.tally).toMatchObject({ stored: 0, dead: { unknown_device: 1 } });
  });
  test('has the reason bad_event where it names none that is known', () => {
    expect(letter('toString it says').dead_letters).toMatchObject([
      { reason: 'bad_event', detail: 'toString it says' },
    ]);
    expect(letter('codec_failed').dead_letters).toMatchObject([{ reason: 'codec_failed' }]);
    expect(letter(`codec_failed ${'x'.repeat(5_000)}`).dead_letters[0]?.detail).toHaveLength(1_024);
  });
  test('is forbidden first: nobody leaves dead letters where they may not publish', () => {
    const grant = { subject: 'thing', org: 'org', channel: 'channel', channelId: 'channel', groups: [], rules: [] };
    const grants = [{ ...grant, forbidden: 'no such publisher' }];
    expect(letter('unknown_device x', { sealed: false }, { grants }).dead_letters).toMatchObject([
      { reason: 'forbidden' },
    ]);
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
