/** Content-Formats and the content types that they stand for.  @source IANA, CoAP Content-Formats */
const FORMATS: readonly (readonly [format: number, contentType: string])[] = [
  [0, 'text/plain'],
  [21, 'image/gif'],
  [22, 'image/jpeg'],
  [23, 'image/png'],
  [40, 'application/link-format'],
  [41, 'application/xml'],
  [42, 'application/octet-stream'],
  [47, 'application/exi'],
  [50, 'application/json'],
  [60, 'application/cbor'],
  [61, 'application/cwt'],
  [110, 'application/senml+json'],
  [111, 'application/sensml+json'],
  [112, 'application/senml+cbor'],
  [113, 'application/sensml+cbor'],
  [310, 'application/senml+xml'],
  [311, 'application/sensml+xml'],
  [11_542, 'application/vnd.oma.lwm2m+tlv'],
  [11_543, 'application/vnd.oma.lwm2m+json'],
  [11_544, 'application/vnd.oma.lwm2m+cbor'],
];
const TYPES = new Map(FORMATS);
const NUMBERS = new Map(FORMATS.map(([format, contentType]) => [contentType, format]));

/** What a publisher's Content-Format says of its message. Absent, the channel's default holds ("").
 *  @returns null for a number that we do not know */
export function contentTypeOf(format: number | null): string | null {
  return format === null ? '' : (TYPES.get(format) ?? null);
}

/** The Content-Format of a message; undefined for content types that have no number.
 *  A message that was published without one is told by its first byte, as the processors do. */
export function formatOf(contentType: string, payload: Uint8Array): number | undefined {
  const end = contentType.indexOf(';');
  const bare = (end === -1 ? contentType : contentType.slice(0, end)).trim().toLowerCase();
  if (bare !== '') return NUMBERS.get(bare);
  const first = payload[0];
  return first === 0x5b || first === 0x7b ? 50 : 42;
}

/** Whether an answer in this format is what the client asked for by Accept. */
export function acceptable(accept: number | null, format: number | undefined, contentType: string): boolean {
  if (accept === null || accept === format) return true;
  // What named no content type is JSON that may well be SenML.
  return accept === 110 && format === 50 && contentType === '';
}
