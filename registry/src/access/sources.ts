import { z } from '@hono/zod-openapi';
import type { PolicyRule } from '@millrace/core';
import { ConditionBody, conditionAnswer } from './documents.ts';
import type { Policy } from './policies.ts';

/** Where a rule comes from, as people are told. */
export const SourceAnswer = z
  .object({
    kind: z.enum(['policy', 'draft', 'connection', 'role', 'other']),
    id: z.string().nullable().describe('Of the policy, of the channel that it is connected with.'),
    name: z.string().nullable().describe('Of the policy or role.'),
    version: z.int().nullable().describe('Of the policy.'),
    sid: z.string().nullable().describe('Of the statement in it; its index if it has none.'),
  })
  .openapi('Source');
export type Source = z.output<typeof SourceAnswer>;

export const RuleAnswer = z.object({
  effect: z.enum(['allow', 'deny']),
  actions: z.array(z.string()),
  resources: z.array(z.string()),
  condition: z.union([ConditionBody, z.null()]),
  source: SourceAnswer,
});

const NOTHING: Source = { kind: 'other', id: null, name: null, version: null, sid: null };

/** @shape source: as core's PolicyRule says, or `draft <index> <sid>` of a policy that is only tried */
export function readSource(rule: PolicyRule, names: ReadonlyMap<string, string>): Source {
  const [kind = '', id = '', ...rest] = (rule.source ?? '').split(' ');
  switch (kind) {
    case 'policy': {
      const [version = '', sid = null] = rest;
      return { kind, id, name: names.get(id) ?? null, version: Number(version.slice(1)), sid };
    }
    case 'draft':
      return { ...NOTHING, kind, name: names.get(`draft ${id}`) ?? null, sid: rest[0] ?? null };
    case 'connection':
      return { ...NOTHING, kind, id };
    case 'role':
      return { ...NOTHING, kind, name: [id, ...rest].join(' ') };
    default:
      return NOTHING;
  }
}

/** Ids of the policies that rules come from. */
export const policiesIn = (rules: readonly PolicyRule[]): string[] => [
  ...new Set(rules.flatMap(({ source = '' }) => (source.startsWith('policy ') ? [source.split(' ')[1] ?? ''] : []))),
];

export const namesOf = (policies: readonly Policy[]): Map<string, string> =>
  new Map(policies.map(({ id, name }) => [id, name]));

export interface ToldRule {
  readonly effect: 'allow' | 'deny';
  readonly actions: readonly string[];
  readonly resources: readonly string[];
  readonly condition: Record<string, unknown> | null;
  readonly source: Source;
}

/** Rules as they were written: those of one statement, connection or role together, in their order. */
export function toldRules(rules: readonly PolicyRule[], names: ReadonlyMap<string, string>): ToldRule[] {
  const told = new Map<string, ToldRule & { actions: string[]; resources: string[] }>();
  for (const rule of rules) {
    if (rule.type !== 'p') continue;
    const [holder = '', , object = '', action = '', effect = '', condition = ''] = rule.values;
    // A connection's two rules, a role's many, a statement's products.
    const key = `${rule.source}\n${holder}\n${effect}\n${condition}`;
    const known = told.get(key);
    if (known === undefined) {
      told.set(key, {
        effect: effect === 'deny' ? 'deny' : 'allow',
        actions: [action],
        resources: [object],
        condition: condition === '' ? null : conditionAnswer(JSON.parse(condition)),
        source: readSource(rule, names),
      });
      continue;
    }
    if (!known.actions.includes(action)) known.actions.push(action);
    if (!known.resources.includes(object)) known.resources.push(object);
  }
  return [...told.values()];
}
