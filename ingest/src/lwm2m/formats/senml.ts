import { type Lwm2mPath, parsePath, pathText } from '../path.ts';
import { type Lwm2mValue, ObjectLink, PayloadFault, parseLink, type Scalar } from '../value.ts';
import { type CborMap, readCbor, writeCbor } from './cbor.ts';
import { finite, type TypeOf } from './tlv.ts';

/** Labels of CBOR; `vlo` has none.  @source RFC 8428 §6, OMA LwM2M Core 1.1 §7.4.4 */
const LABELS: ReadonlyMap<number, string> = new Map([
  [-2, 'bn'],
  [-3, 'bt'],
  [-5, 'bv'],
  [0, 'n'],
  [2, 'v'],
  [3, 'vs'],
  [4, 'vb'],
  [6, 't'],
  [8, 'vd'],
]);
const LABEL_OF = new Map([...LABELS].map(([label, name]) => [name, label]));
/** Base version, units, sums: nothing that a value needs here. */
const PASSED_OVER: ReadonlySet<string> = new Set(['bver', 'bu', 'u', 'bs', 's', 'ut']);
const IGNORED_LABELS: ReadonlySet<number> = new Set([-1, -4, -6, 1, 5, 7]);
/** Times below are relative to now.  @source RFC 8428 §4.5.3 */
const RELATIVE_S_MAX = 2 ** 28;
const TIME_S_MAX = 253_402_300_800;
const NAME_CHARACTERS_MAX = 64;

type Fields = Map<string, unknown>;

/** Reads a pack of what is at `base`, or of anything where the base is null (Send).
 *  @throws PayloadFault  @source RFC 8428 §4, OMA LwM2M Core 1.1 §7.4.4 */
export function readSenmlJson(
  bytes: Buffer,
  base: Lwm2mPath | null,
  typeOf: TypeOf,
  valuesMax: number,
  nowS: number,
): Lwm2mValue[] {
  const pack = readJson(bytes);
  if (!Array.isArray(pack)) throw new PayloadFault('SenML: no array');
  const records = pack.map((record: unknown): Fields => {
    if (typeof record !== 'object' || record === null || Array.isArray(record)) {
      throw new PayloadFault('SenML: a record that is no object');
    }
    return new Map(Object.entries(record));
  });
  return resolved(records, base, typeOf, valuesMax, nowS);
}

/** The same in CBOR. */
export function readSenmlCbor(
  bytes: Buffer,
  base: Lwm2mPath | null,
  typeOf: TypeOf,
  valuesMax: number,
  nowS: number,
): Lwm2mValue[] {
  // A record has a few fields, a field a key and a value.
  const pack = readCbor(bytes, valuesMax * 16 + 16);
  if (!Array.isArray(pack)) throw new PayloadFault('SenML: no array');
  const records = pack.map((record: unknown): Fields => {
    if (!(record instanceof Map)) throw new PayloadFault('SenML: a record that is no map');
    const fields: Fields = new Map();
    for (const [key, value] of record as CborMap) {
      if (typeof key === 'string') fields.set(key, value);
      else if (LABELS.has(key)) fields.set(LABELS.get(key) as string, value);
      else if (!IGNORED_LABELS.has(key)) throw new PayloadFault('SenML: a label that is not known');
    }
    return fields;
  });
  return resolved(records, base, typeOf, valuesMax, nowS);
}

export function readJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    throw new PayloadFault('no JSON');
  }
}

function resolved(
  records: readonly Fields[],
  base: Lwm2mPath | null,
  typeOf: TypeOf,
  valuesMax: number,
  nowS: number,
): Lwm2mValue[] {
  if (records.length > valuesMax) throw new PayloadFault(`SenML: more than ${valuesMax} records`);
  let baseName = '';
  let baseTime = 0;
  let baseValue = 0;
  const values: Lwm2mValue[] = [];
  for (const fields of records) {
    baseName = textOf(fields, 'bn') ?? baseName;
    baseTime = numberOf(fields, 'bt') ?? baseTime;
    baseValue = numberOf(fields, 'bv') ?? baseValue;
    for (const name of fields.keys()) {
      // Fields that end so must be understood.
      if (name.endsWith('_') && !PASSED_OVER.has(name)) throw new PayloadFault('SenML: a field that is not known');
    }
    const path = pathOf(baseName + (textOf(fields, 'n') ?? ''), base);
    const value = scalarOf(fields, baseValue, path, typeOf);
    if (value === null) continue;
    values.push({ path, value, time: timeOf(baseTime + (numberOf(fields, 't') ?? 0), fields, baseTime, nowS) });
  }
  return values;
}

function pathOf(name: string, base: Lwm2mPath | null): Lwm2mPath {
  if (name.length > NAME_CHARACTERS_MAX) throw new PayloadFault('SenML: a name that is too long');
  // Some clients leave out what was asked for: `{"n":"","v":1}`, or `5700` within `/3303/0`.
  const own = base === null ? '' : pathText(base);
  const text = name.startsWith('/') ? name : name === '' ? own : `${own}/${name}`;
  const path = parsePath(text.length > 1 && text.endsWith('/') ? text.slice(0, -1) : text);
  if (path === null) throw new PayloadFault('SenML: a name that is no path');
  if (base !== null && !base.every((id, index) => path[index] === id)) {
    throw new PayloadFault('SenML: a name outside of what was asked for');
  }
  return path;
}

function scalarOf(fields: Fields, baseValue: number, path: Lwm2mPath, typeOf: TypeOf): Scalar | null {
  let value: Scalar | null = null;
  const number = numberOf(fields, 'v');
  if (number !== null) {
    value = finite(number + baseValue);
    // Some have no booleans.
    if (typeOf(path[0] as number, path[2] as number) === 'boolean' && (value === 0 || value === 1)) value = value === 1;
  }
  const text = textOf(fields, 'vs');
  if (text !== null) value = text;
  const flag = fields.get('vb');
  if (typeof flag === 'boolean') value = flag;
  else if (flag !== undefined) throw new PayloadFault('SenML: vb that is no boolean');
  const data = fields.get('vd');
  if (typeof data === 'string') value = Buffer.from(data, 'base64url');
  else if (Buffer.isBuffer(data)) value = data;
  else if (data !== undefined) throw new PayloadFault('SenML: vd that is no data');
  const link = textOf(fields, 'vlo');
  if (link !== null) {
    value = parseLink(link);
    if (value === null) throw new PayloadFault('SenML: vlo that is no object link');
  }
  if (value !== null && path.length < 3) throw new PayloadFault('SenML: a value of what is no resource');
  return value;
}

/** @returns s since 1970, or null where nothing was said */
function timeOf(sum: number, fields: Fields, baseTime: number, nowS: number): number | null {
  if (baseTime === 0 && !fields.has('t')) return null;
  const time = sum < RELATIVE_S_MAX ? nowS + sum : sum;
  if (!(Math.abs(time) < TIME_S_MAX)) throw new PayloadFault('SenML: a time out of range');
  return time;
}

function numberOf(fields: Fields, name: string): number | null {
  const value = fields.get(name);
  if (value === undefined) return null;
  if (typeof value !== 'number') throw new PayloadFault(`SenML: ${name} that is no number`);
  return finite(value);
}

function textOf(fields: Fields, name: string): string | null {
  const value = fields.get(name);
  if (value === undefined) return null;
  if (typeof value !== 'string') throw new PayloadFault(`SenML: ${name} that is no text`);
  return value;
}

/** @source OMA LwM2M Core 1.1 §7.4.4: the first record has the base name, the others what follows it */
function records(values: readonly Lwm2mValue[], base: Lwm2mPath): Fields[] {
  const baseName = `${pathText(base)}${base.length < 3 ? '/' : ''}`;
  return values.map(({ path, value }, index) => {
    const fields: Fields = new Map();
    if (index === 0) fields.set('bn', baseName);
    const rest = pathText(path).slice(baseName.length);
    if (rest !== '') fields.set('n', rest);
    fields.set(...fieldOf(value));
    return fields;
  });
}

function fieldOf(value: Scalar): [string, unknown] {
  if (Buffer.isBuffer(value)) return ['vd', value];
  if (value instanceof ObjectLink) return ['vlo', String(value)];
  if (typeof value === 'boolean') return ['vb', value];
  return typeof value === 'number' ? ['v', value] : ['vs', value];
}

export function writeSenmlJson(values: readonly Lwm2mValue[], base: Lwm2mPath): Buffer {
  const pack = records(values, base).map((fields) =>
    Object.fromEntries(
      [...fields].map(([name, value]) => [name, Buffer.isBuffer(value) ? value.toString('base64url') : value]),
    ),
  );
  return Buffer.from(JSON.stringify(pack), 'utf8');
}

export function writeSenmlCbor(values: readonly Lwm2mValue[], base: Lwm2mPath): Buffer {
  const pack = records(values, base).map(
    (fields): CborMap => new Map([...fields].map(([name, value]) => [LABEL_OF.get(name) ?? name, value])),
  );
  return writeCbor(pack);
}
