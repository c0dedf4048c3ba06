import type { Lwm2mDirectory } from '@millrace/core';
import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { createLwm2mDirectory } from './directory.ts';
import { createRegistrationSweep } from './sweep.ts';

/** LwM2M devices: their accounts and their registrations. */
export interface Lwm2m extends Lwm2mDirectory, Topic {}

export function createLwm2m(parts: Parts): Lwm2m {
  return { ...createLwm2mDirectory(parts.database, parts.credentials), ...createRegistrationSweep(parts) };
}

export const lwm2mRoutes: readonly Route[] = [];
