const NAMED: Readonly<Record<string, string>> = {
  'senml-json': 'application/senml+json',
  'senml-cbor': 'application/senml+cbor',
  'octet-stream': 'application/octet-stream',
};
const TYPE = /^[a-z0-9][a-z0-9.-]{0,63}_[a-z0-9][a-z0-9._-]{0,63}$/i;

/** What the last segments of a topic say of the content type.
 *  @shape `senml-json`, `senml-cbor`, `octet-stream`; or `ct/<type>`, where '_' stands for the '/' and, since a topic
 *         can't hold it, '-' for the '+' of a structured suffix: `ct/application_senml-json`
 *  @returns null if they say nothing; size: how many segments it takes */
export function namedContentType(segments: readonly string[]): { readonly type: string; readonly size: 1 | 2 } | null {
  const last = segments[segments.length - 1];
  if (last === undefined) return null;
  if (Object.hasOwn(NAMED, last)) return { type: NAMED[last] as string, size: 1 };
  if (segments[segments.length - 2] !== 'ct' || !TYPE.test(last)) return null;
  const type = last
    .toLowerCase()
    .replace('_', '/')
    .replace(/-(json|cbor|xml)$/, '+$1');
  return { type, size: 2 };
}
