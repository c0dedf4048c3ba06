import type { ControlEntity, Scope } from '@millrace/core';

export type Grants = Scope['grants'];
/** One scope that an application may ask for. */
export interface ScopeMeaning {
  readonly scope: string;
  /** What people read before they agree: it goes on after "This lets it". */
  readonly words: string;
  /** What it opens at most; nothing more than the user may. */
  readonly grants: Grants;
}

const ALL = ['*'];
const identity = (scope: string, words: string): ScopeMeaning => ({ scope, words, grants: [] });
const reads = (entity: ControlEntity, words: string): ScopeMeaning => ({
  scope: `${entity}:read`,
  words,
  grants: [{ actions: [`${entity}.read`, `${entity}.list`], resources: ALL }],
});
/** Writing includes reading: one who changes what they cannot see does harm. */
const writes = (entity: ControlEntity, words: string): ScopeMeaning => ({
  scope: `${entity}:write`,
  words,
  grants: [{ actions: [`${entity}.*`], resources: ALL }],
});

/** All scopes there are. What would let an application get at rights beyond its scopes (making keys, giving out secrets
 *  of applications, administering users) is no scope: people do that themselves. */
export const scopeMeanings: readonly ScopeMeaning[] = [
  identity('openid', 'know who you are'),
  identity('profile', 'see your name and picture'),
  identity('email', 'see your e-mail address'),
  identity('offline_access', 'keep its access while you are away, until you withdraw it'),
  {
    scope: 'messages:publish',
    words: 'publish messages on your channels',
    grants: [{ actions: ['publish'], resources: ALL }],
  },
  {
    scope: 'messages:subscribe',
    words: 'receive and read the messages of your channels',
    grants: [{ actions: ['subscribe', 'messages.read', 'messages.list'], resources: ALL }],
  },
  reads('things', 'see your things'),
  writes('things', 'make, change and delete things, and see their keys'),
  reads('channels', 'see your channels'),
  writes('channels', 'make, change and delete channels'),
  reads('connections', 'see which things are connected with which channels'),
  writes('connections', 'connect things with channels, and disconnect them'),
  reads('groups', 'see your groups'),
  writes('groups', 'make, change, move and delete groups'),
  reads('policies', 'see your policies'),
  writes('policies', 'make, change, attach and delete policies'),
  reads('certs', 'see the certificates of your things'),
  writes('certs', 'issue, renew and revoke certificates'),
  reads('deadletters', 'see messages that could not be processed'),
  writes('deadletters', 'replay and delete messages that could not be processed'),
  reads('orgs', 'see the settings of the organisation'),
  writes('orgs', 'change the settings of the organisation'),
  reads('members', 'see who is a member'),
  writes('members', 'add, change and remove members'),
  reads('invitations', 'see invitations'),
  writes('invitations', 'invite people'),
  reads('roles', 'see roles'),
  writes('roles', 'make, change and delete roles'),
  reads('keys', 'see which API keys there are (not the keys themselves)'),
  reads('apps', 'see which applications there are'),
  reads('audit', 'read the audit trail'),
  reads('jobs', 'see long-running jobs'),
  writes('jobs', 'start and cancel long-running jobs'),
  reads('commands', 'see commands to your things, and what became of them'),
  writes('commands', 'give your things commands, and read from them'),
  reads('codecs', 'see the codecs of your devices'),
  writes('codecs', 'make, change, try and delete codecs'),
  reads('sql', 'ask of all your data by SQL'),
  reads('queries', 'see saved queries'),
  writes('queries', 'make, change and delete saved queries'),
  reads('networkservers', 'see your LoRaWAN network servers (not their passwords)'),
  writes('networkservers', 'make, change and delete LoRaWAN network servers'),
];

const byScope = new Map(scopeMeanings.map((meaning) => [meaning.scope, meaning]));

export const scopeNames: readonly string[] = scopeMeanings.map(({ scope }) => scope);
export const isScope = (scope: string): boolean => byScope.has(scope);
export const wordsOf = (scope: string): string => byScope.get(scope)?.words ?? scope;
/** What tokens with these scopes open at most. */
export const grantsOf = (scopes: readonly string[]): Grants =>
  scopes.flatMap((scope) => byScope.get(scope)?.grants ?? []);
/** Whether a scope needs an organisation to be good for anything. */
export const reachesIn = (scope: string): boolean => (byScope.get(scope)?.grants.length ?? 0) > 0;
