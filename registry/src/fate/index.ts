import type { Route } from '../http/route.ts';
import { fateRoutes as ownRoutes } from './fate-routes.ts';
import { healthRoutes } from './health-routes.ts';

export const fateRoutes: readonly Route[] = [...ownRoutes, ...healthRoutes];
