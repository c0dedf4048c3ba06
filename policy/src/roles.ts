import { type OrgRole, orgRoles, type PolicyRule, roleSubject } from '@millrace/core';

/** What readers may see. Secrets of things are no entity of their own: who may update a thing may see its key. */
const READABLE = [
  'things',
  'channels',
  'connections',
  'messages',
  'deadletters',
  'orgs',
  'members',
  'groups',
  'policies',
  'users',
];
const READS = READABLE.flatMap((entity) => [`${entity}.read`, `${entity}.list`]);

/** What each built-in role may do on everything of its organisation. */
export const roleActions: Readonly<Record<OrgRole, readonly string[]>> = {
  owner: ['*'],
  admin: ['*'],
  editor: ['things.*', 'channels.*', 'connections.*', 'publish', 'subscribe', ...READS],
  viewer: ['subscribe', ...READS],
};

/** The rules of a built-in role in an organisation. */
export const roleRules = (role: OrgRole, org: string): PolicyRule[] =>
  roleActions[role].map((action) => ({ type: 'p', values: [roleSubject(role), org, '*', action, 'allow', ''] }));

const bySubject = new Map<string, OrgRole>(orgRoles.map((role) => [roleSubject(role), role]));

/** The built-in role of a rule's subject, if it is one. */
export const builtInRole = (subject: string): OrgRole | undefined => bySubject.get(subject);
