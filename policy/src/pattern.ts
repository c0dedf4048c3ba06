import { EVERY_SUBTOPIC } from '@millrace/core';

/** Whether a rule's object covers an object.
 *  @shape pattern: a path; `*` at its end stands for any rest (also none), a whole segment `*` before that for one
 *         segment; elsewhere `*` is itself  @throws never */
export function objectMatches(object: string, pattern: string): boolean {
  const star = pattern.indexOf('*');
  if (star === -1) return object === pattern;
  if (star === pattern.length - 1) return object.startsWith(pattern.slice(0, -1));
  return segmentsMatch(object, pattern);
}

function segmentsMatch(object: string, pattern: string): boolean {
  const wanted = pattern.split('/');
  const given = object.split('/');
  const last = wanted.length - 1;
  if (given.length <= last) return false;
  for (let index = 0; index < last; index++) {
    if (wanted[index] !== '*' && wanted[index] !== given[index]) return false;
  }
  const end = wanted[last] as string;
  const rest = given.slice(last).join('/');
  return end.endsWith('*') ? rest.startsWith(end.slice(0, -1)) : rest === end;
}

const GROUP = 'group:';

/** What a rule's object says: the group that it holds in, and the pattern of what it covers there.
 *  @shape group: null if it holds everywhere; a rule of a group that names no pattern covers nothing */
export function readObject(object: string): { readonly group: string | null; readonly pattern: string } {
  if (!object.startsWith(GROUP)) return { group: null, pattern: object };
  const slash = object.indexOf('/');
  if (slash === -1) return { group: object.slice(GROUP.length), pattern: '' };
  return { group: object.slice(GROUP.length, slash), pattern: object.slice(slash + 1) };
}

/** Whether a rule's object covers an object that lies in these groups. */
export function objectCovered(object: string, covering: string, groups: readonly string[]): boolean {
  const { group, pattern } = readObject(covering);
  return (group === null || groups.includes(group)) && objectMatches(object, pattern);
}

/** @shape pattern: an action, `*`, `<entity>.*`, `*.<verb>` or `*.*`; the last three never cover publish and subscribe */
export function actionMatches(action: string, pattern: string): boolean {
  if (pattern === '*' || pattern === action) return true;
  if (pattern === '*.*') return action.includes('.');
  if (pattern.endsWith('.*')) return action.startsWith(pattern.slice(0, -1));
  return pattern.startsWith('*.') && action.endsWith(pattern.slice(1));
}

export type Coverage = 'all' | 'none' | 'some';

/** What a pattern covers of an object and everything below it; 'some' where that is not certain. */
export function coverageBelow(base: string, pattern: string): Coverage {
  if (!pattern.includes('*')) return pattern === base || pattern.startsWith(`${base}/`) ? 'some' : 'none';
  return pattern.endsWith('*') && objectMatches(base, pattern) ? 'all' : 'some';
}

/** What a pattern surely covers of an object and everything below it: unlike `coverageBelow`, 'some' says that there is
 *  something that it covers. */
export function reachBelow(base: string, pattern: string): Coverage {
  const wanted = pattern.split('/');
  const given = base.split('/');
  const last = wanted.length - 1;
  const isOpen = pattern.endsWith('*');
  if (isOpen && last < given.length) return objectMatches(base, pattern) ? 'all' : 'none';
  if (last < given.length - 1) return 'none';
  const isShared = given.every(
    (segment, index) => wanted[index] === segment || (wanted[index] === '*' && index < last),
  );
  return isShared ? 'some' : 'none';
}

const EVERYTHING = `/${EVERY_SUBTOPIC}`;

/** Whether the pattern of a rule of that effect covers an object.
 *  @holds of all subtopics at once an allow must cover each, a deny any */
export function covers(object: string, pattern: string, effect: string): boolean {
  if (!object.endsWith(EVERYTHING)) return objectMatches(object, pattern);
  const reach = reachBelow(object.slice(0, -EVERYTHING.length), pattern);
  return effect === 'deny' ? reach !== 'none' : reach === 'all';
}

/** The first two segments, which name an entity.  @returns null if a pattern leaves them open */
export function rootOf(path: string): string | null {
  const first = path.indexOf('/');
  if (first === -1) return path.includes('*') ? null : path;
  const second = path.indexOf('/', first + 1);
  const root = second === -1 ? path : path.slice(0, second);
  return root.includes('*') ? null : root;
}
