import { messagesObject, type PolicyRule } from '@millrace/core';
import { readCondition } from './condition.ts';
import { Hierarchy } from './hierarchy.ts';
import { actionMatches, coverageBelow, rootOf } from './pattern.ts';
import { builtInRole, roleRules } from './roles.ts';

/** What of a request an answer depends on, and until when the clock lets it stand. */
export interface Relevance {
  /** False if all subtopics of the channel get the same answer. */
  readonly subtopic: boolean;
  /** Bits PART_*. */
  readonly parts: number;
}

/** The rules of one subject in one organisation, with those of its built-in roles, ready to be judged by.
 *  A rule that is malformed or of another organisation is left out.
 *  @holds `candidates` gives every rule whose object may cover the object asked for */
export class RuleSet {
  readonly org: string;
  readonly roles: Hierarchy;
  readonly groups: Hierarchy;
  /** Rules that the directory gave, in its order: to tell whether it gives the same again. */
  readonly given: readonly PolicyRule[];
  readonly #byRoot = new Map<string, string[][]>();
  readonly #anywhere: string[][] = [];

  constructor(given: readonly PolicyRule[], org: string) {
    this.org = org;
    this.given = given;
    this.roles = new Hierarchy(org, 'names');
    this.groups = new Hierarchy(org, 'patterns');
    const builtIn = new Set<string>();
    for (const { type, values } of given) {
      const [child, parent, domain] = values;
      if (type === 'p' || child === undefined || parent === undefined || domain !== org) continue;
      if (type === 'g2') {
        this.groups.link(child, parent);
      } else {
        this.roles.link(child, parent);
        builtIn.add(parent);
      }
    }
    for (const rule of given) if (rule.type === 'p') this.#add(rule);
    for (const parent of builtIn) {
      const role = builtInRole(parent);
      if (role !== undefined) for (const rule of roleRules(role, org)) this.#add(rule);
    }
    for (const rules of this.#byRoot.values()) rules.push(...this.#anywhere);
  }

  #add(rule: PolicyRule): void {
    const [subject, org, object, action, effect, condition = ''] = rule.values;
    if (subject === undefined || object === undefined || action === undefined || org !== this.org) return;
    if (effect !== 'allow' && effect !== 'deny') return;
    const values = [subject, org, object, action, effect, condition];
    const root = this.groups.size > 0 && this.groups.hasParent(object) ? null : rootOf(object);
    if (root === null) {
      this.#anywhere.push(values);
      return;
    }
    const beside = this.#byRoot.get(root);
    if (beside === undefined) this.#byRoot.set(root, [values]);
    else beside.push(values);
  }

  candidates(object: string): string[][] {
    const root = rootOf(object);
    return (root === null ? undefined : this.#byRoot.get(root)) ?? this.#anywhere;
  }

  /** What the answers for a channel's messages depend on. */
  relevance(channel: string, action: string): Relevance {
    const base = messagesObject(channel);
    let subtopic = false;
    let parts = 0;
    let grouped = false;
    for (const [, , object = '', pattern = '', , condition = ''] of this.candidates(base)) {
      if (!actionMatches(action, pattern)) continue;
      parts |= readCondition(condition).parts;
      subtopic ||= coverageBelow(base, object) === 'some';
      grouped ||= this.groups.size > 0 && this.groups.hasParent(object);
    }
    if (grouped && !subtopic) {
      for (const child of this.groups.children()) subtopic ||= coverageBelow(base, child) === 'some';
    }
    return { subtopic, parts };
  }

  /** What the answers for an object of the control plane depend on: bits PART_*. */
  parts(object: string, action: string): number {
    let parts = 0;
    for (const [, , , pattern = '', , condition = ''] of this.candidates(object)) {
      if (actionMatches(action, pattern)) parts |= readCondition(condition).parts;
    }
    return parts;
  }

  /** The stretch around a moment in which the clock changes no answer.  @shape [from, until) in ms since 1970 */
  stretch(object: string, action: string, nowMs: number): readonly [fromMs: number, untilMs: number] {
    let from = Number.NEGATIVE_INFINITY;
    let until = Number.POSITIVE_INFINITY;
    for (const [, , , pattern = '', , text = ''] of this.candidates(object)) {
      if (text === '' || !actionMatches(action, pattern)) continue;
      const condition = readCondition(text);
      from = Math.max(from, condition.fromMs(nowMs));
      until = Math.min(until, condition.untilMs(nowMs));
    }
    return [from, until];
  }
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
