import type { Decoded, Encoded } from '@millrace/core';

/** A type of value of Cayenne's Low Power Payload.
 *  @shape parts: of a value that has several, their names, sizes and units */
interface LppType {
  readonly type: number;
  /** As ChirpStack names it. */
  readonly name: string;
  readonly parts: readonly LppPart[];
}
/** @units of one step: 1 / scale */
interface LppPart {
  readonly name: string;
  readonly size: 1 | 2 | 3 | 4;
  readonly signed: boolean;
  readonly scale: number;
}

const signed = (size: LppPart['size'], scale: number, name = ''): LppPart => ({ name, size, signed: true, scale });
const unsigned = (size: LppPart['size'], scale: number, name = ''): LppPart => ({ name, size, signed: false, scale });
const axes = (scale: number): LppPart[] => ['x', 'y', 'z'].map((axis) => signed(2, scale, axis));
const type = (type: number, name: string, ...parts: LppPart[]): LppType => ({ type, name, parts });

/** @source myDevices' Cayenne LPP and the types that the Arduino library of Electronic Cats adds; names of ChirpStack */
const TYPES: readonly LppType[] = [
  type(0, 'digitalInput', unsigned(1, 1)),
  type(1, 'digitalOutput', unsigned(1, 1)),
  type(2, 'analogInput', signed(2, 100)),
  type(3, 'analogOutput', signed(2, 100)),
  type(100, 'genericSensor', unsigned(4, 1)),
  type(101, 'illuminanceSensor', unsigned(2, 1)),
  type(102, 'presenceSensor', unsigned(1, 1)),
  type(103, 'temperatureSensor', signed(2, 10)),
  type(104, 'humiditySensor', unsigned(1, 2)),
  type(113, 'accelerometer', ...axes(1_000)),
  type(115, 'barometer', unsigned(2, 10)),
  type(116, 'voltage', unsigned(2, 100)),
  type(117, 'current', unsigned(2, 1_000)),
  type(118, 'frequency', unsigned(4, 1)),
  type(120, 'percentage', unsigned(1, 1)),
  type(121, 'altitude', signed(2, 1)),
  type(125, 'concentration', unsigned(2, 1)),
  type(128, 'power', unsigned(2, 1)),
  type(130, 'distance', unsigned(4, 1_000)),
  type(131, 'energy', unsigned(4, 1_000)),
  type(132, 'direction', unsigned(2, 1)),
  type(133, 'unixTime', unsigned(4, 1)),
  type(134, 'gyrometer', ...axes(100)),
  type(135, 'colour', ...['red', 'green', 'blue'].map((name) => unsigned(1, 1, name))),
  type(136, 'gpsLocation', signed(3, 10_000, 'latitude'), signed(3, 10_000, 'longitude'), signed(3, 100, 'altitude')),
  type(142, 'switch', unsigned(1, 1)),
];
const BY_TYPE = new Map(TYPES.map((each) => [each.type, each]));
const BY_NAME = new Map(TYPES.map((each) => [each.name, each]));
const VALUES_MAX = 1_024;

type Value = number | Record<string, number>;
const failed = (detail: string) => ({ kind: 'failed' as const, detail, logs: [] });

/** Channel, type, value, and again, up to the end.
 *  @shape data: `{temperatureSensor: {1: 27.2}}`: by name, then by channel */
export function decodeCayenne(bytes: Uint8Array): Decoded {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const data: Record<string, Record<string, Value>> = {};
  for (let at = 0; at < view.length; ) {
    const channel = view[at] as number;
    const code = view[at + 1];
    if (code === undefined) return failed('the payload ends before the type of its last value');
    const known = BY_TYPE.get(code);
    if (known === undefined) return failed(`the type ${code} at byte ${at + 1} is none of Cayenne LPP`);
    at += 2;
    const parts: Record<string, number> = {};
    for (const { name, size, signed, scale } of known.parts) {
      if (at + size > view.length) return failed(`the payload ends within a value of type ${known.name}`);
      parts[name] = (signed ? view.readIntBE(at, size) : view.readUIntBE(at, size)) / scale;
      at += size;
    }
    data[known.name] ??= {};
    (data[known.name] as Record<string, Value>)[channel] = parts[''] ?? parts;
  }
  return { kind: 'decoded', data, warnings: [], logs: [] };
}

/** The inverse.  @param data as `decodeCayenne` gives it */
export function encodeCayenne(data: unknown): Encoded {
  if (typeof data !== 'object' || data === null || Array.isArray(data))
    return failed('the data is an object such as { "analogOutput": { "1": 3.2 } }');
  const out: number[] = [];
  let count = 0;
  for (const [name, channels] of Object.entries(data)) {
    const known = BY_NAME.get(name);
    if (known === undefined) return failed(`${name.slice(0, 64)} is no type of Cayenne LPP`);
    if (typeof channels !== 'object' || channels === null) return failed(`${name} has its values by channel`);
    for (const [channel, value] of Object.entries(channels as Record<string, unknown>)) {
      const number = Number(channel);
      if (!/^\d{1,3}$/.test(channel) || number > 255) return failed(`${name}: a channel is a number from 0 to 255`);
      if (++count > VALUES_MAX) return failed(`more than ${VALUES_MAX} values`);
      out.push(number, known.type);
      for (const part of known.parts) {
        const given = part.name === '' ? value : (value as Record<string, unknown> | null)?.[part.name];
        const steps = stepsOf(given, part);
        if (steps === null)
          return failed(`${name} ${channel}${part.name && `.${part.name}`} is no number in its range`);
        for (let shift = part.size - 1; shift >= 0; shift--) out.push(Math.floor(steps / 256 ** shift) & 0xff);
      }
    }
  }
  return { kind: 'encoded', bytes: Uint8Array.from(out), fPort: null, warnings: [], logs: [] };
}

function stepsOf(value: unknown, { size, signed, scale }: LppPart): number | null {
  const number = typeof value === 'boolean' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number)) return null;
  const steps = Math.round(number * scale);
  const range = 256 ** size;
  const [least, most] = signed ? [-range / 2, range / 2 - 1] : [0, range - 1];
  if (steps < least || steps > most) return null;
  return steps < 0 ? steps + range : steps;
}
