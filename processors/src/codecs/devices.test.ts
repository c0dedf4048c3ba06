import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { codecOf, startCodecs } from '../testing/codecs.ts';

let started: Awaited<ReturnType<typeof startCodecs>>;
beforeAll(async () => {
  started = await startCodecs();
});
afterAll(() => started.stop());

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex, 'hex'));
const decode = (script: string, hex: string, fPort = 2, variables: Record<string, string> = {}) =>
  started.codecs.decode(codecOf(script), { bytes: bytes(hex), fPort, variables });
const encode = (script: string, data: unknown, fPort = 85, variables: Record<string, string> = {}) =>
  started.codecs.encode(codecOf(script), { data, fPort, variables });

/** In the style of a temperature and humidity sensor with a probe: fixed places, status bits. */
const PROBE = `
function decodeUplink(input) {
  var b = input.bytes;
  var warnings = [];
  if (input.fPort !== 2) return { errors: ['unknown FPort ' + input.fPort] };
  var data = {};
  data.batteryVolts = (((b[0] << 8) | b[1]) & 0x3fff) / 1000;
  data.batteryStatus = ['bad', 'low', 'ok', 'good'][b[0] >> 6];
  data.temperature = Number((((b[2] << 24) >> 16 | b[3]) / 100).toFixed(2));
  data.humidity = (((b[4] << 8) | b[5]) / 10);
  if ((b[6] & 0x0f) === 1) {
    var probe = ((b[7] << 24) >> 16) | b[8];
    if (probe === 0x7fff) warnings.push('the probe is not connected');
    else data.probe = probe / 100;
  }
  return { data: data, warnings: warnings };
}`;

/** In the style of devices that send type, channel, value. */
const CHANNELS = `
const readers = {
  '01-75': (b, at, out) => { out.battery = b[at]; return at + 1; },
  '03-67': (b, at, out) => { out.temperature = int16(b, at) / 10; return at + 2; },
  '04-68': (b, at, out) => { out.humidity = b[at] / 2; return at + 1; },
  'ff-0b': (b, at, out) => { out.event = 'on'; return at + 1; },
};
const int16 = (b, at) => { const v = b[at] | (b[at + 1] << 8); return v > 0x7fff ? v - 0x10000 : v; };
const hex = (byte) => ('0' + byte.toString(16)).slice(-2);
function milesightLike(bytes) {
  const out = {};
  for (let at = 0; at < bytes.length; ) {
    const read = readers[hex(bytes[at]) + '-' + hex(bytes[at + 1])];
    if (!read) break;
    at = read(bytes, at + 2, out);
  }
  return out;
}
function decodeUplink({ bytes }) { return { data: milesightLike(bytes) }; }
function Decode(fPort, bytes) { throw new Error('the older form must not be taken'); }
function encodeDownlink({ data, variables }) {
  const bytes = [];
  if (data.reportInterval !== undefined) {
    const seconds = data.reportInterval;
    if (!(seconds >= 1 && seconds <= 0xffff)) return { errors: ['reportInterval is from 1 to 65535'] };
    bytes.push(0xff, 0x03, seconds & 0xff, seconds >> 8);
  }
  if (data.reboot) bytes.push(0xff, 0x10, 0xff);
  return { bytes, fPort: Number(variables.port || 85), warnings: bytes.length === 0 ? ['nothing to send'] : [] };
}`;

describe('decoders', { timeout: 60_000 }, () => {
  test('that read fixed places give data and warnings', async () => {
    expect(await decode(PROBE, 'cbf60b0d0376017fff00'.slice(0, 18))).toMatchObject({
      kind: 'decoded',
      data: { batteryVolts: 3.062, batteryStatus: 'good', temperature: 28.29, humidity: 88.6 },
      warnings: ['the probe is not connected'],
    });
    expect(await decode(PROBE, 'cbf6f5380376010add')).toMatchObject({ data: { temperature: -27.6, probe: 27.81 } });
  });
  test('that read type by type are called by their newest form', async () => {
    expect(await decode(CHANNELS, '017564 0367f8ff 046871 ff0bff'.replaceAll(' ', ''))).toMatchObject({
      kind: 'decoded',
      data: { battery: 100, temperature: -0.8, humidity: 56.5, event: 'on' },
    });
  });
  test('fail with the errors that they tell', async () => {
    expect(await decode(PROBE, '00', 9)).toMatchObject({ kind: 'failed', detail: 'unknown FPort 9' });
  });
  test('of ChirpStack v3 and of The Things Network v2 are called as those did', async () => {
    expect(
      await decode(
        'function Decode(fPort, bytes, variables) { return { fPort, sum: bytes[0] + bytes[1], v: variables.a } }',
        '0203',
        7,
        { a: 'x' },
      ),
    ).toMatchObject({ kind: 'decoded', data: { fPort: 7, sum: 5, v: 'x' } });
    expect(
      await decode('function Decoder(bytes, port) { return { port, n: bytes.length } }', '020304', 7),
    ).toMatchObject({
      data: { port: 7, n: 3 },
    });
  });
  test('may be any function of that name, see their variables, the time and nothing of each other', async () => {
    const script =
      'const decodeUplink = (input) => ({ data: { time: input.recvTime instanceof Date, v: input.variables.k, list: Array.isArray(input.bytes) } })';
    expect(await decode(script, '', 1, { k: 'v' })).toMatchObject({ data: { time: true, v: 'v', list: true } });
  });
  test('tell what they log', async () => {
    const script =
      'function decodeUplink(i) { console.log("bytes", i.bytes, 1, null, undefined, { a: [true] }); console.warn("w"); return { data: 1 } }';
    expect(await decode(script, '0102')).toMatchObject({
      data: 1,
      logs: ['bytes [1,2] 1 null undefined {"a":[true]}', 'w'],
    });
  });
});

describe('encoders', { timeout: 60_000 }, () => {
  test('give bytes, a port where they say one, and warnings', async () => {
    expect(await encode(CHANNELS, { reportInterval: 600, reboot: true })).toEqual({
      kind: 'encoded',
      bytes: bytes('ff035802ff10ff'),
      fPort: 85,
      warnings: [],
      logs: [],
    });
    expect(await encode(CHANNELS, {}, 2, { port: '7' })).toMatchObject({ fPort: 7, warnings: ['nothing to send'] });
    expect(await encode(CHANNELS, { reportInterval: 0 })).toMatchObject({
      kind: 'failed',
      detail: 'reportInterval is from 1 to 65535',
    });
  });
  test('of the older forms give bytes alone, in any kind of list', async () => {
    expect(
      await encode(
        'function Encode(fPort, obj, variables) { return [fPort, obj.a, Number(variables.b)] }',
        { a: 2 },
        1,
        { b: '3' },
      ),
    ).toMatchObject({ kind: 'encoded', bytes: bytes('010203'), fPort: null });
    expect(
      await encode('function Encoder(obj, port) { return new Uint8Array([obj.a, port]) }', { a: 9 }, 4),
    ).toMatchObject({
      bytes: bytes('0904'),
    });
  });
  test.each([
    ['no bytes', '{}', 'it gives back no list of bytes'],
    ['text', '{ bytes: "ff" }', 'it gives back no list of bytes'],
    ['a fraction', '{ bytes: [1.5] }', 'its bytes are not all integers from 0 to 255'],
    ['too large a byte', '{ bytes: [256] }', 'its bytes are not all integers from 0 to 255'],
    ['too many', '{ bytes: new Array(5000).fill(1) }', 'it gives back more than 4096 bytes'],
    ['no port', '{ bytes: [1], fPort: 300 }', 'its fPort is no integer from 1 to 255'],
  ])('fail when they give %s', async (_, answer, detail) => {
    expect(await encode(`function encodeDownlink() { return ${answer} }`, {})).toMatchObject({
      kind: 'failed',
      detail,
    });
  });
});
