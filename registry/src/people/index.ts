import type { RegistryConfig } from '../config.ts';
import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { accountPages } from './account-pages.ts';
import { accountRoutes } from './account-routes.ts';
import { type Accounts, createAccounts } from './accounts.ts';
import { invitationRoutes } from './invitation-routes.ts';
import { createInvitations, type Invitations } from './invitations.ts';
import { createSlowness, type Slowness } from './logins.ts';
import { createMailedTokens } from './mailed-tokens.ts';
import { createMails, type Mails } from './mails.ts';
import { memberRoutes } from './member-routes.ts';
import { createMembers, type Members } from './members.ts';
import { orgRoutes } from './org-routes.ts';
import { createOrgs, type Orgs } from './orgs.ts';
import { createRefreshTokens, type RefreshTokens } from './refresh-tokens.ts';
import { createRemoval, type Removal } from './removal.ts';
import { roleRoutes } from './role-routes.ts';
import { createRoles, type Roles } from './roles.ts';
import { tokenRoutes } from './token-routes.ts';
import { userRoutes } from './user-routes.ts';
import { createUsers, type Users } from './users.ts';

/** Users, organisations, members, roles, invitations. */
export interface People extends Topic {
  readonly users: Users;
  readonly accounts: Accounts;
  readonly refreshTokens: RefreshTokens;
  readonly orgs: Orgs;
  readonly members: Members;
  readonly roles: Roles;
  readonly invitations: Invitations;
  readonly removal: Removal;
  readonly mails: Mails;
  readonly slowness: Slowness;
  readonly peopleLimits: Pick<RegistryConfig, 'MILLRACE_ORGS_PER_USER_MAX' | 'MILLRACE_MEMBERS_PER_ORG_MAX'>;
}

export function createPeople(parts: Parts): People {
  const { database, feed, credentials, config, publicUrl } = parts;
  const mails = createMails(parts);
  const tokens = createMailedTokens(credentials);
  const accounts = createAccounts({ database, feed, credentials, publicUrl, mails, tokens });
  const membersMax = config.MILLRACE_MEMBERS_PER_ORG_MAX;
  return {
    users: createUsers(database, feed, credentials, accounts.welcome),
    accounts,
    refreshTokens: createRefreshTokens(database, credentials),
    orgs: createOrgs(database, feed),
    members: createMembers(database, feed, membersMax),
    roles: createRoles(database, feed),
    invitations: createInvitations({ session: database, feed, credentials, mails, publicUrl, membersMax }),
    removal: createRemoval(feed, config.MILLRACE_DELETED_ORG_DAYS),
    mails,
    slowness: createSlowness(),
    peopleLimits: config,
    start: () => mails.start(),
    stop: () => mails.stop(),
  };
}

/** Fixed paths stand before those with an id in the same place. */
export const peopleRoutes: readonly Route[] = [
  ...tokenRoutes,
  ...accountRoutes,
  ...userRoutes,
  ...orgRoutes,
  ...memberRoutes,
  ...invitationRoutes,
  ...roleRoutes,
  ...accountPages,
];
