import { type PolicyStatement, uuidV7 } from '@millrace/core';
import { changedFields, sameJson } from '../audit/changed-fields.ts';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';
import { subjectsOf, type Target } from './attachments.ts';

export interface Policy {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly description: string;
  readonly enabled: boolean;
  readonly statements: readonly PolicyStatement[];
  readonly statementsVersion: number;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly tags: readonly string[];
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface NewPolicy {
  readonly id?: string | undefined;
  readonly name: string;
  readonly description?: string | undefined;
  readonly enabled?: boolean | undefined;
  readonly statements: readonly PolicyStatement[];
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  readonly tags?: readonly string[] | undefined;
}
/** What is undefined stays as it is. */
export type PolicyPatch = { readonly [Member in keyof Omit<NewPolicy, 'id'>]?: NewPolicy[Member] | undefined };
export interface PolicyVersion {
  readonly version: number;
  readonly statements: readonly PolicyStatement[];
  /** The user who wrote it; null if the platform did. */
  readonly author: string | null;
  readonly createdAt: Date;
}
export interface Expected {
  /** ETag that the change was made for; null: any. */
  readonly version: number | null;
  /** What was judged to be the author's to give. */
  readonly judged: { readonly statementsVersion: number; readonly enabled: boolean; readonly attached: boolean };
}

export interface Policies {
  /** All or none.  @throws RegistryError REGISTRY_CONFLICT with field id or name, REGISTRY_FULL */
  create(org: string, policies: readonly NewPolicy[], author: string | null): Promise<Policy[]>;
  /** The same as a part of a transaction. */
  createIn(tx: ChangeSession, org: string, policies: readonly NewPolicy[], author: string | null): Promise<Policy[]>;
  get(id: string): Promise<Policy | null>;
  many(org: string, ids: readonly string[]): Promise<Policy[]>;
  list(query: ListQuery): Promise<Listed<Policy>>;
  isAttached(id: string): Promise<boolean>;
  /** Other statements make a new version. null if it is gone.  @throws RegistryError REGISTRY_VERSION_MISMATCH, REGISTRY_CONFLICT */
  update(id: string, patch: PolicyPatch, author: string | null, expected: Expected): Promise<Policy | null>;
  updateIn(
    tx: ChangeSession,
    id: string,
    patch: PolicyPatch,
    author: string | null,
    expected: Expected,
  ): Promise<Policy | null>;
  /** @returns how many attachments went with it; null if it is gone
   *  @throws RegistryError REGISTRY_IN_USE, REGISTRY_VERSION_MISMATCH */
  remove(id: string, cascade: boolean, version: number | null): Promise<number | null>;
  removeIn(tx: ChangeSession, id: string, cascade: boolean, version: number | null): Promise<number | null>;
  /** The newest first. */
  versions(id: string, page: { offset: number; limit: number }): Promise<{ total: number; versions: PolicyVersion[] }>;
  version(id: string, version: number): Promise<PolicyVersion | null>;
}

const POLICIES_MAX = 10_000;
/** Older versions are forgotten. */
const VERSIONS_KEPT = 100;

const COLUMNS = `id, org, name, description, enabled, statements, statements_version AS "statementsVersion", metadata, tags, version,
  created_at AS "createdAt", updated_at AS "updatedAt"`;
const VERSION_COLUMNS = 'version, statements, author, created_at AS "createdAt"';

export function createPolicies(session: Session, feed: ChangeFeed): Policies {
  const createIn: Policies['createIn'] = async (tx, org, policies, author) => {
    const made = await tx.query<Policy>(
      `INSERT INTO registry.policies (id, org, name, description, enabled, statements, metadata, tags)
       SELECT id, $1, name, description, enabled, statements, metadata, ARRAY(SELECT jsonb_array_elements_text(tags))
       FROM jsonb_to_recordset($2) AS policy (at integer, id uuid, name text, description text, enabled boolean,
         statements jsonb, metadata jsonb, tags jsonb)
       ORDER BY at RETURNING ${COLUMNS}`,
      [org, JSON.stringify(policies.map(rowOf))],
    );
    const [count] = await tx.query<{ all: number }>(
      'SELECT count(*)::integer AS all FROM registry.policies WHERE org = $1',
      [org],
    );
    if ((count?.all ?? 0) > POLICIES_MAX) throw new RegistryError('REGISTRY_FULL', 'never', { policies: POLICIES_MAX });
    await tx.query(
      `INSERT INTO registry.policy_versions (policy, version, statements, author)
       SELECT id, 1, statements, $2 FROM registry.policies WHERE id = ANY ($1::uuid[])`,
      [made.map(({ id }) => id), author],
    );
    for (const { id, name } of made)
      tx.audit({ action: 'policies.create', entity: 'policies', id, org, detail: { name } });
    return made;
  };

  const updateIn: Policies['updateIn'] = async (tx, id, patch, author, { version, judged }) => {
    const before = await locked(tx, id, version);
    if (before === null) return null;
    const targets = await targetsOf(tx, id);
    // What was judged must be what is changed: else somebody else's change would pass unjudged.
    const isJudged =
      before.statementsVersion === judged.statementsVersion &&
      before.enabled === judged.enabled &&
      (targets.length === 0 || judged.attached);
    if (!isJudged) throw new RegistryError('REGISTRY_VERSION_MISMATCH', 'never', { version: before.version });
    const rewritten = patch.statements !== undefined && !sameJson(patch.statements, before.statements);
    const [after] = await tx.query<Policy>(
      `UPDATE registry.policies SET name = coalesce($2, name), description = coalesce($3, description),
         enabled = coalesce($4, enabled), statements = coalesce($5::jsonb, statements),
         metadata = coalesce($6::jsonb, metadata), tags = coalesce($7::text[], tags),
         statements_version = statements_version + $8::integer, version = version + 1, updated_at = now()
       WHERE id = $1 RETURNING ${COLUMNS}`,
      [
        id,
        patch.name,
        patch.description,
        patch.enabled,
        patch.statements === undefined ? undefined : JSON.stringify(patch.statements),
        patch.metadata === undefined ? undefined : JSON.stringify(patch.metadata),
        patch.tags,
        rewritten ? 1 : 0,
      ],
    );
    if (after === undefined) return null;
    if (rewritten) await keepVersion(tx, after, author);
    if (rewritten || after.enabled !== before.enabled)
      tx.changed('policy', id, after.org, await subjectsOf(tx, after.org, targets));
    tx.audit({
      action: 'policies.update',
      entity: 'policies',
      id,
      org: after.org,
      detail: { ...changedFields(before, after), statements_version: after.statementsVersion },
    });
    return after;
  };

  const removeIn: Policies['removeIn'] = async (tx, id, cascade, version) => {
    const policy = await locked(tx, id, version);
    if (policy === null) return null;
    const targets = await targetsOf(tx, id);
    if (targets.length > 0 && !cascade)
      throw new RegistryError('REGISTRY_IN_USE', 'never', { attachments: targets.length });
    const voids = await subjectsOf(tx, policy.org, targets);
    await tx.query('DELETE FROM registry.policies WHERE id = $1', [id]);
    tx.changed('policy', id, policy.org, voids);
    tx.audit({
      action: 'policies.delete',
      entity: 'policies',
      id,
      org: policy.org,
      detail: { name: policy.name, attachments: targets.length },
    });
    return targets.length;
  };

  return {
    createIn,
    updateIn,
    removeIn,
    create: (...what) => feed.transaction((tx) => createIn(tx, ...what)),
    update: (...what) => feed.transaction((tx) => updateIn(tx, ...what)),
    remove: (...what) => feed.transaction((tx) => removeIn(tx, ...what)),

    async get(id) {
      return (await session.query<Policy>(`SELECT ${COLUMNS} FROM registry.policies WHERE id = $1`, [id]))[0] ?? null;
    },

    many: (org, ids) =>
      session.query<Policy>(
        `SELECT ${COLUMNS} FROM registry.policies WHERE org = $1 AND id = ANY ($2::uuid[]) ORDER BY name`,
        [org, ids],
      ),

    list: (query) => listRows<Policy>(session, 'registry.policies', COLUMNS, query),

    isAttached: async (id) => (await targetsOf(session, id, 1)).length > 0,

    async versions(id, { offset, limit }) {
      const [versions, [count]] = await Promise.all([
        session.query<PolicyVersion>(
          `SELECT ${VERSION_COLUMNS} FROM registry.policy_versions WHERE policy = $1 ORDER BY version DESC OFFSET $2 LIMIT $3`,
          [id, offset, limit],
        ),
        session.query<{ total: number }>(
          'SELECT count(*)::integer AS total FROM registry.policy_versions WHERE policy = $1',
          [id],
        ),
      ]);
      return { total: count?.total ?? 0, versions };
    },

    async version(id, version) {
      const [found] = await session.query<PolicyVersion>(
        `SELECT ${VERSION_COLUMNS} FROM registry.policy_versions WHERE policy = $1 AND version = $2`,
        [id, version],
      );
      return found ?? null;
    },
  };
}

const rowOf = (policy: NewPolicy, at: number) => ({
  at,
  id: policy.id?.toLowerCase() ?? uuidV7(),
  name: policy.name,
  description: policy.description ?? '',
  enabled: policy.enabled ?? true,
  statements: policy.statements,
  metadata: policy.metadata ?? {},
  tags: policy.tags ?? [],
});

/** @throws RegistryError REGISTRY_VERSION_MISMATCH */
async function locked(tx: Session, id: string, version: number | null): Promise<Policy | null> {
  const [policy] = await tx.query<Policy>(`SELECT ${COLUMNS} FROM registry.policies WHERE id = $1 FOR UPDATE`, [id]);
  if (policy === undefined) return null;
  if (version !== null && policy.version !== version)
    throw new RegistryError('REGISTRY_VERSION_MISMATCH', 'never', { version: policy.version });
  return policy;
}

const targetsOf = (session: Session, policy: string, limit: number | null = null): Promise<Target[]> =>
  session.query<Target>('SELECT kind, target FROM registry.policy_attachments WHERE policy = $1 LIMIT $2', [
    policy,
    limit,
  ]);

async function keepVersion(tx: ChangeSession, policy: Policy, author: string | null): Promise<void> {
  await tx.query('INSERT INTO registry.policy_versions (policy, version, statements, author) VALUES ($1, $2, $3, $4)', [
    policy.id,
    policy.statementsVersion,
    JSON.stringify(policy.statements),
    author,
  ]);
  await tx.query('DELETE FROM registry.policy_versions WHERE policy = $1 AND version <= $2', [
    policy.id,
    policy.statementsVersion - VERSIONS_KEPT,
  ]);
}
