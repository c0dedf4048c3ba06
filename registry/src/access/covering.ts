/** Whether one pattern of actions covers another, or an action.
 *  @shape `*` | `publish` | `subscribe` | `<entity>.<verb>`, either part of which may be `*`
 *  @holds `*.*` is everything on the control plane, `*` everything */
export function actionCovers(pattern: string, asked: string): boolean {
  if (pattern === '*' || pattern === asked) return true;
  const [entity, verb] = pattern.split('.');
  const [askedEntity, askedVerb] = asked.split('.');
  if (verb === undefined || askedVerb === undefined) return false;
  return (entity === '*' || entity === askedEntity) && (verb === '*' || verb === askedVerb);
}

/** Whether one pattern of objects surely covers all that another does; no where that is not certain.
 *  @shape as core/src/ports/rules.ts says; without `group:` */
export function objectCovers(pattern: string, asked: string): boolean {
  const star = pattern.indexOf('*');
  if (star === -1) return pattern === asked;
  if (star === pattern.length - 1) return asked.startsWith(pattern.slice(0, -1));
  const wanted = pattern.split('/');
  const given = asked.split('/');
  const last = wanted.length - 1;
  if (given.length <= last) return false;
  for (let index = 0; index < last; index++) {
    if (wanted[index] !== '*' && wanted[index] !== given[index]) return false;
  }
  const end = wanted[last] ?? '';
  const rest = given.slice(last).join('/');
  return end.endsWith('*') ? rest.startsWith(end.slice(0, -1)) : rest === end;
}

/** Whether something may be covered by both; yes where that is not certain. */
export function actionsOverlap(one: string, other: string): boolean {
  if (one === '*' || other === '*' || one === other) return true;
  const [entity, verb] = one.split('.');
  const [otherEntity, otherVerb] = other.split('.');
  if (verb === undefined || otherVerb === undefined) return false;
  const meet = (a: string | undefined, b: string | undefined): boolean => a === '*' || b === '*' || a === b;
  return meet(entity, otherEntity) && meet(verb, otherVerb);
}

/** The same of objects: they are apart only if what stands before the first `*` tells them apart. */
export function objectsOverlap(one: string, other: string): boolean {
  const a = withoutGroup(one);
  const b = withoutGroup(other);
  const fixedA = fixedPart(a);
  const fixedB = fixedPart(b);
  if (fixedA === a && fixedB === b) return a === b;
  const length = Math.min(fixedA.length, fixedB.length);
  return fixedA.slice(0, length) === fixedB.slice(0, length);
}

const GROUP = /^group:([^/]*)\/(.*)$/s;
/** A pattern, and the group that it is good for. */
export function readResource(resource: string): { readonly group: string | null; readonly pattern: string } {
  const [, group, pattern] = GROUP.exec(resource) ?? [];
  return group === undefined || pattern === undefined ? { group: null, pattern: resource } : { group, pattern };
}

const withoutGroup = (resource: string): string => readResource(resource).pattern;

/** Up to the first `*` or variable. */
function fixedPart(pattern: string): string {
  const at = pattern.search(/\*|\$\{/);
  return at === -1 ? pattern : pattern.slice(0, at);
}
