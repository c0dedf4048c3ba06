import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { accessListRoutes } from './access-routes.ts';
import { apiKeyRoutes } from './api-key-routes.ts';
import { type ApiKeys, createApiKeys } from './api-keys.ts';
import { type Assertions, createAssertions } from './assertions.ts';
import { attachmentRoutes } from './attachment-routes.ts';
import { type Attachments, createAttachments } from './attachments.ts';
import { branches, type Place, placeOf } from './places.ts';
import { createPolicies, type Policies } from './policies.ts';
import { policyRoutes } from './policy-routes.ts';
import { simulateRoutes } from './simulate-routes.ts';
import { thingTokenRoutes } from './thing-token-routes.ts';

/** Policies and what they are attached to, API keys, tokens of things. */
export interface Access extends Topic {
  readonly policies: Policies;
  readonly attachments: Attachments;
  readonly keys: ApiKeys;
  readonly assertions: Assertions;
  /** Where an object of an organisation lies. */
  placeOf(org: string, object: string): Promise<Place>;
  /** Of groups: each with those above it and itself; others of no such organisation are left out. */
  branches(org: string, groups: readonly string[]): Promise<ReadonlyMap<string, readonly string[]>>;
  isOwner(org: string, user: string): Promise<boolean>;
  now(): number;
}

export function createAccess(parts: Parts): Access {
  const { database, feed, now } = parts;
  const keys = createApiKeys(parts);
  const assertions = createAssertions(parts);
  return {
    policies: createPolicies(database, feed),
    attachments: createAttachments(database, feed),
    keys,
    assertions,
    placeOf: (org, object) => placeOf(database, org, object),
    branches: (org, groups) => branches(database, org, groups),
    async isOwner(org, user) {
      const sql = `SELECT 1 FROM registry.memberships WHERE org = $1 AND user_id = $2 AND role = 'owner'`;
      return (await database.query(sql, [org, user])).length > 0;
    },
    now,
    async start() {
      keys.start();
    },
    stop: () => keys.stop(),
  };
}

export const accessRoutes: readonly Route[] = [
  ...simulateRoutes,
  ...policyRoutes,
  ...attachmentRoutes,
  ...accessListRoutes,
  ...apiKeyRoutes,
  ...thingTokenRoutes,
];
