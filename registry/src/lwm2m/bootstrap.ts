import type { Credentials, Lwm2mBootstrap } from '@millrace/core';
import { RegistryError } from '../error.ts';

/** @holds what is sealed for one thing can not be passed off as another's */
const about = (thing: string): string => `lwm2m ${thing} bootstrap`;

export const sealBootstrap = (credentials: Credentials, thing: string, bootstrap: Lwm2mBootstrap): string =>
  credentials.encrypt(JSON.stringify(bootstrap), about(thing));

/** @throws RegistryError REGISTRY_SECRET_MISMATCH */
export function bootstrapOf(credentials: Credentials, thing: string, sealed: string): Lwm2mBootstrap {
  try {
    return JSON.parse(credentials.decrypt(sealed, about(thing))) as Lwm2mBootstrap;
  } catch {
    // No cause: it could tell of the plain text.
    throw new RegistryError('REGISTRY_SECRET_MISMATCH', 'never', { thing });
  }
}
