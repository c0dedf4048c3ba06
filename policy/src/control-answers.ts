import type { Answers } from './answers.ts';
import { Generations } from './generations.ts';

// hot

/** Objects of one subject whose answers are kept, and answers (by action, organisation and place) kept of each. */
export const SUBJECT_OBJECTS_MAX = 1_024;
const OBJECT_ANSWERS_MAX = 16;

interface Entry {
  readonly org: string;
  readonly action: string;
  readonly groups: readonly string[];
  readonly answers: Answers<boolean>;
}

/** The memoised answers about objects of the control plane. By the object first and then one by one: a key of all that
 *  is asked would have to be put together anew each time, which costs more than the look-up. */
export class ControlAnswers {
  readonly #objects = new Generations<string, Entry[]>(SUBJECT_OBJECTS_MAX);

  find(org: string, object: string, action: string, groups: readonly string[]): Answers<boolean> | undefined {
    const entries = this.#objects.get(object);
    if (entries === undefined) return undefined;
    for (let index = 0; index < entries.length; index++) {
      const entry = entries[index] as Entry;
      if (entry.action === action && entry.org === org && same(entry.groups, groups)) return entry.answers;
    }
    return undefined;
  }

  /** @holds `find` gave none */
  add(org: string, object: string, action: string, groups: readonly string[], answers: Answers<boolean>): void {
    const entry = { org, action, groups: [...groups], answers };
    const entries = this.#objects.get(object);
    if (entries === undefined) {
      this.#objects.set(object, [entry]);
      return;
    }
    if (entries.length >= OBJECT_ANSWERS_MAX) entries.shift();
    entries.push(entry);
  }
}

function same(one: readonly string[], other: readonly string[]): boolean {
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index++) if (one[index] !== other[index]) return false;
  return true;
}
