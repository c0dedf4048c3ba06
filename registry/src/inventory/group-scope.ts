import type { Clauses } from './page.ts';

/** Things or channels of a group, and of the groups below it if asked for. */
export function inBranch(clauses: Clauses, group: string, below: boolean): void {
  if (!below) clauses.add('group_id = ?', group);
  else
    clauses.add(
      'group_id IN (SELECT id FROM registry.groups WHERE id = ?::uuid OR ancestors @> ARRAY[?::uuid])',
      group,
    );
}

/** Only what lies in these groups or below them. */
export function within(clauses: Clauses, groups: readonly string[]): void {
  clauses.add(
    'group_id IN (SELECT id FROM registry.groups WHERE id = ANY (?::uuid[]) OR ancestors && ?::uuid[])',
    groups,
  );
}
