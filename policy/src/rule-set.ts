import { messagesObject, type PolicyRule } from '@millrace/core';
import { applies, type Circumstances, PART_SUBTOPIC, type ReadyCondition, readCondition } from './condition.ts';
import { Hierarchy } from './hierarchy.ts';
import { actionMatches, coverageBelow, covers, readObject, rootOf } from './pattern.ts';

const EFFECT = 4;
const CONDITION = 5;
/** So many are weighed at once as they are. */
const FEW = 16;

/** What of a request an answer depends on, and until when the clock lets it stand. */
export interface Relevance {
  /** False if all subtopics of the channel get the same answer. */
  readonly subtopic: boolean;
  /** Bits PART_*. */
  readonly parts: number;
}

/** Where an object lies.  @shape the group that it is in and those above it */
export interface Place {
  readonly groups: readonly string[];
}

interface ReadyRule {
  /** As Casbin takes it. */
  readonly values: string[];
  readonly group: string | null;
  readonly pattern: string;
  /** Once it has been read. */
  condition: ReadyCondition | null;
}
const conditionOf = (rule: ReadyRule): ReadyCondition => {
  rule.condition ??= readCondition(rule.values[CONDITION] as string);
  return rule.condition;
};

/** The rules of one subject in one organisation, ready to be judged by.
 *  A rule that is malformed or of another organisation is left out.
 *  @holds `candidates` gives every rule that may cover the object asked for, in the action asked for */
export class RuleSet {
  readonly org: string;
  readonly roles: Hierarchy;
  /** Rules that the directory gave, in its order: to tell whether it gives the same again. None if they were not kept. */
  readonly given: readonly PolicyRule[];
  readonly isEmpty: boolean;
  readonly #byRoot = new Map<string, ReadyRule[]>();
  readonly #anywhere: ReadyRule[] = [];

  constructor(given: readonly PolicyRule[], org: string, kept = true) {
    this.org = org;
    this.given = kept ? given : [];
    this.isEmpty = given.length === 0;
    this.roles = new Hierarchy(org);
    // Rules from a database repeat their texts, each time in memory of its own.
    const texts = new Map<string, string>();
    for (const rule of given) {
      if (rule.type === 'p') this.#add(rule, texts);
      else this.#link(rule);
    }
  }

  #link({ values: [child, parent, domain] }: PolicyRule): void {
    if (child !== undefined && parent !== undefined && domain === this.org) this.roles.link(child, parent);
  }

  #add(rule: PolicyRule, texts: Map<string, string>): void {
    const [subject, org, object, action, effect, condition = ''] = rule.values;
    if (subject === undefined || object === undefined || action === undefined || org !== this.org) return;
    if (effect !== 'allow' && effect !== 'deny') return;
    const { group, pattern } = readObject(object);
    const values = [subject, org, object, action, effect, condition].map((text) => shared(text, texts));
    const ready =
      group === null
        ? { values, group, pattern: values[2] as string, condition: null }
        : { values, group: shared(group, texts), pattern, condition: null };
    const root = rootOf(pattern);
    if (root === null) {
      this.#anywhere.push(ready);
      return;
    }
    const beside = this.#byRoot.get(root);
    if (beside === undefined) this.#byRoot.set(root, [ready]);
    else beside.push(ready);
  }

  /** A new array each time. */
  candidates(object: string, action: string, { groups }: Place): string[][] {
    return this.#concerning(object, action, groups).map(({ values }) => values);
  }

  /** Of the candidates, when they are many, one that allows and one that denies in these circumstances: as much as all of
   *  them say. Casbin weighs each rule in microseconds, and of a policy there may be thousands. */
  decisive(subject: string, object: string, action: string, circumstances: Circumstances): string[][] {
    const concerning = this.#concerning(object, action, circumstances.groups);
    if (concerning.length <= FEW) return concerning.map(({ values }) => values);
    const found = new Map<string, string[]>();
    for (const rule of concerning) {
      const effect = rule.values[EFFECT] as string;
      if (found.has(effect)) continue;
      const holder = rule.values[0] as string;
      if (!covers(object, rule.pattern, effect)) continue;
      if (holder !== subject && !this.roles.syncedHasLink(subject, holder, this.org)) continue;
      if (applies(conditionOf(rule), effect, circumstances)) found.set(effect, rule.values);
      if (found.size === 2) break;
    }
    return [...found.values()];
  }

  #concerning(object: string, action: string, groups: readonly string[]): ReadyRule[] {
    const concerns = ({ values, group }: ReadyRule): boolean =>
      (group === null || groups.includes(group)) && actionMatches(action, values[3] as string);
    const root = rootOf(object);
    const rooted = root === null ? undefined : this.#byRoot.get(root);
    const anywhere = this.#anywhere.filter(concerns);
    return rooted === undefined ? anywhere : [...rooted.filter(concerns), ...anywhere];
  }

  /** What the answers for a channel's messages depend on, while it lies in these groups. */
  relevance(channel: string, action: string, groups: readonly string[]): Relevance {
    const base = messagesObject(channel);
    let subtopic = false;
    let parts = 0;
    for (const rule of this.#concerning(base, action, groups)) {
      parts |= conditionOf(rule).parts;
      subtopic ||= coverageBelow(base, rule.pattern) === 'some';
    }
    return { subtopic: subtopic || (parts & PART_SUBTOPIC) !== 0, parts };
  }

  /** What the answers for an object of the control plane depend on: bits PART_*. */
  parts(object: string, action: string, groups: readonly string[]): number {
    let parts = 0;
    for (const rule of this.#concerning(object, action, groups)) parts |= conditionOf(rule).parts;
    return parts;
  }

  /** The stretch around a moment in which the clock changes no answer.  @shape [from, until) in ms since 1970 */
  stretch(
    object: string,
    action: string,
    groups: readonly string[],
    nowMs: number,
  ): readonly [fromMs: number, untilMs: number] {
    let from = Number.NEGATIVE_INFINITY;
    let until = Number.POSITIVE_INFINITY;
    for (const rule of this.#concerning(object, action, groups)) {
      const condition = conditionOf(rule);
      from = Math.max(from, condition.fromMs(nowMs));
      until = Math.min(until, condition.untilMs(nowMs));
    }
    return [from, until];
  }

  /** The rule as it was given.  @param values as `candidates` gave them */
  givenAs(values: readonly string[]): PolicyRule | null {
    const same = (rule: PolicyRule): boolean =>
      rule.type === 'p' && values.every((value, index) => (rule.values[index] ?? '') === value);
    return values.length === 0 ? null : (this.given.find(same) ?? null);
  }
}

function shared(text: string, texts: Map<string, string>): string {
  const known = texts.get(text);
  if (known !== undefined) return known;
  texts.set(text, text);
  return text;
}

/** Whether two sets of rules say the same, in the same order. */
export function sameRules(one: readonly PolicyRule[], other: readonly PolicyRule[]): boolean {
  if (one === other) return true;
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index++) {
    const a = one[index] as PolicyRule;
    const b = other[index] as PolicyRule;
    if (a.type !== b.type || a.values.length !== b.values.length) return false;
    for (let field = 0; field < a.values.length; field++) if (a.values[field] !== b.values[field]) return false;
  }
  return true;
}
