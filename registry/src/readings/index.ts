import type { Route } from '../http/route.ts';
import { latestRoutes } from './latest-routes.ts';
import { messageReadRoutes } from './message-routes.ts';
import { queryRoutes } from './query-routes.ts';

export const readingRoutes: readonly Route[] = [...messageReadRoutes, ...queryRoutes, ...latestRoutes];
