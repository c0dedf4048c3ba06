import type { DeadLetter } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { inspected, placeOf } from './answers.ts';
import { digestOf, replayOf } from './payload.ts';
import { letterId, parseLetterId } from './states.ts';

const letter = (more: Partial<DeadLetter>, payload: string | Uint8Array = '{"n":"a"}'): DeadLetter => ({
  message: '0198c1a2-0000-7000-8000-000000000001',
  org: 'o',
  channel: 'c',
  subtopic: '',
  publisher: 'p',
  protocol: 'http',
  contentType: 'application/senml+json',
  receivedUs: '1',
  index: null,
  reason: 'malformed_json',
  detail: '',
  payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
  size: payload.length,
  partition: 0,
  offset: 0,
  cursor: '',
  ...more,
});
const shown = (of: ReturnType<typeof replayOf>): [string, string] => [
  Buffer.from(of.payload).toString(),
  of.contentType,
];

describe('what a dead letter is replayed as', () => {
  test('a whole message as it came, byte for byte', () => {
    const bytes = Uint8Array.of(0, 0xff, 7);
    expect(replayOf(letter({ contentType: 'image/png' }, bytes))).toEqual({ payload: bytes, contentType: 'image/png' });
  });

  test('a record of SenML alone, in a pack of its own, also one that came as CBOR or plain JSON', () => {
    const record = { index: 3, reason: 'no_value' } as const;
    const alone: [string, string] = ['[{"n":"a"}]', 'application/senml+json'];
    for (const contentType of ['application/senml+json', 'application/senml+cbor', 'application/json'])
      expect(shown(replayOf(letter({ ...record, contentType })))).toEqual(alone);
    // No SenML: a JSON object with a bad time.
    const plain = letter({ ...record, contentType: 'application/json' }, '{"t":"never","level":5}');
    expect(shown(replayOf(plain))).toEqual(['{"t":"never","level":5}', 'application/json']);
  });

  test('not what says nothing alone, or something else; edited, it is', () => {
    const record = { index: 3, reason: 'bad_value' } as const;
    for (const payload of ['5', 'null', '[1]', '"x"', '', '{'])
      expect(() => replayOf(letter(record, payload))).toThrow('nothing alone');
    const lost = letter({ ...record, detail: 'no n; its base fields are not kept' });
    expect(() => replayOf(lost)).toThrow('without the base fields');
    expect(() => replayOf(letter({ reason: 'codec_failed' }))).toThrow('network server');
    expect(shown(replayOf(lost, { payload: { n: 'a', v: 1 } }))).toEqual([
      '[{"n":"a","v":1}]',
      'application/senml+json',
    ]);
    expect(shown(replayOf(lost, { payload: '{"n":"a","v":1}\n' }))[0]).toBe('[{"n":"a","v":1}\n]');
    expect(shown(replayOf(lost, { payload: '[{}]' }))[0]).toBe('[{}]');
    const raw = replayOf(letter({ reason: 'codec_failed' }), {
      payload: 'AAE=',
      encoding: 'base64',
      content_type: 'a/b',
    });
    expect([[...raw.payload], raw.contentType]).toEqual([[0, 1], 'a/b']);
    expect(shown(replayOf(letter({}), { payload: '[]' }))).toEqual(['[]', 'application/senml+json']);
    for (const edit of [{ payload: '!!', encoding: 'base64' as const }, { payload: '' }, { encoding: 'utf8' as const }])
      expect(() => replayOf(letter({}), edit)).toThrow('The body is wrong');
  });

  test('other content, or the same as another type, is another replay', () => {
    const digests = ['a/b', 'a/c'].flatMap((contentType) =>
      ['x', 'y'].map((text) => digestOf({ contentType, payload: Buffer.from(text) })),
    );
    expect(new Set(digests).size).toBe(4);
  });
});

test('a letter is named by its message, and a record by its index behind', () => {
  const message = '0198c1a2-0000-7000-8000-000000000001';
  for (const index of [null, 0, 65_535])
    expect(parseLetterId(letterId({ message, index }))).toEqual({ message, index });
  expect(parseLetterId(`${message.toUpperCase()}.4`)).toEqual({ message, index: 4 });
  for (const text of [
    '',
    'x',
    `${message}.`,
    `${message}.-1`,
    `${message}.01`,
    `${message}.1.1`,
    `${message}.1e3`,
    `${message}\0`,
  ])
    expect(parseLetterId(text), text).toBeNull();
});

describe('what a payload is looked through for', () => {
  test('the place where JSON ends to be JSON', () => {
    const of = (text: string) => (inspected(letter({}, text)) as { json_error: Record<string, unknown> }).json_error;
    expect(of('{"a": 1,\n "b": x}')).toMatchObject({ position: 15, line: 2, column: 7 });
    expect(of('{"a": [1, 2')).toMatchObject({ position: 11, line: 1 });
    expect(String(of('{"secret": hunter2}').message)).not.toContain('hunter2');
    for (const [text, position] of [
      ['{"a": tru }', 9],
      ['[1] x', 4],
      ['{"a": -}', 7],
      ["{'a': 1}", 1],
      ['[1,]', 3],
      ['{"a": "x', 8],
      ['nul', 3],
      ['{"a": "\t"}', 7],
      ['', 0],
    ] as const)
      expect(placeOf(text, 'x'), text).toMatchObject({ position });
  });

  test('JSON itself, and nothing of bytes that are not meant to be JSON', () => {
    expect(inspected(letter({}, '[1]'))).toEqual({ json: [1] });
    expect(inspected(letter({ contentType: 'image/png', reason: 'forbidden' }, Uint8Array.of(0xff)))).toEqual({});
    expect(inspected(letter({}, Uint8Array.of(0xff)))).toEqual({ json_error: { message: 'The payload is no UTF-8.' } });
  });
});
