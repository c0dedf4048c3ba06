import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { createRefreshTokens, type RefreshTokens } from './refresh-tokens.ts';
import { userRoutes } from './user-routes.ts';
import { createUsers, type Users } from './users.ts';

/** Users, organisations, members, roles, invitations. */
export interface People extends Topic {
  readonly users: Users;
  readonly refreshTokens: RefreshTokens;
}

export function createPeople({ database, feed, credentials }: Parts): People {
  return {
    users: createUsers(database, feed, credentials),
    refreshTokens: createRefreshTokens(database, credentials),
  };
}

export const peopleRoutes: readonly Route[] = [...userRoutes];
