/** One link of a list in CoRE Link Format. */
export interface Link {
  readonly target: string;
  readonly attributes: Readonly<Record<string, string>>;
}

const ATTRIBUTES_MAX = 32;

/** Reads CoRE Link Format, forgiving of what is not needed.
 *  @returns null if it is none, or has more than `linksMax`  @source RFC 6690 §2 */
export function parseLinks(text: string, linksMax: number): Link[] | null {
  const links: Link[] = [];
  let at = 0;
  const skipSpaces = (): void => {
    while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++;
  };
  skipSpaces();
  while (at < text.length) {
    if (text[at] !== '<' || links.length >= linksMax) return null;
    const end = text.indexOf('>', at);
    if (end === -1) return null;
    const target = text.slice(at + 1, end);
    at = end + 1;
    const attributes: [string, string][] = [];
    while (text[at] === ';') {
      at++;
      let stop = at;
      while (stop < text.length && !';,='.includes(text[stop] as string)) stop++;
      const name = text.slice(at, stop).trim();
      let value = '';
      at = stop;
      if (text[at] === '=') {
        at++;
        if (text[at] === '"') {
          const close = text.indexOf('"', at + 1);
          if (close === -1) return null;
          value = text.slice(at + 1, close);
          at = close + 1;
        } else {
          stop = at;
          while (stop < text.length && text[stop] !== ';' && text[stop] !== ',') stop++;
          value = text.slice(at, stop).trim();
          at = stop;
        }
      }
      if (attributes.length >= ATTRIBUTES_MAX) return null;
      if (name !== '') attributes.push([name, value]);
    }
    links.push({ target, attributes: Object.fromEntries(attributes) });
    skipSpaces();
    if (at >= text.length) break;
    if (text[at] !== ',') return null;
    at++;
    skipSpaces();
  }
  return links;
}

/** What a registration's list says: objects and instances, and what the root link tells about the device. */
export interface DeviceLinks {
  /** As it said them: `/3303/0`, or `/3303` of an object without instances; below its root, `/lwm2m/3303/0`. */
  readonly objects: readonly string[];
  /** null: it has no root link. */
  readonly formats: readonly number[] | null;
}

/** Segments of a root are no numbers. */
const ROOT = String.raw`((?:\/(?!\d+(?:\/|$))[\w.-]{1,32}){0,4})`;
const OBJECT = new RegExp(String.raw`^${ROOT}\/(?:0|[1-9]\d{0,4})(?:\/(?:0|[1-9]\d{0,4}))?$`);
const FORMATS_MAX = 32;

/** @source OMA LwM2M Core 1.1 §6.2.1: the root link has `rt="oma.lwm2m"`, and `ct` for the formats beside the usual ones */
export function deviceLinks(links: readonly Link[]): DeviceLinks {
  const root = links.find(({ attributes }) => attributes.rt?.split(' ').includes('oma.lwm2m'));
  const objects: string[] = [];
  for (const link of links) {
    if (link === root) continue;
    const path = link.target.startsWith('/') ? link.target : `/${link.target}`;
    if (OBJECT.test(path)) objects.push(path);
  }
  if (root === undefined) return { objects, formats: null };
  const formats = (root.attributes.ct ?? '')
    .split(/\s+/)
    .filter((word) => /^\d{1,5}$/.test(word))
    .slice(0, FORMATS_MAX)
    .map(Number);
  return { objects, formats };
}

/** Where the device's objects begin, when it is not at its root: `/lwm2m` of `/lwm2m/3303/0`. */
export const rootOf = (objects: readonly string[]): string => OBJECT.exec(objects[0] ?? '')?.[1] ?? '';
