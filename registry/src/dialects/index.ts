import type { Route } from '../http/route.ts';

/** What older scripts and firmware ask for in other words. */
export const dialectRoutes: readonly Route[] = [];
