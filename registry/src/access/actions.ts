import { controlEntities } from '@millrace/core';

/** What can be done to an entity of the control plane, as the second part of an action. Closed, so that a slip of the
 *  pen in a policy is told at once instead of letting nobody in later. */
export const controlVerbs = ['create', 'read', 'list', 'update', 'delete', 'attach', 'freeze', 'export'] as const;

const entities: ReadonlySet<string> = new Set(controlEntities);
const verbs: ReadonlySet<string> = new Set(controlVerbs);

/** @shape `*`, `publish`, `subscribe`, `<entity>.<verb>`, either part of which may be `*` */
export function isKnownAction(action: string): boolean {
  if (action === '*' || action === 'publish' || action === 'subscribe') return true;
  const [entity = '', verb = '', ...rest] = action.split('.');
  if (rest.length > 0) return false;
  return (entity === '*' || entities.has(entity)) && (verb === '*' || verbs.has(verb));
}
