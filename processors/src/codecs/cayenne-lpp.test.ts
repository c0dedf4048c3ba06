import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeCayenne, encodeCayenne } from './cayenne-lpp.ts';

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const decoded = (hex: string) => {
  const told = decodeCayenne(bytes(hex));
  return told.kind === 'decoded' ? told.data : told.detail;
};

describe('Cayenne LPP', () => {
  test.each([
    // Examples of myDevices' description of the format.
    ['two temperatures', '03670110 056700FF', { temperatureSensor: { 3: 27.2, 5: 25.5 } }],
    [
      'a temperature and an acceleration',
      '0167FFD7 067104D2FB2E0000',
      { temperatureSensor: { 1: -4.1 }, accelerometer: { 6: { x: 1.234, y: -1.234, z: 0 } } },
    ],
    [
      'a place',
      '0188 06765F F2960A 0003E8',
      { gpsLocation: { 1: { latitude: 42.3519, longitude: -87.9094, altitude: 10 } } },
    ],
    [
      'inputs and outputs',
      '010001 020100 0302FFFF 04030140',
      { digitalInput: { 1: 1 }, digitalOutput: { 2: 0 }, analogInput: { 3: -0.01 }, analogOutput: { 4: 3.2 } },
    ],
    [
      'light, presence, humidity, pressure',
      '0165 00FD 026601 0368 7B 0473 2716',
      {
        illuminanceSensor: { 1: 253 },
        presenceSensor: { 2: 1 },
        humiditySensor: { 3: 61.5 },
        barometer: { 4: 1000.6 },
      },
    ],
    ['turning', '0186 0064 FF9C 0000', { gyrometer: { 1: { x: 1, y: -1, z: 0 } } }],
    [
      'electricity',
      '0174 014A 0275 03E8 0376 00000032 0480 0BB8 0583 000004D2',
      { voltage: { 1: 3.3 }, current: { 2: 1 }, frequency: { 3: 50 }, power: { 4: 3000 }, energy: { 5: 1.234 } },
    ],
    [
      'the other types',
      '0164 FFFFFFFF 0278 64 0379 FFF6 047D 01A4 0582 000007D0 0684 010E 0785 6553F100 0887 FF8000 098E01',
      {
        genericSensor: { 1: 4294967295 },
        percentage: { 2: 100 },
        altitude: { 3: -10 },
        concentration: { 4: 420 },
        distance: { 5: 2 },
        direction: { 6: 270 },
        unixTime: { 7: 1700000000 },
        colour: { 8: { red: 255, green: 128, blue: 0 } },
        switch: { 9: 1 },
      },
    ],
    ['nothing', '', {}],
  ])('reads and writes %s', (_, hex, data) => {
    expect(decoded(hex)).toEqual(data);
    const encoded = encodeCayenne(data);
    expect(encoded.kind).toBe('encoded');
    expect(decoded(Buffer.from((encoded as { bytes: Uint8Array }).bytes).toString('hex'))).toEqual(data);
  });

  test.each([
    ['01', 'the payload ends before the type of its last value'],
    ['0167', 'the payload ends within a value of type temperatureSensor'],
    ['010001 0167 01', 'the payload ends within a value of type temperatureSensor'],
    ['01FF00', 'the type 255 at byte 1 is none of Cayenne LPP'],
  ])('fails on %s', (hex, detail) => {
    expect(decoded(hex)).toBe(detail);
  });

  test.each([
    [[1], 'the data is an object'],
    ['x', 'the data is an object'],
    [{ heat: { 1: 1 } }, 'heat is no type of Cayenne LPP'],
    [{ __proto__: null, constructor: { 1: 1 } }, 'constructor is no type'],
    [{ switch: 1 }, 'switch has its values by channel'],
    [{ switch: { 256: 1 } }, 'a channel is a number from 0 to 255'],
    [{ switch: { 1: 256 } }, 'switch 1 is no number in its range'],
    [{ switch: { 1: 'on' } }, 'switch 1 is no number in its range'],
    [{ temperatureSensor: { 1: 4000 } }, 'temperatureSensor 1 is no number in its range'],
    [{ gpsLocation: { 1: { latitude: 1, longitude: 2 } } }, 'gpsLocation 1.altitude is no number in its range'],
    [{ gpsLocation: { 1: null } }, 'gpsLocation 1.latitude is no number in its range'],
  ])('refuses to write %j', (data, detail) => {
    expect(encodeCayenne(data)).toMatchObject({ kind: 'failed', detail: expect.stringContaining(detail) });
  });

  test('takes true and false as 1 and 0', () => {
    expect(encodeCayenne({ digitalOutput: { 3: true } })).toMatchObject({ bytes: bytes('030101') });
  });

  test('never throws, and writes again what it has read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (given) => {
        const told = decodeCayenne(given);
        if (told.kind === 'failed') return;
        const again = encodeCayenne(told.data);
        expect(again.kind).toBe('encoded');
        expect(decodeCayenne((again as { bytes: Uint8Array }).bytes)).toEqual(told);
      }),
      { numRuns: 2_000 },
    );
    fc.assert(fc.property(fc.jsonValue(), (data) => void encodeCayenne(data)));
  });
});
