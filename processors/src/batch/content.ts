import { isUtf8 } from 'node:buffer';
import { CborDecoder, CborFault } from '../cbor/decode.ts';
import { flattenJson } from '../json/flatten.ts';
import type { TimeField } from '../profile/time.ts';
import type { MessageRows } from '../rows/message-rows.ts';
import { SENML_LABELS } from '../senml/labels.ts';
import { looksLikeSenml, type Refusal, resolveSenml } from '../senml/resolve.ts';

// hot

/** How a payload is read. `sniff`: its content type is not known. */
export type Dialect = 'senml-json' | 'senml-cbor' | 'json' | 'cbor' | 'blob' | 'sniff';

/** What a payload turned out to be; `json`: plain data, in JSON or CBOR. `refusal`: why it gives no reading. */
export interface Reading {
  readonly dialect: 'senml' | 'json' | 'blob';
  readonly refusal: Refusal | null;
}

const DIALECTS: Readonly<Record<string, Dialect>> = {
  '': 'sniff',
  'application/senml+json': 'senml-json',
  'application/sensml+json': 'senml-json',
  'application/senml+cbor': 'senml-cbor',
  'application/sensml+cbor': 'senml-cbor',
  'application/json': 'json',
  'application/cbor': 'cbor',
};

export function dialectOf(contentType: string): Dialect {
  const end = contentType.indexOf(';');
  const bare = (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
  return Object.hasOwn(DIALECTS, bare) ? (DIALECTS[bare] as Dialect) : 'blob';
}

const BLOB: Reading = { dialect: 'blob', refusal: null };
const SENML: Reading = { dialect: 'senml', refusal: null };
const JSON_READ: Reading = { dialect: 'json', refusal: null };
const cbor = new CborDecoder(SENML_LABELS);
const plainCbor = new CborDecoder(null);

/** Reads a payload into `rows`.
 *  @param messageUs when it happened: relative times are relative to it, and what says no time has it
 *  @param time where plain JSON or CBOR says its time; null: nowhere
 *  @holds rows are void where a refusal comes back  @throws never */
export function readPayload(
  dialect: Dialect,
  payload: Buffer,
  messageUs: number,
  time: TimeField | null,
  rows: MessageRows,
): Reading {
  switch (dialect) {
    case 'senml-json':
      return readJson(payload, messageUs, null, rows, true);
    case 'json':
      return readJson(payload, messageUs, time, rows, false);
    case 'senml-cbor':
      return readCbor(payload, messageUs, rows);
    case 'cbor':
      return readPlainCbor(payload, messageUs, time, rows);
    case 'blob':
      return BLOB;
    case 'sniff':
      return sniff(payload, messageUs, time, rows);
  }
}

function sniff(payload: Buffer, messageUs: number, time: TimeField | null, rows: MessageRows): Reading {
  const first = firstByte(payload);
  if (first === 0x5b || first === 0x7b) return readJson(payload, messageUs, time, rows, false);
  if (!startsLikeCborPack(payload)) return BLOB;
  const reading = readCbor(payload, messageUs, rows);
  // What only looked like CBOR is a blob.
  return reading.refusal?.reason === 'malformed_cbor' ? BLOB : reading;
}

function readJson(
  payload: Buffer,
  messageUs: number,
  time: TimeField | null,
  rows: MessageRows,
  senml: boolean,
): Reading {
  const dialect = senml ? 'senml' : 'json';
  let text = payload.toString('utf8');
  if (text.charCodeAt(0) === 0xfeff) text = text.slice(1);
  if (text.includes('\ufffd') && !isUtf8(payload))
    return { dialect, refusal: { reason: 'malformed_json', detail: 'the text is not UTF-8' } };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { dialect, refusal: { reason: 'malformed_json', detail: (error as Error).message.slice(0, 200) } };
  }
  if (senml || looksLikeSenml(value)) {
    const refusal = resolveSenml(value, messageUs, rows);
    return refusal === null ? SENML : { dialect: 'senml', refusal };
  }
  const refusal = flattenJson(value, messageUs, rows, time);
  return refusal === null ? JSON_READ : { dialect: 'json', refusal };
}

function readCbor(payload: Buffer, messageUs: number, rows: MessageRows): Reading {
  let value: unknown;
  try {
    value = cbor.decode(payload);
  } catch (error) {
    if (!(error instanceof CborFault)) throw error;
    const reason = error.tooDeep ? 'too_deep' : 'malformed_cbor';
    return { dialect: 'senml', refusal: { reason, detail: error.message } };
  }
  const refusal = resolveSenml(value, messageUs, rows);
  return refusal === null ? SENML : { dialect: 'senml', refusal };
}

/** SenML if it looks so, as plain JSON is. */
function readPlainCbor(payload: Buffer, messageUs: number, time: TimeField | null, rows: MessageRows): Reading {
  try {
    if (startsLikeCborPack(payload)) {
      const pack = cbor.decode(payload);
      if (looksLikeSenml(pack)) {
        const refusal = resolveSenml(pack, messageUs, rows);
        return refusal === null ? SENML : { dialect: 'senml', refusal };
      }
    }
    const refusal = flattenJson(plainCbor.decode(payload), messageUs, rows, time);
    return refusal === null ? JSON_READ : { dialect: 'json', refusal };
  } catch (error) {
    if (!(error instanceof CborFault)) throw error;
    const reason = error.tooDeep ? 'too_deep' : 'malformed_cbor';
    return { dialect: 'json', refusal: { reason, detail: error.message } };
  }
}

/** The first byte that is no white space of JSON; −1 if there is none. */
function firstByte(payload: Buffer): number {
  for (let at = 0; at < payload.length; at++) {
    const byte = payload[at] as number;
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) return byte;
  }
  return -1;
}

/** An array whose first item is a map, perhaps after the self-described tag (d9 d9f7). */
function startsLikeCborPack(payload: Buffer): boolean {
  const at = payload.length > 3 && payload.readUIntBE(0, 3) === 0xd9d9f7 ? 3 : 0;
  const head = payload[at];
  if (head === undefined || head >>> 5 !== 4) return false;
  const info = head & 0x1f;
  if (info === 0 || (info > 27 && info !== 31)) return false;
  const first = payload[at + (info < 24 || info === 31 ? 1 : 1 + (1 << (info - 24)))];
  return first !== undefined && first >>> 5 === 5;
}
