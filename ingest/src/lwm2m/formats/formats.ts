import type { Lwm2mFormat } from '@millrace/core';
import { Format } from '../../coap/message/message.ts';
import type { ResourceType } from '../definitions/model-file.ts';
import type { Lwm2mPath } from '../path.ts';
import { type Lwm2mValue, ObjectLink, PayloadFault, parseLink, type Scalar } from '../value.ts';
import { readCbor, writeCbor } from './cbor.ts';
import { readLwm2mJson, writeLwm2mJson } from './json.ts';
import { readSenmlCbor, readSenmlJson, writeSenmlCbor, writeSenmlJson } from './senml.ts';
import { finite, readTlv, type TypeOf, writeTlv } from './tlv.ts';

/** Content-Formats by name. */
export const FORMAT_NUMBERS: Readonly<Record<Lwm2mFormat, number>> = {
  text: Format.Text,
  opaque: Format.OctetStream,
  cbor: Format.Cbor,
  'senml-json': Format.SenmlJson,
  'senml-cbor': Format.SenmlCbor,
  tlv: Format.Tlv,
  json: Format.LwM2mJson,
};
/** Of drafts of 1.0; clients in the field still use them. */
const OLD_TLV = 1_542;
const OLD_JSON = 1_543;

export interface ReadOptions {
  /** Where it was asked for; null: it says itself (Send). */
  readonly base: Lwm2mPath | null;
  readonly typeOf: TypeOf;
  readonly valuesMax: number;
  /** s since 1970 */
  readonly nowS: number;
}
export type Read =
  | { readonly kind: 'values'; readonly values: readonly Lwm2mValue[] }
  | { readonly kind: 'bad'; readonly detail: string }
  /** Nothing that we read. */
  | { readonly kind: 'unsupported' };

/** Reads a device's payload.  @throws never
 *  @param format Content-Format; null if it named none: text, as RFC 7252 would have it */
export function readValues(payload: Buffer, format: number | null, options: ReadOptions): Read {
  try {
    const values = read(payload, format ?? Format.Text, options);
    return values === null ? { kind: 'unsupported' } : { kind: 'values', values };
  } catch (error) {
    if (error instanceof PayloadFault) return { kind: 'bad', detail: error.message };
    // Whatever else a hostile payload brings about in a reader, as too long a text.
    return { kind: 'bad', detail: 'not readable' };
  }
}

function read(payload: Buffer, format: number, options: ReadOptions): Lwm2mValue[] | null {
  const { base, typeOf, valuesMax, nowS } = options;
  switch (format) {
    case Format.SenmlJson:
      return readSenmlJson(payload, base, typeOf, valuesMax, nowS);
    case Format.SenmlCbor:
      return readSenmlCbor(payload, base, typeOf, valuesMax, nowS);
  }
  if (base === null) return null;
  switch (format) {
    case Format.Tlv:
    case OLD_TLV:
      return readTlv(payload, base, typeOf, valuesMax);
    case Format.LwM2mJson:
    case OLD_JSON:
      return readLwm2mJson(payload, base, valuesMax, nowS);
    case Format.Text:
    case Format.OctetStream:
    case Format.Cbor: {
      if (base.length < 3) throw new PayloadFault('a single value for what has several');
      return [
        { path: base, value: readSingle(payload, format, typeOf(base[0] as number, base[2] as number)), time: null },
      ];
    }
    default:
      return null;
  }
}

function readSingle(payload: Buffer, format: number, type: ResourceType | null): Scalar {
  if (format === Format.OctetStream) return payload;
  if (format === Format.Cbor) {
    const value = readCbor(payload, 1);
    if (typeof value === 'number') return type === 'boolean' ? value === 1 : finite(value);
    if (typeof value === 'string' && type === 'objlnk') return parseLink(value) ?? value;
    if (typeof value === 'string' || typeof value === 'boolean' || Buffer.isBuffer(value)) return value;
    throw new PayloadFault('CBOR: no single value');
  }
  const text = payload.toString('utf8');
  switch (type) {
    case 'float':
    case 'integer':
    case 'time': {
      const number = Number(text);
      if (text.trim() === '' || !Number.isFinite(number)) throw new PayloadFault('text that is no number');
      return number;
    }
    case 'boolean':
      if (text !== '0' && text !== '1') throw new PayloadFault('text that is neither 0 nor 1');
      return text === '1';
    case 'opaque':
      return Buffer.from(text, 'base64');
    case 'objlnk': {
      const link = parseLink(text);
      if (link === null) throw new PayloadFault('text that is no object link');
      return link;
    }
    case null: {
      // Nobody told us its type: what reads as a number is one.
      const number = Number(text);
      return text.trim() !== '' && text.length < 32 && Number.isFinite(number) ? number : text;
    }
    default:
      return text;
  }
}

/** Writes values that are all below `base`.
 *  @returns null where a format cannot hold them: single values that are several */
export function writeValues(
  values: readonly Lwm2mValue[],
  format: Lwm2mFormat,
  base: Lwm2mPath,
  typeOf: TypeOf,
): Buffer | null {
  switch (format) {
    case 'tlv':
      return writeTlv(values, base, typeOf);
    case 'senml-json':
      return writeSenmlJson(values, base);
    case 'senml-cbor':
      return writeSenmlCbor(values, base);
    case 'json':
      return writeLwm2mJson(values, base);
  }
  const [single] = values;
  if (single === undefined || values.length > 1 || base.length < 3 || single.path.length !== base.length) return null;
  const { value } = single;
  if (format === 'opaque') return Buffer.isBuffer(value) ? value : null;
  if (format === 'cbor') return writeCbor(value instanceof ObjectLink ? String(value) : value);
  if (typeof value === 'boolean') return Buffer.from(value ? '1' : '0');
  return Buffer.from(Buffer.isBuffer(value) ? value.toString('base64') : String(value), 'utf8');
}

/** In which format a device is written to, where nobody says: single values as text or bytes, others in what it said that
 *  it reads, else in what its version must read. */
export function formatToWrite(
  values: readonly Lwm2mValue[],
  base: Lwm2mPath,
  device: { readonly version: string; readonly formats: readonly number[] },
): Lwm2mFormat {
  const [first] = values;
  if (first !== undefined && values.length === 1 && base.length >= 3 && first.path.length === base.length) {
    return Buffer.isBuffer(first.value) ? 'opaque' : 'text';
  }
  if (device.version === '1.0') return 'tlv';
  for (const format of ['senml-cbor', 'tlv', 'senml-json'] as const) {
    if (device.formats.includes(FORMAT_NUMBERS[format])) return format;
  }
  return device.formats.length === 0 ? 'tlv' : 'senml-cbor';
}
