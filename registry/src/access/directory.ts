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
import { storedProfile } from '../retention/rules.ts';
import { rulesIn } from './attachments.ts';

export interface DirectoryOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly tickets: Tickets;
  readonly certificates: Certificates;
  /** Who holds an application's token, by its digest. */
  readonly applicationToken: (digest: string) => Promise<Holder | null>;
  /** Told of each API key that is let in and was not known here. */
  readonly apiKeyUsed: (id: string) => void;
  /** Of the installation. */
  readonly retentionDays: number | null;
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
const BEARER = `SELECT ${USER_RECORD}, api_keys.id AS key, api_keys.org AS "keyOrg", api_keys.grants,
    (extract(epoch FROM api_keys.expires_at) * 1000)::float8 AS "expiresMs"
  FROM registry.api_keys JOIN registry.users ON users.id = api_keys.user_id
  WHERE api_keys.digest = $1 AND api_keys.enabled AND (api_keys.expires_at IS NULL OR api_keys.expires_at > to_timestamp($2::float8 / 1000))
    AND (users.admin OR EXISTS (
      SELECT 1 FROM registry.memberships WHERE memberships.user_id = users.id AND memberships.org = api_keys.org))`;
/** A channel as the gate and who stores its messages know it: a condition follows.
 *  @param retentionDays of the installation */
export const channelRecord = (
  retentionDays: number | null,
): string => `SELECT channels.id, channels.org, channels.enabled AND NOT orgs.frozen AND coalesce(groups.active, true) AS enabled, channels.alias,
    channels.content_type AS "contentType",
    CASE WHEN groups.id IS NULL THEN '{}' ELSE groups.ancestors || groups.id END AS groups, ${storedProfile(retentionDays)} AS profile, channels.limits
  FROM registry.channels JOIN registry.orgs ON orgs.id = channels.org LEFT JOIN registry.groups ON groups.id = group_id
  WHERE`;
/** Of what is attached to the wanted kinds and targets.  @shape wanted (target text, kinds text[]), $2 org */
const ATTACHED = `coalesce(json_agg(json_build_object('id', policies.id, 'version', policies.statements_version,
      'statements', policies.statements, 'kind', attached.kind, 'target', attached.target)
      ORDER BY policies.id, attached.kind, attached.target), '[]')
    FROM wanted JOIN registry.policy_attachments AS attached
      ON attached.org = $2 AND attached.target = wanted.target AND attached.kind = ANY (wanted.kinds)
    JOIN registry.policies ON policies.id = attached.policy AND policies.enabled`;
/** All that matters to a thing, in one round trip. What is attached to a group holds for the things in it and below.
 *  @holds kind and target belong together: ids can be given, and a thing may not take what a role of its id has */
const THING_RULES = `SELECT ${THING_RECORD},
    (SELECT coalesce(json_agg(json_build_object('channel', channel, 'publish', publish, 'subscribe', subscribe) ORDER BY channel), '[]')
      FROM registry.connections WHERE thing = $1 AND org = $2) AS connections,
    (WITH wanted AS (
        SELECT $1::text AS target, ARRAY['thing', 'app'] AS kinds
        UNION ALL SELECT branch::text, ARRAY['group'] FROM unnest(groups.ancestors || groups.id) AS branch)
      SELECT ${ATTACHED}) AS policies
  FROM registry.things JOIN registry.orgs ON orgs.id = things.org LEFT JOIN registry.groups ON groups.id = group_id
  WHERE things.id = $1 AND things.org = $2`;
/** The same of a user: roles in the organisation (group null) and in groups, and what is attached to either. */
const USER_RULES = `WITH held AS MATERIALIZED (
    SELECT NULL::uuid AS "group", role, custom_role AS custom, roles.name, roles.actions
      FROM registry.memberships LEFT JOIN registry.roles ON roles.id = custom_role WHERE user_id = $1 AND memberships.org = $2
    UNION ALL
    SELECT group_id, role, custom_role, roles.name, roles.actions
      FROM registry.group_roles LEFT JOIN registry.roles ON roles.id = custom_role WHERE user_id = $1 AND group_roles.org = $2)
  SELECT ${USER_RECORD},
    (SELECT coalesce(json_agg(held ORDER BY "group" NULLS FIRST), '[]') FROM held) AS roles,
    (WITH wanted AS (
        SELECT $1::text AS target, ARRAY['user'] AS kinds
        UNION ALL SELECT DISTINCT coalesce(role, custom::text), ARRAY['role'] FROM held)
      SELECT ${ATTACHED}) AS policies
  FROM registry.users WHERE users.id = $1`;

interface RoleRow {
  readonly group: string | null;
  readonly role: OrgRole | null;
  readonly custom: string | null;
  readonly name: string | null;
  readonly actions: readonly string[] | null;
}
interface PolicyRow {
  readonly id: string;
  readonly version: number;
  readonly statements: readonly PolicyStatement[];
  readonly kind: string;
  readonly target: string;
}
interface ConnectionRow {
  readonly channel: string;
  readonly publish: boolean;
  readonly subscribe: boolean;
}

/** Each action on each resource, of all policies that hold for one subject. */
export const SUBJECT_POLICY_RULES_MAX = 10_000;
/** Users that are remembered to be users; beyond it all are forgotten. */
const USERS_MAX = 100_000;

/** The gate's cold reads, each by primary or unique keys: what they cost does not grow with the organisation. Prepared,
 *  since planning them takes longer than what they read. */
export function createDirectory(options: DirectoryOptions): Directory {
  const { session, feed, tickets, certificates, applicationToken, apiKeyUsed, retentionDays, now } = options;
  const channel = channelRecord(retentionDays);
  /** Users that were asked for lately: anything else is looked for among the things first. */
  const users = new Set<string>();
  const noted = (user: UserRecord): UserRecord => {
    if (users.size >= USERS_MAX) users.clear();
    users.add(user.id);
    return user;
  };
  /** Beside a read of who somebody is, with what other nodes have changed before it: what is heard of a change later ends
   *  what was begun meanwhile, and who was made on one node would be sent away by another. */
  const upToDate = async <T>(read: Promise<T>): Promise<T> => (await Promise.all([read, feed.current()]))[0];
  const subject = async (id: string): Promise<SubjectRecord | null> => {
    if (!isUuid(id)) return null;
    const thing = `SELECT ${THING_RECORD} FROM registry.things JOIN registry.orgs ON orgs.id = things.org WHERE things.id = $1`;
    const [found] = await session.query<ThingRecord>(thing, [id], 'gate-thing');
    if (found !== undefined) return found;
    const [user] = await session.query<UserRecord>(`SELECT ${USER_RECORD} FROM registry.users WHERE id = $1`, [id]);
    return user === undefined ? null : noted(user);
  };
  return {
    get version() {
      return feed.version;
    },
    onChange: (listener) => feed.onChange(listener),
    subject: (id) => upToDate(subject(id)),
    thingByCertificate: (fingerprint, certificate) => upToDate(certificates.find(fingerprint, certificate)),

    async thingByKey(digest) {
      const [row] = await upToDate(
        session.query<ThingRecord & { untilMs: number | null }>(THING_BY_KEY, [digest, now()], 'gate-thing-by-key'),
      );
      if (row === undefined) return null;
      const { untilMs, ...thing } = row;
      return { subject: thing, expiresMs: untilMs ?? Number.POSITIVE_INFINITY, scope: null };
    },

    async bearer(digest) {
      const [row] = await upToDate(
        session.query<UserRecord & { key: string; keyOrg: string; grants: Scope['grants']; expiresMs: number | null }>(
          BEARER,
          [digest, now()],
          'gate-bearer',
        ),
      );
      if (row === undefined) return applicationToken(digest);
      const { key, keyOrg, grants, expiresMs, ...user } = row;
      if (user.enabled) apiKeyUsed(key);
      return {
        subject: noted(user),
        expiresMs: expiresMs ?? Number.POSITIVE_INFINITY,
        scope: { id: key, org: keyOrg, grants },
      };
    },

    async redeemTicket(digest) {
      const id = await tickets.redeem(digest);
      return id === null ? null : upToDate(subject(id));
    },

    async channel(reference, org): Promise<ChannelRecord | null> {
      if (isUuid(reference))
        return (
          (await session.query<ChannelRecord>(`${channel} channels.id = $1`, [reference], 'gate-channel'))[0] ?? null
        );
      if (org === null) return null;
      const sql = `${channel} channels.org = $1 AND channels.alias = $2`;
      return (await session.query<ChannelRecord>(sql, [org, reference], 'gate-channel-by-alias'))[0] ?? null;
    },

    async rules(id, org): Promise<readonly PolicyRule[]> {
      if (!isUuid(id) || !isUuid(org)) return [];
      // An id that was a user's and is a thing's now is found at the second try.
      const [first, second] = users.has(id) ? [userRules, thingRules] : [thingRules, userRules];
      return (await first(id, org)) ?? (await second(id, org)) ?? [];
    },
  };

  async function thingRules(id: string, org: string): Promise<PolicyRule[] | null> {
    const [row] = await session.query<ThingRecord & { connections: ConnectionRow[]; policies: PolicyRow[] }>(
      THING_RULES,
      [id, org],
      'gate-thing-rules',
    );
    if (row === undefined) return null;
    const { connections, policies, ...thing } = row;
    if (tooMany(policies, () => 1)) return [];
    return [
      ...connections.flatMap((each) => connectionRules(id, org, each.channel, each)),
      ...policies.flatMap((policy) => rulesOf(policy, thing, org, null)),
    ];
  }

  async function userRules(id: string, org: string): Promise<PolicyRule[] | null> {
    const [row] = await session.query<UserRecord & { roles: RoleRow[]; policies: PolicyRow[] }>(
      USER_RULES,
      [id, org],
      'gate-user-rules',
    );
    if (row === undefined) return null;
    const { roles, policies, ...user } = row;
    // Who has been taken out of an organisation keeps nothing of it, also not what is attached to them or to groups.
    if (!roles.some(({ group }) => group === null)) return [];
    if (tooMany(policies, (policy) => placesOf(policy, roles).length)) return [];
    return [
      ...roles.flatMap((role) => rulesOfRole(role, id, org)),
      ...policies.flatMap((policy) => placesOf(policy, roles).flatMap((group) => rulesOf(policy, user, org, group))),
    ];
  }
}

/** To judge by more would hold up all that a node has to decide, of every organisation. Without its denials nobody may do
 *  anything: then there are no rules at all.
 *  @param places that a policy holds in */
const tooMany = (policies: readonly PolicyRow[], places: (policy: PolicyRow) => number): boolean =>
  policies.reduce((sum, policy) => sum + rulesIn(policy.statements) * places(policy), 0) > SUBJECT_POLICY_RULES_MAX;

/** Where a policy holds for a user: all over the organisation (null), or in the groups where they have its role. */
function placesOf({ kind, target }: PolicyRow, roles: readonly RoleRow[]): readonly (string | null)[] {
  if (kind !== 'role') return [null];
  const held = roles.filter(({ role, custom }) => (role ?? custom) === target).map(({ group }) => group);
  return held.includes(null) ? [null] : held;
}

function rulesOf(policy: PolicyRow, who: SubjectRecord, org: string, group: string | null): PolicyRule[] {
  return policy.statements.flatMap((statement, index) => {
    const source = `policy ${policy.id} v${policy.version} ${statement.sid ?? index}`;
    const placed = group === null ? statement : within(group, statement);
    return statementRules(placed, who.id, who, org, source);
  });
}

/** A statement of a role that is held in a group: it reaches what lies there. What names another group is out of reach,
 *  so that an allow is left out; a deny stays as it is. */
function within(group: string, statement: PolicyStatement): PolicyStatement {
  const resources = statement.resources.flatMap((resource) => {
    if (!resource.startsWith('group:')) return [groupObject(group, resource)];
    return statement.effect === 'deny' || resource.startsWith(groupObject(group, '')) ? [resource] : [];
  });
  return { ...statement, resources };
}

function rulesOfRole({ group, role, custom, name, actions }: RoleRow, user: string, org: string): PolicyRule[] {
  const may = role === null ? (actions ?? []) : roleActions[role];
  const told = role ?? name ?? '';
  if (group !== null) return roleRules(user, org, may, `${told} of group ${group}`, groupObject(group, '*'));
  const holder = role === null ? customRoleSubject(custom ?? '') : roleSubject(role);
  return [memberRule(user, holder, org), ...roleRules(holder, org, may, told)];
}
