import type { PolicyStatement, Scope } from '@millrace/core';

/** What an installation holds, as people would tell it: no rules, no memo. The gate hears of it by WorldDirectory, the
 *  definition of the policy reads it as it is.
 *  @holds ids are unique over all organisations */
export interface World {
  readonly orgs: readonly string[];
  readonly groups: readonly WorldGroup[];
  readonly channels: readonly WorldChannel[];
  readonly things: readonly WorldThing[];
  readonly users: readonly WorldUser[];
  readonly roles: readonly { readonly id: string; readonly org: string; readonly actions: readonly string[] }[];
  readonly policies: readonly WorldPolicy[];
  readonly keys: readonly WorldKey[];
}
export interface WorldGroup {
  readonly id: string;
  readonly org: string;
  parent: string | null;
}
export interface WorldChannel {
  readonly id: string;
  readonly org: string;
  readonly alias: string | null;
  group: string | null;
  enabled: boolean;
}
export interface WorldThing {
  readonly id: string;
  readonly org: string;
  group: string | null;
  enabled: boolean;
  metadata: Readonly<Record<string, string | number | boolean>>;
  connections: { readonly channel: string; readonly publish: boolean; readonly subscribe: boolean }[];
}
export interface WorldUser {
  readonly id: string;
  readonly email: string;
  readonly admin: boolean;
  enabled: boolean;
  /** @shape role: a built-in one's name or an own one's id; group: null for all of the organisation */
  roles: { readonly org: string; readonly role: string; readonly group: string | null }[];
}
export interface WorldPolicy {
  readonly id: string;
  readonly org: string;
  enabled: boolean;
  statements: readonly PolicyStatement[];
  /** Ids of things, groups, users and own roles, and names of built-in ones. */
  attached: string[];
}
/** An API key, or an application's token (org null). */
export interface WorldKey {
  readonly id: string;
  readonly user: string;
  readonly org: string | null;
  readonly grants: Scope['grants'];
  revoked: boolean;
}

/** Who asks: a thing or a user by what is wholly theirs, or a user by a key. */
export interface Asker {
  readonly id: string;
  readonly key: string | null;
}
export interface MessageQuestion {
  readonly kind: 'message';
  readonly action: 'publish' | 'subscribe';
  /** Id or alias. */
  readonly channel: string;
  readonly subtopic: string;
}
export interface ControlQuestion {
  readonly kind: 'control';
  readonly action: `${string}.${string}`;
  readonly org: string;
  readonly object: string;
}
export type Question = MessageQuestion | ControlQuestion;
