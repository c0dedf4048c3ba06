import {
  type Enforcer,
  messagesObject,
  type PolicyRule,
  type Protocol,
  protocolNames,
  type RequestContext,
} from '@millrace/core';
import { Answers } from './answers.ts';
import { Generations } from './generations.ts';
import { Judge } from './model.ts';
import { RuleSet, sameRules } from './rule-set.ts';

export { createSealer } from './sealer.ts';

/** Subjects whose rules are kept ready, and channels whose answers are kept for each. */
const SUBJECT_COUNT_MAX = 4_096;
const CHANNEL_COUNT_MAX = 1_024;

interface Ready {
  readonly rules: RuleSet;
  readonly channels: Generations<string, Answers<boolean>>;
}

/** The enforcer of a worker: the same model and rules as the gate, with what a worker can know.
 *  A condition on an address, TLS or metadata is unknown here, so an allow that bears it does not apply and a deny does.
 *  @holds answers are kept as long as the rules that come with the question are the same */
export function createEnforcer(): Enforcer {
  const judge = new Judge();
  const subjects = new Generations<string, Ready>(SUBJECT_COUNT_MAX);
  // What is not known is the same for every question, so only protocol and time keep answers apart.
  const context = { protocol: 0 as Protocol, remoteAddress: '', tls: false, mutualTls: false, nowMs: 0 };
  return {
    mayPublish(subject, org, channel, groups, subtopic, protocol, nowMs, given) {
      const ready = readyRules(subjects, subject, org, given);
      context.protocol = protocol;
      context.nowMs = nowMs;
      // No id holds a line break.
      const place = groups.length === 0 ? channel : `${groups.join()}\n${channel}`;
      let answers = ready.channels.get(place);
      if (answers === undefined) {
        answers = new Answers(ready.rules.relevance(channel, 'publish', groups));
        ready.channels.set(place, answers);
      }
      const kept = answers.find(subtopic, context satisfies RequestContext);
      if (kept !== undefined) return kept;
      const object = messagesObject(channel, subtopic);
      const allowed =
        judge.judge(ready.rules, subject, object, 'publish', {
          protocol: protocolNames[protocol] ?? 'unknown',
          remoteAddress: null,
          tls: null,
          mutualTls: null,
          nowMs,
          metadata: null,
          subtopic,
          groups,
        }) === 'allow';
      const [fromMs, untilMs] = ready.rules.stretch(object, 'publish', groups, nowMs);
      answers.keep(subtopic, context, { value: allowed, fromMs, untilMs });
      return allowed;
    },
  };
}

function readyRules(
  subjects: Generations<string, Ready>,
  subject: string,
  org: string,
  given: readonly PolicyRule[],
): Ready {
  // Length first: who writes to the log by himself chooses both texts.
  const key = `${org.length}\n${org}${subject}`;
  const kept = subjects.get(key);
  if (kept !== undefined && sameRules(kept.rules.given, given)) return kept;
  const ready: Ready = { rules: new RuleSet(given, org), channels: new Generations(CHANNEL_COUNT_MAX) };
  subjects.set(key, ready);
  return ready;
}
