import type { Credentials, Logger, Metrics } from '@millrace/core';
import type { Audit } from './audit/trail.ts';
import type { ChangeFeed } from './changes.ts';
import type { RegistryConfig } from './config.ts';
import type { Database } from './database/database.ts';

/** What every topic of the registry (people, inventory, access …) is made of. */
export interface Parts {
  readonly database: Database;
  /** Of PostgreSQL, for what must have connections of its own. Holds a password. */
  readonly url: string;
  readonly feed: ChangeFeed;
  readonly credentials: Credentials;
  readonly audit: Audit;
  readonly config: Readonly<RegistryConfig>;
  /** Where files may be kept (0700); null where there is none. */
  readonly directory: string | null;
  /** Where clients reach the platform: `https://iot.example.org`, without a slash at the end. */
  publicUrl(): string;
  /** This node. */
  readonly node: string;
  /** ms since 1970 */
  readonly now: () => number;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** What a topic does beside answering. */
export interface Topic {
  start?(): Promise<void>;
  stop?(): Promise<void>;
}
