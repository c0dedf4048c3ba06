import type { Lwm2mDirectory } from '@millrace/core';
import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { accountRoutes } from './account-routes.ts';
import { createAccounts, type Lwm2mAccounts } from './accounts.ts';
import { createLwm2mDirectory } from './directory.ts';
import { operationRoutes } from './operation-routes.ts';
import { registrationRoutes } from './registration-routes.ts';
import { createRegistrationSweep } from './sweep.ts';

/** LwM2M devices: their accounts and their registrations. */
export interface Lwm2m extends Lwm2mDirectory, Topic {
  /** As people make and see them. */
  readonly accounts: Lwm2mAccounts;
}

export function createLwm2m(parts: Parts): Lwm2m {
  const { database, feed, credentials } = parts;
  return {
    ...createLwm2mDirectory(database, credentials),
    accounts: createAccounts(database, feed, credentials),
    ...createRegistrationSweep(parts),
  };
}

export const lwm2mRoutes: readonly Route[] = [...accountRoutes, ...registrationRoutes, ...operationRoutes];
