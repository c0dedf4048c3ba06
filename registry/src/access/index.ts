import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';

export interface Access extends Topic {}

export function createAccess(_parts: Parts): Access {
  return {};
}

export const accessRoutes: readonly Route[] = [];
