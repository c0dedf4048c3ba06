import { diagnosis } from './answers.ts';
import type { CoapRequest, CoapResource, CoapResponse } from './contract.ts';
import { Code, Format } from './message/message.ts';

/** How messages stand in the list. Which channels there are is nobody's to know who has not said who they are. */
const MESSAGES =
  '</channels>;rt="millrace.messages";if="core.b";ct="110 112 50 60 42 0";obs;title="channels/<id>/messages[/<subtopic>]?auth=<key>"';

/** `/.well-known/core`: what there is, filtered by `?rt=` and the like.  @source RFC 6690 §4 */
export function wellKnownCore(request: CoapRequest, resources: Iterable<CoapResource>): CoapResponse {
  const { accept } = request;
  if (accept !== null && accept !== Format.Link) {
    return diagnosis(Code.NotAcceptable, 'This is given as 40 (link format).');
  }
  const links = [MESSAGES, ...[...new Set(resources)].flatMap((resource) => resource.links)];
  const shown = links.filter((link) => request.query.every((part) => matches(link, part)));
  return { code: Code.Content, format: Format.Link, payload: Buffer.from(shown.join(',')) };
}

/** @param part `<attribute>=<value>`, where a `*` at the end stands for any rest */
function matches(link: string, part: string): boolean {
  const equals = part.indexOf('=');
  if (equals < 0) return true;
  const name = part.slice(0, equals);
  const wanted = part.slice(equals + 1);
  const found = name === 'href' ? [hrefOf(link)] : attributeOf(link, name);
  return found.some((value) => (wanted.endsWith('*') ? value.startsWith(wanted.slice(0, -1)) : value === wanted));
}

const hrefOf = (link: string): string => link.slice(1, link.indexOf('>'));

/** Its values: those of a link's attribute are parted by spaces. */
function attributeOf(link: string, name: string): string[] {
  for (const [, found = '', quoted, bare = ''] of link.matchAll(/;([\w.*-]+)(?:=(?:"([^"]*)"|([^";,]*)))?/g)) {
    if (found === name) return (quoted ?? bare).split(' ');
  }
  return [];
}
