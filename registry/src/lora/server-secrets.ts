import type { Credentials } from '@millrace/core';
import { RegistryError } from '../error.ts';

/** What a network server is shown to let us in. "" for none. */
export interface ServerSecrets {
  /** Of its broker. */
  readonly password: string;
  /** PEM, of the client certificate. */
  readonly key: string;
  /** Of its HTTP API. */
  readonly token: string;
}
export const NO_SECRETS: ServerSecrets = { password: '', key: '', token: '' };

/** @holds those of one server can not be passed off as another's */
const about = (server: string): string => `network server ${server}`;

export const sealSecrets = (credentials: Credentials, server: string, secrets: ServerSecrets): string =>
  credentials.encrypt(JSON.stringify(secrets), about(server));

/** @throws RegistryError REGISTRY_SECRET_MISMATCH */
export function openSecrets(credentials: Credentials, server: string, sealed: string): ServerSecrets {
  try {
    return JSON.parse(credentials.decrypt(sealed, about(server))) as ServerSecrets;
  } catch {
    // No cause: it could tell of the plain text.
    throw new RegistryError('REGISTRY_SECRET_MISMATCH', 'never', { networkServer: server });
  }
}
