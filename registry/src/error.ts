import { MillraceError } from '@millrace/core';

export type RegistryErrorCode =
  /** The database does not answer, is out of connections or of disk. */
  | 'REGISTRY_UNREACHABLE'
  /** Another entity has this id, key, alias or e-mail; `field` says which. */
  | 'REGISTRY_CONFLICT'
  /** The database cannot keep this value (as U+0000 in text). */
  | 'REGISTRY_VALUE_REFUSED'
  /** A value that can be kept, but is wrong beside what is there: `field` says which, `because` why. */
  | 'REGISTRY_INVALID'
  /** The entity is not at the version that the change was made for (If-Match). */
  | 'REGISTRY_VERSION_MISMATCH'
  /** What is left would depend on it; `facts` count what. */
  | 'REGISTRY_IN_USE'
  /** There are as many of it as there may be; `facts` name the limit. */
  | 'REGISTRY_FULL'
  /** What a change refers to is gone. */
  | 'REGISTRY_NOT_FOUND'
  /** The owner has as many sessions as it may (MILLRACE_MQTT_SESSIONS_PER_OWNER_MAX). */
  | 'REGISTRY_SESSIONS_FULL'
  /** The database was made by a newer version of the program. */
  | 'REGISTRY_SCHEMA_NEWER'
  /** A restore from a backup was cut short here: it must be run again, to its end. */
  | 'REGISTRY_RESTORE_UNFINISHED'
  /** What is sealed cannot be opened: the secret is not the one it was sealed with. */
  | 'REGISTRY_SECRET_MISMATCH'
  /** Another process runs the embedded PostgreSQL of this directory. */
  | 'POSTGRES_IN_USE'
  /** The embedded PostgreSQL has no binaries for this platform: set MILLRACE_POSTGRES_URL. */
  | 'POSTGRES_UNSUPPORTED'
  /** The embedded PostgreSQL did not start; `output` has its last words. */
  | 'POSTGRES_FAILED';
export class RegistryError extends MillraceError<RegistryErrorCode> {}
