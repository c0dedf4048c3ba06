import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { bulkRoutes } from './bulk-routes.ts';

export interface Jobs extends Topic {}

export function createJobs(_parts: Parts): Jobs {
  return {};
}

export const jobRoutes: readonly Route[] = [...bulkRoutes];
