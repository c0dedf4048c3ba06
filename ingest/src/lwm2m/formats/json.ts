import { type Lwm2mPath, parsePath, pathText } from '../path.ts';
import { type Lwm2mValue, ObjectLink, PayloadFault, parseLink, type Scalar } from '../value.ts';
import { readJson } from './senml.ts';
import { finite } from './tlv.ts';

const NAME_CHARACTERS_MAX = 64;

/** Reads the JSON of LwM2M 1.0.  @throws PayloadFault
 *  @source OMA LwM2M 1.0 §6.4.4: `{"bn":"/3303/0/","e":[{"n":"5700","v":21}]}` */
export function readLwm2mJson(bytes: Buffer, base: Lwm2mPath, valuesMax: number, nowS: number): Lwm2mValue[] {
  const pack = readJson(bytes);
  if (typeof pack !== 'object' || pack === null || !('e' in pack) || !Array.isArray(pack.e)) {
    throw new PayloadFault('JSON: no array "e"');
  }
  const { bn, bt, e } = pack as { readonly bn?: unknown; readonly bt?: unknown; readonly e: readonly unknown[] };
  if (e.length > valuesMax) throw new PayloadFault(`JSON: more than ${valuesMax} values`);
  const baseName = typeof bn === 'string' && bn !== '' ? bn : pathText(base);
  const baseTime = typeof bt === 'number' ? finite(bt) : 0;
  const values: Lwm2mValue[] = [];
  for (const entry of e) {
    if (typeof entry !== 'object' || entry === null) throw new PayloadFault('JSON: a value that is no object');
    const fields = entry as Readonly<Record<string, unknown>>;
    const name = typeof fields.n === 'string' ? fields.n : '';
    if (baseName.length + name.length > NAME_CHARACTERS_MAX) throw new PayloadFault('JSON: a name that is too long');
    const between = name === '' || name.startsWith('/') || baseName.endsWith('/') ? '' : '/';
    const path = parsePath((baseName + between + name).replace(/(?<=.)\/$/, ''));
    if (path === null || path.length < 3) throw new PayloadFault('JSON: a name that is no path of a resource');
    if (!base.every((id, index) => path[index] === id)) throw new PayloadFault('JSON: outside of what was asked for');
    const value = scalarOf(fields);
    if (value === null) continue;
    const time = typeof fields.t === 'number' || baseTime !== 0 ? baseTime + Number(fields.t ?? 0) : null;
    // 0 or less: so long before now.
    values.push({ path, value, time: time === null ? null : finite(time > 0 ? time : nowS + time) });
  }
  return values;
}

function scalarOf({ v, sv, bv, ov }: Readonly<Record<string, unknown>>): Scalar | null {
  if (typeof v === 'number') return finite(v);
  if (typeof bv === 'boolean') return bv;
  if (typeof ov === 'string') return parseLink(ov);
  return typeof sv === 'string' ? sv : null;
}

export function writeLwm2mJson(values: readonly Lwm2mValue[], base: Lwm2mPath): Buffer {
  const baseName = `${pathText(base)}${base.length < 3 ? '/' : ''}`;
  const e = values.map(({ path, value }) => {
    const n = pathText(path).slice(baseName.length);
    if (Buffer.isBuffer(value)) return { n, sv: value.toString('base64') };
    if (value instanceof ObjectLink) return { n, ov: String(value) };
    if (typeof value === 'boolean') return { n, bv: value };
    return typeof value === 'number' ? { n, v: value } : { n, sv: value };
  });
  return Buffer.from(JSON.stringify({ bn: baseName, e }), 'utf8');
}
