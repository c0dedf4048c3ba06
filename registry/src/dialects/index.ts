import type { Route } from '../http/route.ts';
import { certificateAccents, classicCertificates } from './classic-certificates.ts';
import { classicGroups, groupAccents } from './classic-groups.ts';
import { classicInventory, inventoryAccents } from './classic-inventory.ts';
import { keyAccents } from './classic-keys.ts';
import { classicPeople } from './classic-people.ts';
import { firstAccents, firstDialect } from './first.ts';
import { identifyRoutes } from './identify.ts';
import { askOf, withAccents } from './translation.ts';

const accents = [...inventoryAccents, ...keyAccents, ...groupAccents, ...certificateAccents, ...firstAccents];
const nameOf = ({ specification }: Route): string => `${specification.method} ${specification.path}`;

/** Our own routes, understanding what older scripts and firmware say, and the paths that only these know. What a
 *  dialect asks is asked of our own routes, with all their checks. Where a dialect has a path of ours and answers
 *  otherwise, it stands in our route's place.  @see docs/dialects.md */
export function speakingDialects(native: readonly Route[]): readonly Route[] {
  const ask = askOf(native);
  const theirs = [
    ...identifyRoutes,
    ...classicPeople(ask),
    ...classicInventory(ask),
    ...classicGroups(ask),
    ...classicCertificates(ask),
    ...firstDialect(ask),
  ];
  const replaced = new Set(theirs.map(nameOf));
  // Theirs first: /users/profile is no user's id.
  return [
    ...theirs,
    ...withAccents(
      native.filter((route) => !replaced.has(nameOf(route))),
      accents,
    ),
  ];
}
