import type { ChannelLimits, ChannelProfile, PolicyStatement } from '@millrace/core';
import type { AttachmentKind } from '../access/attachments.ts';
import type { Session } from '../database/database.ts';
import { Refusal } from '../http/refusal.ts';
import type { ThingType } from '../inventory/things.ts';

interface Shared {
  readonly id: string;
  readonly name: string;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly version: number;
}
export interface GroupState extends Shared {
  readonly parent: string | null;
  readonly description: string;
  readonly enabled: boolean;
}
export interface RoleState extends Shared {
  readonly description: string;
  readonly actions: readonly string[];
}
export interface ChannelState extends Shared {
  readonly alias: string | null;
  readonly enabled: boolean;
  readonly contentType: string | null;
  readonly group: string | null;
  readonly profile: ChannelProfile;
  readonly limits: ChannelLimits;
}
export interface ThingState extends Shared {
  readonly type: ThingType;
  readonly enabled: boolean;
  readonly externalId: string | null;
  readonly group: string | null;
  readonly gateway: string | null;
  readonly keyDigest: string;
  readonly keySealed: string;
  readonly externalKeyDigest: string | null;
  readonly externalKeySealed: string | null;
  /** It is who an application is. */
  readonly machine: boolean;
}
export interface PolicyState extends Shared {
  readonly description: string;
  readonly enabled: boolean;
  readonly statements: readonly PolicyStatement[];
  readonly statementsVersion: number;
}
export interface ConnectionState {
  readonly thing: string;
  readonly channel: string;
  readonly publish: boolean;
  readonly subscribe: boolean;
}
export interface AttachmentState {
  readonly policy: string;
  readonly kind: AttachmentKind;
  /** An id; of a built-in role its name. */
  readonly target: string;
}
/** All that a manifest can tell of an organisation, at one moment. */
export interface State {
  readonly groups: readonly GroupState[];
  readonly roles: readonly RoleState[];
  readonly channels: readonly ChannelState[];
  readonly things: readonly ThingState[];
  readonly connections: readonly ConnectionState[];
  readonly policies: readonly PolicyState[];
  readonly attachments: readonly AttachmentState[];
  /** Members of the organisation, whom policies can be attached to. */
  readonly members: readonly { readonly id: string; readonly email: string }[];
  /** Differs whenever any of it, but the members, does. */
  readonly version: string;
}

const ROWS_MAX = 400_000;
const BYTES_MAX = 64 * 1024 * 1024;

/** @shape $1 org */
const SIZE = `SELECT
  (SELECT count(*) FROM registry.connections WHERE org = $1)::float8 + sum(count) AS rows, sum(bytes)::float8 AS bytes
  FROM (
    SELECT count(*), coalesce(sum(octet_length(metadata::text)), 0) AS bytes FROM registry.things WHERE org = $1
    UNION ALL SELECT count(*), coalesce(sum(octet_length(metadata::text) + octet_length(profile::text)), 0) FROM registry.channels WHERE org = $1
    UNION ALL SELECT count(*), coalesce(sum(octet_length(metadata::text)), 0) FROM registry.groups WHERE org = $1
    UNION ALL SELECT count(*), coalesce(sum(octet_length(metadata::text)), 0) FROM registry.roles WHERE org = $1
    UNION ALL SELECT count(*), coalesce(sum(octet_length(metadata::text) + octet_length(statements::text)), 0) FROM registry.policies WHERE org = $1
    UNION ALL SELECT count(*), 0 FROM registry.policy_attachments WHERE org = $1
  ) AS part`;

const versions = (table: string): string =>
  `(SELECT coalesce(string_agg(id::text || ':' || version, ',' ORDER BY id), '') FROM registry.${table} WHERE org = $1)`;
const VERSION = `encode(sha256(convert_to(concat_ws('|',
  ${['groups', 'roles', 'channels', 'things', 'policies'].map(versions).join(', ')},
  (SELECT coalesce(string_agg(concat_ws(':', thing, channel, publish, subscribe), ',' ORDER BY thing, channel), '')
   FROM registry.connections WHERE org = $1),
  (SELECT coalesce(string_agg(concat_ws(':', policy, kind, target), ',' ORDER BY policy, kind, target), '')
   FROM registry.policy_attachments WHERE org = $1)), 'UTF8')), 'hex')`;

const rows = (columns: string, from: string, order: string): string =>
  `(SELECT coalesce(json_agg(one), '[]') FROM (SELECT ${columns} FROM ${from} ORDER BY ${order}) AS one)`;
const shared = (columns: string, table: string): string =>
  rows(`id, name, metadata, tags, version, ${columns}`, `registry.${table} WHERE org = $1`, 'created_at, id');
/** One statement: one moment, also while others change it. */
const STATE = `SELECT
  ${shared('parent, description, enabled', 'groups')} AS groups,
  ${shared('description, actions', 'roles')} AS roles,
  ${shared('alias, enabled, content_type AS "contentType", group_id AS "group", profile, limits', 'channels')} AS channels,
  ${shared(
    `type, enabled, external_id AS "externalId", group_id AS "group", gateway, key_digest AS "keyDigest",
     key_sealed AS "keySealed", external_key_digest AS "externalKeyDigest", external_key_sealed AS "externalKeySealed",
     EXISTS (SELECT 1 FROM registry.apps WHERE apps.thing = things.id) AS machine`,
    'things',
  )} AS things,
  ${rows('thing, channel, publish, subscribe', 'registry.connections WHERE org = $1', 'thing, channel')} AS connections,
  ${shared('description, enabled, statements, statements_version AS "statementsVersion"', 'policies')} AS policies,
  ${rows('policy, kind, target', 'registry.policy_attachments WHERE org = $1', 'policy, kind, target')} AS attachments,
  ${rows(
    'users.id, users.email',
    'registry.memberships JOIN registry.users ON users.id = user_id WHERE org = $1',
    'users.email',
  )} AS members,
  ${VERSION} AS version`;

/** @throws Refusal 422 for an organisation that is too large for one document */
export async function readState(session: Session, org: string): Promise<State> {
  const [size] = await session.query<{ rows: number; bytes: number }>(SIZE, [org]);
  if (size !== undefined && (size.rows > ROWS_MAX || size.bytes > BYTES_MAX))
    throw new Refusal(
      422,
      'The organisation is too large for a manifest: lists and jobs can read and change it in parts.',
    );
  const [state] = await session.query<State>(STATE, [org]);
  if (state === undefined) throw new TypeError('a SELECT of subqueries gave no row');
  return state;
}

export async function readVersion(session: Session, org: string): Promise<string> {
  const [row] = await session.query<{ version: string }>(`SELECT ${VERSION} AS version`, [org]);
  return row?.version ?? '';
}
