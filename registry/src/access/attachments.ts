import { isUuid, type OrgRole, orgRoles, type PolicyStatement } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';

export const attachmentKinds = ['user', 'thing', 'app', 'group', 'role'] as const;
export type AttachmentKind = (typeof attachmentKinds)[number];
export interface Target {
  readonly kind: AttachmentKind;
  /** An id; of a built-in role its name. */
  readonly target: string;
}
export interface Attachment extends Target {
  readonly policy: string;
  readonly createdAt: Date;
}
export interface Attachments {
  /** Whether the organisation has it: a member, a thing, an app, a group, a role. */
  exists(org: string, target: Target): Promise<boolean>;
  list(policy: string, page: { offset: number; limit: number }): Promise<{ total: number; attachments: Attachment[] }>;
  /** Ids of the policies that are attached to a target itself. */
  policiesOf(org: string, target: Target): Promise<string[]>;
  /** @returns since when it is attached, and whether it was not before
   *  @param statementsVersion that was judged to be the author's to give
   *  @throws RegistryError REGISTRY_VERSION_MISMATCH, REGISTRY_NOT_FOUND, REGISTRY_FULL */
  attach(
    org: string,
    policy: string,
    target: Target,
    statementsVersion: number,
  ): Promise<{ isNew: boolean; createdAt: Date }>;
  /** The same as a part of a transaction. */
  attachIn(
    tx: ChangeSession,
    org: string,
    policy: string,
    target: Target,
    statementsVersion: number,
  ): Promise<{ isNew: boolean; createdAt: Date }>;
  /** @returns false if it was not attached */
  detach(org: string, policy: string, target: Target): Promise<boolean>;
  detachIn(tx: ChangeSession, org: string, policy: string, target: Target): Promise<boolean>;
}

export const ATTACHMENTS_MAX = 50;
/** Rules (each action on each resource) that the policies of one target make. @see SUBJECT_POLICY_RULES_MAX */
export const TARGET_RULES_MAX = 2_000;
/** Targets of one policy. */
const TARGETS_MAX = 10_000;
/** Ids in one change; beyond it all answers in the organisation are void. */
const VOIDS_MAX = 1_000;

const builtIn: ReadonlySet<string> = new Set(orgRoles);
export const isBuiltInRole = (role: string): role is OrgRole => builtIn.has(role);

/** @shape $1 org, $2 target */
const EXISTS: Readonly<Record<AttachmentKind, string>> = {
  user: 'SELECT 1 FROM registry.memberships WHERE org = $1 AND user_id = $2::uuid',
  thing: 'SELECT 1 FROM registry.things WHERE org = $1 AND id = $2::uuid',
  app: `SELECT 1 FROM registry.things WHERE org = $1 AND id = $2::uuid AND type = 'app'`,
  group: 'SELECT 1 FROM registry.groups WHERE org = $1 AND id = $2::uuid',
  role: 'SELECT 1 FROM registry.roles WHERE org = $1 AND id = $2::uuid',
};

export function createAttachments(session: Session, feed: ChangeFeed): Attachments {
  const exists = async (on: Session, org: string, { kind, target }: Target, lock = ''): Promise<boolean> => {
    if (kind === 'role' && isBuiltInRole(target)) return true;
    return isUuid(target) && (await on.query(`${EXISTS[kind]} ${lock}`, [org, target])).length > 0;
  };
  const attachIn: Attachments['attachIn'] = async (tx, org, policy, target, statementsVersion) => {
    const [found] = await tx.query<{ version: number; name: string }>(
      'SELECT statements_version AS version, name FROM registry.policies WHERE id = $1 AND org = $2 FOR UPDATE',
      [policy, org],
    );
    // Locked, so that it can't go in the same moment and leave its attachment behind.
    if (found === undefined || !(await exists(tx, org, target, 'FOR SHARE')))
      throw new RegistryError('REGISTRY_NOT_FOUND', 'never', { policy });
    if (found.version !== statementsVersion)
      throw new RegistryError('REGISTRY_VERSION_MISMATCH', 'never', { version: found.version });
    const [kept] = await tx.query<{ isNew: boolean; createdAt: Date }>(
      `INSERT INTO registry.policy_attachments AS kept (policy, org, kind, target) VALUES ($1, $2, $3, $4)
       ON CONFLICT (policy, kind, target) DO UPDATE SET target = kept.target
       RETURNING xmax = 0 AS "isNew", created_at AS "createdAt"`,
      [policy, org, target.kind, target.target],
    );
    if (kept === undefined) throw new TypeError('INSERT … RETURNING gave no row');
    if (!kept.isNew) return kept;
    const [count] = await tx.query<{ ofTarget: number; ofPolicy: number }>(
      `SELECT (SELECT count(*)::integer FROM registry.policy_attachments WHERE org = $1 AND kind = $2 AND target = $3) AS "ofTarget",
         (SELECT count(*)::integer FROM registry.policy_attachments WHERE policy = $4) AS "ofPolicy"`,
      [org, target.kind, target.target, policy],
    );
    if ((count?.ofTarget ?? 0) > ATTACHMENTS_MAX)
      throw new RegistryError('REGISTRY_FULL', 'never', { policies: ATTACHMENTS_MAX });
    if ((count?.ofPolicy ?? 0) > TARGETS_MAX)
      throw new RegistryError('REGISTRY_FULL', 'never', { attachments: TARGETS_MAX });
    const together = await tx.query<{ statements: PolicyStatement[] }>(
      `SELECT statements FROM registry.policy_attachments AS attached JOIN registry.policies ON policies.id = attached.policy
       WHERE attached.org = $1 AND kind = $2 AND target = $3`,
      [org, target.kind, target.target],
    );
    if (together.reduce((sum, { statements }) => sum + rulesIn(statements), 0) > TARGET_RULES_MAX)
      throw new RegistryError('REGISTRY_FULL', 'never', { rules: TARGET_RULES_MAX });
    tx.changed('policy', policy, org, await subjectsOf(tx, org, [target]));
    tx.audit({
      action: 'policies.attach',
      entity: 'policies',
      id: policy,
      org,
      detail: { name: found.name, ...target },
    });
    return kept;
  };

  const detachIn: Attachments['detachIn'] = async (tx, org, policy, target) => {
    const gone = await tx.query(
      'DELETE FROM registry.policy_attachments WHERE policy = $1 AND org = $2 AND kind = $3 AND target = $4 RETURNING 1',
      [policy, org, target.kind, target.target],
    );
    if (gone.length === 0) return false;
    tx.changed('policy', policy, org, await subjectsOf(tx, org, [target]));
    tx.audit({ action: 'policies.detach', entity: 'policies', id: policy, org, detail: { ...target } });
    return true;
  };

  return {
    exists: (org, target) => exists(session, org, target),

    async list(policy, { offset, limit }) {
      const [attachments, [count]] = await Promise.all([
        session.query<Attachment>(
          `SELECT policy, kind, target, created_at AS "createdAt" FROM registry.policy_attachments WHERE policy = $1
           ORDER BY kind, target OFFSET $2 LIMIT $3`,
          [policy, offset, limit],
        ),
        session.query<{ total: number }>(
          'SELECT count(*)::integer AS total FROM registry.policy_attachments WHERE policy = $1',
          [policy],
        ),
      ]);
      return { total: count?.total ?? 0, attachments };
    },

    async policiesOf(org, { kind, target }) {
      const rows = await session.query<{ policy: string }>(
        'SELECT policy FROM registry.policy_attachments WHERE org = $1 AND kind = $2 AND target = $3 ORDER BY policy',
        [org, kind, target],
      );
      return rows.map(({ policy }) => policy);
    },

    attachIn,
    detachIn,
    attach: (...what) => feed.transaction((tx) => attachIn(tx, ...what)),
    detach: (...what) => feed.transaction((tx) => detachIn(tx, ...what)),
  };
}

/** How many rules statements make. */
export const rulesIn = (statements: readonly PolicyStatement[]): number =>
  statements.reduce((sum, { actions, resources }) => sum + actions.length * resources.length, 0);

/** Whom a change of what is attached to these concerns: things of a branch, users with a role; all of the
 *  organisation, by its id, if they are many. */
export async function subjectsOf(session: Session, org: string, targets: readonly Target[]): Promise<string[]> {
  const of = (kind: AttachmentKind): string[] =>
    targets.filter((each) => each.kind === kind).map(({ target }) => target);
  const groups = of('group');
  const roles = of('role');
  const direct = [...of('user'), ...of('thing'), ...of('app')];
  const rows =
    groups.length === 0 && roles.length === 0
      ? []
      : await session.query<{ id: string }>(
          `SELECT things.id::text AS id FROM registry.things JOIN registry.groups ON groups.id = group_id
           WHERE groups.id = ANY ($2::uuid[]) OR groups.ancestors && $2::uuid[]
           UNION SELECT user_id::text FROM registry.memberships WHERE org = $1 AND (role = ANY ($3) OR custom_role::text = ANY ($3))
           UNION SELECT user_id::text FROM registry.group_roles WHERE org = $1 AND (role = ANY ($3) OR custom_role::text = ANY ($3))
           LIMIT ${VOIDS_MAX + 1}`,
          [org, groups, roles],
        );
  const all = [...new Set([...direct, ...rows.map(({ id }) => id)])];
  return all.length > VOIDS_MAX ? [org] : all;
}
