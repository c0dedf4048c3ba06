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

/** @shape pattern: an action, `*`, `<entity>.*` or `*.<verb>`; the last two never cover publish and subscribe */
export function actionMatches(action: string, pattern: string): boolean {
  if (pattern === '*' || pattern === action) return true;
  if (pattern.endsWith('.*')) return action.startsWith(pattern.slice(0, -1));
  return pattern.startsWith('*.') && action.endsWith(pattern.slice(1));
}

export type Coverage = 'all' | 'none' | 'some';

/** What a pattern covers of an object and everything below it; 'some' where that is not certain. */
export function coverageBelow(base: string, pattern: string): Coverage {
  if (!pattern.includes('*')) return pattern === base || pattern.startsWith(`${base}/`) ? 'some' : 'none';
  return pattern.endsWith('*') && objectMatches(base, pattern) ? 'all' : 'some';
}

/** The first two segments, which name an entity.  @returns null if a pattern leaves them open */
export function rootOf(path: string): string | null {
  const first = path.indexOf('/');
  if (first === -1) return path.includes('*') ? null : path;
  const second = path.indexOf('/', first + 1);
  const root = second === -1 ? path : path.slice(0, second);
  return root.includes('*') ? null : root;
}
