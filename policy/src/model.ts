import { Enforcer, FunctionMap, type Model, newModelFromString } from 'casbin';
import { applies, type Circumstances, readCondition } from './condition.ts';
import { actionMatches, covers, readObject } from './pattern.ts';
import type { RuleSet } from './rule-set.ts';

/** The one policy of the platform, in Casbin's terms.
 *  @shape p_eft: allow | deny; p_cond: JSON of a Condition, "" for none; r_ctx: Circumstances, the object's groups among
 *         them */
export const MODEL = `
[request_definition]
r = sub, org, obj, act, ctx

[policy_definition]
p = sub, org, obj, act, eft, cond

[role_definition]
g = _, _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = r.org == p.org && actionMatches(r.act, p.act) && g(r.sub, p.sub, r.org) && covered(r.obj, p.obj, p.eft, r.ctx) && conditionHolds(p.cond, p.eft, r.ctx)
`;

export type Verdict = 'allow' | 'not_allowed' | 'denied_by_policy';

/** Judges one request by a subject's own rules.
 *  One Casbin enforcer serves all subjects of a thread: setting a subject's rules is three assignments, where an
 *  enforcer of its own costs 20 µs to make and tens of kB to keep. Nothing here waits, so no two judgements mix. */
export class Judge extends Enforcer {
  readonly #rules: { policy: string[][] };
  readonly #roles: { rm: unknown };

  constructor() {
    super();
    const model = newModelFromString(MODEL);
    const functions = new FunctionMap();
    functions.addFunction('covered', covered);
    functions.addFunction('actionMatches', actionMatches);
    functions.addFunction('conditionHolds', conditionHolds);
    this.fm = functions;
    this.setModel(model);
    this.#rules = assertion(model, 'p', 'p');
    this.#roles = assertion(model, 'g', 'g');
  }

  judge(rules: RuleSet, subject: string, object: string, action: string, circumstances: Circumstances): Verdict {
    const candidates = rules.decisive(subject, object, action, circumstances);
    return this.#verdict(rules, subject, object, action, circumstances, candidates).verdict;
  }

  /** The same, with the rule that decided: the one that denies, or the first that allows.
   *  @shape because: a rule's values, empty where none decided */
  explain(
    rules: RuleSet,
    subject: string,
    object: string,
    action: string,
    circumstances: Circumstances,
  ): { readonly verdict: Verdict; readonly because: readonly string[] } {
    // Casbin tells the last rule that allows: from the end, that is the first.
    const candidates = rules.candidates(object, action, circumstances).reverse();
    return this.#verdict(rules, subject, object, action, circumstances, candidates);
  }

  #verdict(
    rules: RuleSet,
    subject: string,
    object: string,
    action: string,
    circumstances: Circumstances,
    candidates: string[][],
  ): { readonly verdict: Verdict; readonly because: readonly string[] } {
    // Casbin judges an empty policy by the matcher alone.
    if (candidates.length === 0) return { verdict: 'not_allowed', because: [] };
    this.#rules.policy = candidates;
    this.#roles.rm = rules.roles;
    const [allowed, because] = this.enforceExSync(subject, rules.org, object, action, circumstances);
    if (allowed) return { verdict: 'allow', because };
    return { verdict: because[4] === 'deny' ? 'denied_by_policy' : 'not_allowed', because };
  }
}

const covered = (object: string, pattern: string, effect: string, { groups }: Circumstances): boolean => {
  const rule = readObject(pattern);
  return (rule.group === null || groups.includes(rule.group)) && covers(object, rule.pattern, effect);
};

const conditionHolds = (condition: string, effect: string, circumstances: Circumstances): boolean =>
  applies(readCondition(condition), effect, circumstances);

function assertion(model: Model, section: string, name: string) {
  const found = model.model.get(section)?.get(name);
  if (found === undefined) throw new TypeError(`model without ${name}`);
  return found;
}
