import {
  type ChannelRecord,
  connectionRules,
  customRoleSubject,
  type Directory,
  groupObject,
  type Holder,
  isUuid,
  memberRule,
  type OrgRole,
  type PolicyRule,
  type PolicyStatement,
  roleActions,
  roleRules,
  roleSubject,
  type Scope,
  type SubjectRecord,
  statementRules,
  type ThingRecord,
  type UserRecord,
} from '@millrace/core';
import type { Tickets } from '../bridge/tickets.ts';
import type { Certificates } from '../certificates/certificates.ts';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';

export interface DirectoryOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly tickets: Tickets;
  readonly certificates: Certificates;
  /** Who holds an application's token, by its digest. */
  readonly applicationToken: (digest: string) => Promise<Holder | null>;
  readonly now: () => number;
}

/** A thing as the gate knows it: one of a group that is disabled is disabled too. @holds joined with registry.orgs */
export const THING_RECORD = `'thing' AS kind, things.id, things.org, things.type,
  things.enabled AND NOT orgs.frozen
    AND coalesce((SELECT place.active FROM registry.groups AS place WHERE place.id = things.group_id), true) AS enabled,
  things.metadata, things.epoch`;
const USER_RECORD = `'user' AS kind, users.id, users.email, users.enabled, users.admin, users.epoch`;
const THING_BY_KEY = `SELECT ${THING_RECORD},
    CASE WHEN key_digest = $1 THEN NULL ELSE (extract(epoch FROM previous_key_until) * 1000)::float8 END AS "untilMs"
  FROM registry.things JOIN registry.orgs ON orgs.id = things.org
  WHERE key_digest = $1 OR (previous_key_digest = $1 AND previous_key_until > to_timestamp($2::float8 / 1000))
  ORDER BY key_digest = $1 DESC LIMIT 1`;
const BEARER = `SELECT ${USER_RECORD}, api_keys.id AS key, api_keys.org AS "keyOrg", grants,
    (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresMs"
  FROM registry.api_keys JOIN registry.users ON users.id = user_id
  WHERE digest = $1 AND (expires_at IS NULL OR expires_at > to_timestamp($2::float8 / 1000))`;
const CHANNEL = `SELECT channels.id, channels.org, channels.enabled AND NOT frozen AND coalesce(groups.active, true) AS enabled, alias,
    content_type AS "contentType",
    CASE WHEN groups.id IS NULL THEN '{}' ELSE groups.ancestors || groups.id END AS groups, profile, limits
  FROM registry.channels JOIN registry.orgs ON orgs.id = channels.org LEFT JOIN registry.groups ON groups.id = group_id
  WHERE`;
const CONNECTIONS = 'SELECT channel, publish, subscribe FROM registry.connections WHERE thing = $1 AND org = $2';
/** Roles in the org (group null) and in groups. */
const ROLES = `SELECT NULL AS "group", role, custom_role AS custom, name, actions
    FROM registry.memberships LEFT JOIN registry.roles ON roles.id = custom_role WHERE user_id = $1 AND memberships.org = $2
  UNION ALL
  SELECT group_id, role, custom_role, name, actions
    FROM registry.group_roles LEFT JOIN registry.roles ON roles.id = custom_role WHERE user_id = $1 AND group_roles.org = $2`;
/** Policies of the subject itself, of the groups that a thing is in, and of the roles that a user has. */
const POLICIES = `SELECT policies.id, policies.name, policies.version, statements, kind, target
  FROM registry.policy_attachments AS attached JOIN registry.policies ON policies.id = attached.policy
  WHERE attached.org = $1 AND policies.enabled AND attached.target = ANY ($2) ORDER BY policies.id, kind, target`;
const GROUPS_OF_THING = `SELECT groups.ancestors || groups.id AS groups FROM registry.things JOIN registry.groups ON groups.id = group_id
  WHERE things.id = $1`;

interface RoleRow {
  readonly group: string | null;
  readonly role: OrgRole | null;
  readonly custom: string | null;
  readonly name: string | null;
  readonly actions: readonly string[] | null;
}
interface PolicyRow {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly statements: readonly PolicyStatement[];
  readonly kind: string;
  readonly target: string;
}

/** The gate's cold reads, each by primary or unique keys: what they cost does not grow with the organisation. */
export function createDirectory(options: DirectoryOptions): Directory {
  const { session, feed, tickets, certificates, applicationToken, now } = options;
  const subject = async (id: string): Promise<SubjectRecord | null> => {
    if (!isUuid(id)) return null;
    const thing = `SELECT ${THING_RECORD} FROM registry.things JOIN registry.orgs ON orgs.id = things.org WHERE things.id = $1`;
    const [found] = await session.query<ThingRecord>(thing, [id]);
    if (found !== undefined) return found;
    return (
      (await session.query<UserRecord>(`SELECT ${USER_RECORD} FROM registry.users WHERE id = $1`, [id]))[0] ?? null
    );
  };
  return {
    get version() {
      return feed.version;
    },
    onChange: (listener) => feed.onChange(listener),
    subject,
    thingByCertificate: (fingerprint, certificate) => certificates.find(fingerprint, certificate),

    async thingByKey(digest) {
      const [row] = await session.query<ThingRecord & { untilMs: number | null }>(THING_BY_KEY, [digest, now()]);
      if (row === undefined) return null;
      const { untilMs, ...thing } = row;
      return { subject: thing, expiresMs: untilMs ?? Number.POSITIVE_INFINITY, scope: null };
    },

    async bearer(digest) {
      const [row] = await session.query<
        UserRecord & { key: string; keyOrg: string; grants: Scope['grants']; expiresMs: number | null }
      >(BEARER, [digest, now()]);
      if (row === undefined) return applicationToken(digest);
      const { key, keyOrg, grants, expiresMs, ...user } = row;
      return {
        subject: user,
        expiresMs: expiresMs ?? Number.POSITIVE_INFINITY,
        scope: { id: key, org: keyOrg, grants },
      };
    },

    async redeemTicket(digest) {
      const id = await tickets.redeem(digest);
      return id === null ? null : subject(id);
    },

    async channel(reference, org): Promise<ChannelRecord | null> {
      if (isUuid(reference))
        return (await session.query<ChannelRecord>(`${CHANNEL} channels.id = $1`, [reference]))[0] ?? null;
      if (org === null) return null;
      const sql = `${CHANNEL} channels.org = $1 AND alias = $2`;
      return (await session.query<ChannelRecord>(sql, [org, reference]))[0] ?? null;
    },

    async rules(id, org): Promise<readonly PolicyRule[]> {
      if (!isUuid(id) || !isUuid(org)) return [];
      const who = await subject(id);
      if (who === null) return [];
      if (who.kind === 'thing') {
        if (who.org !== org) return [];
        const [connections, [place]] = await Promise.all([
          session.query<{ channel: string; publish: boolean; subscribe: boolean }>(CONNECTIONS, [id, org]),
          session.query<{ groups: string[] }>(GROUPS_OF_THING, [id]),
        ]);
        const policies = await session.query<PolicyRow>(POLICIES, [org, [id, ...(place?.groups ?? [])]]);
        return [
          ...connections.flatMap((row) => connectionRules(id, org, row.channel, row)),
          ...policies.flatMap((policy) => rulesOf(policy, id, who, org)),
        ];
      }
      const roles = await session.query<RoleRow>(ROLES, [id, org]);
      // Who has been taken out of an organisation keeps nothing of it, also not what is attached to them.
      if (roles.length === 0) return [];
      const names = roles.flatMap(({ role, custom }) => [role, custom].filter((each) => each !== null));
      const policies = await session.query<PolicyRow>(POLICIES, [org, [id, ...names]]);
      return [
        ...roles.flatMap((row) => rulesOfRole(row, id, org)),
        ...policies.flatMap((each) => rulesOf(each, id, who, org)),
      ];
    },
  };
}

function rulesOf(policy: PolicyRow, holder: string, who: SubjectRecord, org: string): PolicyRule[] {
  return policy.statements.flatMap((statement, index) => {
    const source = `policy ${policy.id} v${policy.version} ${statement.sid ?? index}`;
    return statementRules(statement, holder, who, org, source);
  });
}

function rulesOfRole({ group, role, custom, name, actions }: RoleRow, user: string, org: string): PolicyRule[] {
  const may = role === null ? (actions ?? []) : roleActions[role];
  const told = role ?? name ?? '';
  if (group !== null) return roleRules(user, org, may, `${told} of group ${group}`, groupObject(group, '*'));
  const holder = role === null ? customRoleSubject(custom ?? '') : roleSubject(role);
  return [memberRule(user, holder, org), ...roleRules(holder, org, may, told)];
}
