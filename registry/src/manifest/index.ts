import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';

export interface Manifests extends Topic {}

export function createManifests(_parts: Parts): Manifests {
  return {};
}

export const manifestRoutes: readonly Route[] = [];
