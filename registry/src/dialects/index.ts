import type { Route } from '../http/route.ts';
import { classicInventory, inventoryAccents } from './classic-inventory.ts';
import { firstAccents, firstDialect } from './first.ts';
import { identifyRoutes } from './identify.ts';
import { askOf, withAccents } from './translation.ts';

/** Our own routes, understanding what older scripts and firmware say, and the paths that only these know. What a
 *  dialect asks is asked of our own routes, with all their checks.  @see docs/dialects.md */
export function speakingDialects(native: readonly Route[]): readonly Route[] {
  const ask = askOf(native);
  return [
    ...withAccents(native, [...inventoryAccents, ...firstAccents]),
    ...identifyRoutes,
    ...classicInventory(ask),
    ...firstDialect(ask),
  ];
}
