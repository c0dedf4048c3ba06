import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bundledObjects, Definitions } from '../definitions/definitions.ts';
import { parsePath, pathText } from '../path.ts';
import { type Lwm2mValue, ObjectLink, type Scalar } from '../value.ts';
import { readCbor, writeCbor } from './cbor.ts';
import { FORMAT_NUMBERS, formatToWrite, readValues, writeValues } from './formats.ts';
import type { TypeOf } from './tlv.ts';

const definitions = new Definitions(bundledObjects());
const typeOf: TypeOf = (object, resource) => {
  // The objects of the specification's example of links.
  if (object === 65) return resource === 0 ? 'objlnk' : resource === 1 ? 'string' : 'integer';
  if (object === 66) return resource === 2 ? 'objlnk' : 'string';
  return definitions.typeOf(object, resource);
};
const NOW_S = 1_700_000_000;

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex');
function valuesOf(payload: Buffer, format: number, base: string | null): [string, Scalar][] {
  const path = base === null ? null : parsePath(base);
  const read = readValues(payload, format, { base: path, typeOf, valuesMax: 100, nowS: NOW_S });
  if (read.kind !== 'values') throw new Error(JSON.stringify(read));
  return read.values.map(({ path: at, value }) => [pathText(at), value]);
}
const value = (path: string, scalar: Scalar): Lwm2mValue => ({
  path: parsePath(path) ?? [],
  value: scalar,
  time: null,
});

// OMA LwM2M Core 1.1 §7.4.3, the examples.
const DEVICE = `
  C8 00 14 4F 70 65 6E 20 4D 6F 62 69 6C 65 20 41 6C 6C 69 61 6E 63 65
  C8 01 16 4C 69 67 68 74 77 65 69 67 68 74 20 4D 32 4D 20 43 6C 69 65 6E 74
  C8 02 09 33 34 35 30 30 30 31 32 33   C3 03 31 2E 30   86 06 41 00 01 41 01 05
  88 07 08 42 00 0E D8 42 01 13 88   87 08 41 00 7D 42 01 03 84   C1 09 64   C1 0A 0F   83 0B 41 00 00
  C4 0D 51 82 42 8F   C6 0E 2B 30 32 3A 30 30   C1 10 55`;
const DEVICE_VALUES: [string, Scalar][] = [
  ['/3/0/0', 'Open Mobile Alliance'],
  ['/3/0/1', 'Lightweight M2M Client'],
  ['/3/0/2', '345000123'],
  ['/3/0/3', '1.0'],
  ['/3/0/6/0', 1],
  ['/3/0/6/1', 5],
  ['/3/0/7/0', 3_800],
  ['/3/0/7/1', 5_000],
  ['/3/0/8/0', 125],
  ['/3/0/8/1', 900],
  ['/3/0/9', 100],
  ['/3/0/10', 15],
  ['/3/0/11/0', 0],
  ['/3/0/13', 1_367_491_215],
  ['/3/0/14', '+02:00'],
  ['/3/0/16', 'U'],
];

describe('TLV of the specification', () => {
  test('an instance', () => {
    expect(valuesOf(hex(DEVICE), FORMAT_NUMBERS.tlv, '/3/0')).toEqual(DEVICE_VALUES);
  });

  test('an object with one instance', () => {
    expect(valuesOf(hex(`08 00 79 ${DEVICE}`), FORMAT_NUMBERS.tlv, '/3')).toEqual(DEVICE_VALUES);
  });

  test('an object with several instances, and an instance number of 16 bits', () => {
    const payload = `08 00 0E C1 00 01 C1 01 00 83 02 41 7F 07 C1 03 7F
      08 02 12 C1 00 03 C1 01 00 87 02 41 7F 07 61 01 36 01 C1 03 7F`;
    expect(valuesOf(hex(payload), FORMAT_NUMBERS.tlv, '/2')).toEqual([
      ['/2/0/0', 1],
      ['/2/0/1', 0],
      ['/2/0/2/127', 7],
      ['/2/0/3', 127],
      ['/2/2/0', 3],
      ['/2/2/1', 0],
      ['/2/2/2/127', 7],
      ['/2/2/2/310', 1],
      ['/2/2/3', 127],
    ]);
  });

  test('a server, whose lifetime has four bytes', () => {
    expect(valuesOf(hex('08 00 0F C1 00 01 C4 01 00 01 51 80 C1 06 01 C1 07 55'), FORMAT_NUMBERS.tlv, '/1')).toEqual([
      ['/1/0/0', 1],
      ['/1/0/1', 86_400],
      ['/1/0/6', true],
      ['/1/0/7', 'U'],
    ]);
  });

  test('links to objects', () => {
    const payload = `88 00 0C 44 00 00 42 00 00 44 01 00 42 00 01
      C8 01 0D 38 36 31 33 38 30 30 37 35 35 35 30 30 C4 02 12 34 56 78`;
    expect(valuesOf(hex(payload), FORMAT_NUMBERS.tlv, '/65/0')).toEqual([
      ['/65/0/0/0', new ObjectLink(66, 0)],
      ['/65/0/0/1', new ObjectLink(66, 1)],
      ['/65/0/1', '8613800755500'],
      ['/65/0/2', 0x12345678],
    ]);
    const other = `08 00 26 C8 00 0B 6D 79 53 65 72 76 69 63 65 20 31
      C8 01 0F 49 6E 74 65 72 6E 65 74 2E 31 35 2E 32 33 34 C4 02 00 43 00 00`;
    expect(valuesOf(hex(other), FORMAT_NUMBERS.tlv, '/66')).toEqual([
      ['/66/0/0', 'myService 1'],
      ['/66/0/1', 'Internet.15.234'],
      ['/66/0/2', new ObjectLink(67, 0)],
    ]);
  });

  test('is written as the specification writes it', () => {
    const values = DEVICE_VALUES.map(([path, scalar]) => value(path, scalar));
    expect(writeValues(values, 'tlv', [3, 0], typeOf)?.toString('hex')).toBe(hex(DEVICE).toString('hex'));
    expect(writeValues(values, 'tlv', [3], typeOf)?.toString('hex')).toBe(hex(`08 00 79 ${DEVICE}`).toString('hex'));
  });
});

describe('SenML of the specification', () => {
  const pack = [
    { bn: '/3/0/', n: '0', vs: 'Open Mobile Alliance' },
    { n: '6/0', v: 1 },
    { n: '6/1', v: 5 },
    { n: '9', v: 100 },
    { n: '13', v: 1_367_491_215 },
    { n: '16', vs: 'U' },
  ];
  const expected: [string, Scalar][] = [
    ['/3/0/0', 'Open Mobile Alliance'],
    ['/3/0/6/0', 1],
    ['/3/0/6/1', 5],
    ['/3/0/9', 100],
    ['/3/0/13', 1_367_491_215],
    ['/3/0/16', 'U'],
  ];

  test('in JSON, asked for or sent', () => {
    const payload = Buffer.from(JSON.stringify(pack));
    expect(valuesOf(payload, FORMAT_NUMBERS['senml-json'], '/3/0')).toEqual(expected);
    expect(valuesOf(payload, FORMAT_NUMBERS['senml-json'], null)).toEqual(expected);
  });

  test('in CBOR', () => {
    const payload = hex(`82 a3 21 65 2f332f302f 00 61 30 03 74 4f70656e204d6f62696c6520416c6c69616e6365
      a2 00 61 39 02 18 64`);
    expect(valuesOf(payload, FORMAT_NUMBERS['senml-cbor'], '/3/0')).toEqual([
      ['/3/0/0', 'Open Mobile Alliance'],
      ['/3/0/9', 100],
    ]);
  });

  test('with times: those below 2^28 count from now', () => {
    const records = [
      { bn: '/3303/0/5700', bt: 1_600_000_000, v: 20 },
      { v: 21, t: 5 },
      { bn: '/3303/1/5700', bt: 0, v: 1, t: -10 },
      { bn: '/3303/2/5700', v: 1 },
    ];
    const read = readValues(Buffer.from(JSON.stringify(records)), FORMAT_NUMBERS['senml-json'], {
      base: null,
      typeOf,
      valuesMax: 10,
      nowS: NOW_S,
    });
    if (read.kind !== 'values') throw new Error('not read');
    expect(read.values.map(({ time }) => time)).toEqual([1_600_000_000, 1_600_000_005, NOW_S - 10, null]);
  });

  test('with a name that leaves out what was asked for', () => {
    expect(valuesOf(Buffer.from('[{"v":3}]'), FORMAT_NUMBERS['senml-json'], '/3303/0/5700')).toEqual([
      ['/3303/0/5700', 3],
    ]);
  });

  test.each([
    ['a name outside of what was asked for', '[{"n":"/4/0/1","v":3}]'],
    ['a value of what is no resource', '[{"n":"/3/0","v":3}]'],
    ['a field that must be understood', '[{"n":"/3/0/9","v":3,"x_":1}]'],
    ['a number that is none', '[{"n":"/3/0/9","v":"3"}]'],
    ['no array', '{"n":"/3/0/9"}'],
    ['no JSON', '[{'],
    ['an identifier that is too large', '[{"n":"/3/0/65536","v":3}]'],
  ])('refuses %s', (_, payload) => {
    expect(() => valuesOf(Buffer.from(payload), FORMAT_NUMBERS['senml-json'], '/3/0')).toThrow('bad');
  });
});

describe('the JSON of 1.0', () => {
  test('is read with its base name and times before now', () => {
    const payload = Buffer.from('{"bn":"/3303/0/","e":[{"n":"5700","v":21.5,"t":-5},{"n":"5701","sv":"Cel"}]}');
    const read = readValues(payload, FORMAT_NUMBERS.json, { base: [3303, 0], typeOf, valuesMax: 10, nowS: NOW_S });
    if (read.kind !== 'values') throw new Error('not read');
    expect(read.values).toEqual([
      { path: [3303, 0, 5700], value: 21.5, time: NOW_S - 5 },
      { path: [3303, 0, 5701], value: 'Cel', time: null },
    ]);
  });
});

describe('single values', () => {
  test.each([
    ['/3303/0/5700', '21.5', 21.5],
    ['/3/0/9', '100', 100],
    ['/1/0/6', '1', true],
    ['/3/0/0', 'maker', 'maker'],
    ['/5/0/0', 'AAE=', Buffer.of(0, 1)],
    ['/2/0/2/1', '7', 7],
    ['/9999/0/1', '3.5', 3.5],
    ['/9999/0/1', 'three', 'three'],
  ] as const)('text of %s, by its type', (path, text, expected) => {
    expect(valuesOf(Buffer.from(text), FORMAT_NUMBERS.text, path)).toEqual([[path, expected]]);
  });

  test('text without a number, where one should be, is refused', () => {
    expect(() => valuesOf(Buffer.from('warm'), FORMAT_NUMBERS.text, '/3303/0/5700')).toThrow('bad');
    expect(() => valuesOf(Buffer.from(''), FORMAT_NUMBERS.text, '/3303/0/5700')).toThrow('bad');
  });

  test('opaque and CBOR', () => {
    expect(valuesOf(Buffer.of(1, 2), FORMAT_NUMBERS.opaque, '/5/0/0')).toEqual([['/5/0/0', Buffer.of(1, 2)]]);
    expect(valuesOf(hex('f94d00'), FORMAT_NUMBERS.cbor, '/3303/0/5700')).toEqual([['/3303/0/5700', 20]]);
  });
});

describe('what is written', () => {
  test('is text for a single value, bytes as they are, and what the device reads for several', () => {
    const device = { version: '1.1', formats: [FORMAT_NUMBERS['senml-cbor'], FORMAT_NUMBERS.tlv] };
    const one = [value('/3303/0/5750', 'kitchen')];
    expect(formatToWrite(one, [3303, 0, 5750], device)).toBe('text');
    expect(formatToWrite([value('/5/0/0', Buffer.of(1))], [5, 0, 0], device)).toBe('opaque');
    expect(formatToWrite(one, [3303, 0], device)).toBe('senml-cbor');
    expect(formatToWrite(one, [3303, 0], { ...device, version: '1.0' })).toBe('tlv');
    expect(formatToWrite(one, [3303, 0], { version: '1.1', formats: [FORMAT_NUMBERS.tlv] })).toBe('tlv');
  });

  test('cannot be several values as text', () => {
    expect(writeValues([value('/1/0/1', 1), value('/1/0/2', 1)], 'text', [1, 0], typeOf)).toBeNull();
  });

  const scalar = fc.oneof(
    fc.record({
      path: fc.constantFrom('/3303/0/5700', '/3303/1/5700'),
      value: fc.double({ noNaN: true, noDefaultInfinity: true }),
    }),
    fc.record({ path: fc.constantFrom('/3/0/9', '/3/0/6/1', '/3/0/6/70'), value: fc.maxSafeInteger() }),
    fc.record({ path: fc.constant('/3/0/0'), value: fc.string() }),
    fc.record({ path: fc.constant('/1/0/6'), value: fc.boolean() }),
    fc.record({ path: fc.constant('/5/0/0'), value: fc.uint8Array().map((bytes) => Buffer.from(bytes)) }),
  );

  test.each(['tlv', 'senml-json', 'senml-cbor'] as const)('%s is read as it was written', (format) => {
    fc.assert(
      fc.property(scalar, ({ path, value: given }) => {
        const full = parsePath(path) ?? [];
        // The sign of zero is nothing that is told apart.
        const told = typeof given === 'number' ? given + 0 : given;
        const payload = writeValues([{ path: full, value: told, time: null }], format, full.slice(0, 2), typeOf);
        expect(valuesOf(payload as Buffer, FORMAT_NUMBERS[format], pathText(full.slice(0, 2)))).toEqual([[path, told]]);
      }),
    );
  });
});

describe('hostile payloads', () => {
  const formats = fc.constantFrom(...Object.values(FORMAT_NUMBERS), 1_542, 1_543, 77, 40);
  const bases = fc.constantFrom(null, [3], [3, 0], [3303, 0, 5700], [3, 0, 6, 1], [9999, 0]);

  test('are refused or read, never a fault', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), formats, bases, (bytes, format, base) => {
        const read = readValues(Buffer.from(bytes), format, { base, typeOf, valuesMax: 50, nowS: NOW_S });
        expect(['values', 'bad', 'unsupported']).toContain(read.kind);
        if (read.kind === 'values') expect(read.values.length).toBeLessThanOrEqual(50);
      }),
      { numRuns: 5_000 },
    );
  });

  test('as JSON of any shape, too', () => {
    fc.assert(
      fc.property(fc.jsonValue(), formats, bases, (json, format, base) => {
        const options = { base, typeOf, valuesMax: 50, nowS: NOW_S };
        expect(['values', 'bad', 'unsupported']).toContain(
          readValues(Buffer.from(JSON.stringify(json)), format, options).kind,
        );
        expect(['values', 'bad', 'unsupported']).toContain(readValues(writeCbor(json), format, options).kind);
      }),
      { numRuns: 2_000 },
    );
  });

  test('mutated ones of the specification', () => {
    const original = hex(DEVICE);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(original.length - 1), fc.nat(255)), { maxLength: 8 }), (changes) => {
        const bytes = Buffer.from(original);
        for (const [at, byte] of changes) bytes[at] = byte;
        const read = readValues(bytes, FORMAT_NUMBERS.tlv, { base: [3, 0], typeOf, valuesMax: 50, nowS: NOW_S });
        expect(['values', 'bad']).toContain(read.kind);
      }),
      { numRuns: 3_000 },
    );
  });

  test.each([
    ['nests arrays', Buffer.alloc(10_000, 0x81)],
    ['promises four billion items', hex('9b 00000000ffffffff')],
    ['promises four billion bytes', hex('5b 00000000ffffffff')],
    ['nests tags', Buffer.alloc(10_000, 0xc6)],
    ['has a break in the wrong place', hex('82 ff ff')],
    ['has an odd map', hex('bf 01 ff')],
    ['is empty', Buffer.alloc(0)],
    ['is more than one item', hex('0000')],
  ])('CBOR that %s is refused', (_, bytes) => {
    expect(() => readCbor(bytes, 1_000)).toThrow('CBOR');
  });

  test('more values than are taken are refused', () => {
    const many = JSON.stringify(Array.from({ length: 101 }, (_, index) => ({ n: `/3303/${index}/5700`, v: 1 })));
    expect(() => valuesOf(Buffer.from(many), FORMAT_NUMBERS['senml-json'], null)).toThrow('bad');
    const tlv = Buffer.concat(Array.from({ length: 101 }, (_, index) => Buffer.of(0xc1, index, 1)));
    expect(() => valuesOf(tlv, FORMAT_NUMBERS.tlv, '/3/0')).toThrow('bad');
  });
});
