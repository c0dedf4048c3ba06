import { messagesObject, type Scope } from '@millrace/core';
import { actionMatches, coverageBelow, objectCovered, readObject } from './pattern.ts';

/** Whether a credential carries this much of its owner's rights. It gives none of its own. */
export function scopeCovers(
  scope: Scope,
  org: string,
  object: string,
  action: string,
  groups: readonly string[],
): boolean {
  if (scope.org !== null && scope.org !== org) return false;
  return scope.grants.some(
    ({ actions, resources }) =>
      actions.some((pattern) => actionMatches(action, pattern)) &&
      resources.some((resource) => objectCovered(object, resource, groups)),
  );
}

/** Whether a scope tells the subtopics of a channel apart. */
export function scopeDivides(scope: Scope, channel: string, action: string): boolean {
  const base = messagesObject(channel);
  return scope.grants.some(
    ({ actions, resources }) =>
      actions.some((pattern) => actionMatches(action, pattern)) &&
      resources.some((resource) => coverageBelow(base, readObject(resource).pattern) === 'some'),
  );
}
