import type { Admission, Credential, Principal, RequestContext } from '@millrace/core';
import { messagesObject } from '@millrace/core';
import { expect, test } from 'vitest';
import { createCredentials } from './credentials.ts';
import { createGate, type StoppableGate } from './gate.ts';
import { createSealer } from './sealer.ts';
import { above, definitionAllows, recordOf, whereIs } from './testing/definition.ts';
import { Choice, RandomWorlds } from './testing/random-world.ts';
import type { Asker, Question, World } from './testing/world.ts';
import { WorldDirectory } from './testing/world-directory.ts';

const secret = new Uint8Array(32).fill(3);
const credentials = createCredentials({ secret });
/** Another by MILLRACE_TEST_SEED. */
const SEED = 20_260_105;
const CASES = 100_000;
const CASES_PER_WORLD = 400;
const CASES_PER_CHANGE = 40;
const ASKED_AGAIN = 0.6;
/** Of so many cases one is explained too. */
const EXPLAINED_EVERY = 7;

const credentialOf = (world: World, { id, key }: Asker): Credential => {
  if (key !== null) return { kind: 'bearer', token: key };
  return world.things.some((each) => each.id === id) ? { kind: 'key', key: id } : { kind: 'subject', id };
};

/** One world with a gate before it, which is asked what the definition is asked. */
class Trial {
  readonly world: World;
  readonly gate: StoppableGate;
  readonly directory: WorldDirectory;
  #principals = new Map<string, Principal>();

  constructor(world: World) {
    this.world = world;
    this.directory = new WorldDirectory(world, credentials.digest);
    this.gate = createGate({ directory: this.directory, credentials, sealer: createSealer(secret) });
  }

  async identify(asker: Asker): Promise<Principal | null> {
    const name = asker.key ?? asker.id;
    const kept = this.#principals.get(name);
    // As a session does: it goes on until it is told that it is over.
    if (kept !== undefined && !kept.revoked) return kept;
    const identified = await this.gate.identify(credentialOf(this.world, asker));
    if (identified.kind === 'refused') return null;
    this.#principals.set(name, identified.principal);
    return identified.principal;
  }

  async allows(asker: Asker, question: Question, context: RequestContext): Promise<boolean> {
    const principal = await this.identify(asker);
    if (principal === null) return false;
    if (question.kind === 'control') {
      const { org, object, action } = question;
      return this.gate.allows(principal, org, object, action, context, whereIs(this.world, object));
    }
    const { action, channel, subtopic } = question;
    const admission: Admission = await this.gate.may(principal, action, channel, subtopic, context);
    return admission.kind === 'allow';
  }

  /** null: who asks is not known, or there is nothing to ask about. */
  async explained(asker: Asker, question: Question, context: RequestContext): Promise<boolean | null> {
    const { world } = this;
    const who = [...world.things, ...world.users].find(({ id }) => id === asker.id);
    const key = world.keys.find(({ id }) => id === asker.key);
    if (who === undefined || key?.revoked) return null;
    const base = { subject: recordOf(who), scope: key ?? null, action: question.action, context };
    if (question.kind === 'control') {
      const { org, object } = question;
      return (await this.gate.explain({ ...base, org, object, groups: whereIs(world, object) })).allowed;
    }
    const channel = world.channels.find(({ id }) => id === question.channel);
    if (channel === undefined || !channel.enabled) return null;
    const object = messagesObject(channel.id, question.subtopic);
    const groups = above(world, channel.group);
    return (await this.gate.explain({ ...base, org: channel.org, object, groups })).allowed;
  }

  orgOf(question: Question): string | undefined {
    if (question.kind === 'control') return question.org;
    return this.world.channels.find(({ id }) => id === question.channel)?.org;
  }

  /** Whether who asks has anything to do with an organisation. */
  belongs({ id, key }: Asker, org: string): boolean {
    const held = this.world.keys.find((each) => each.id === key);
    if (held !== undefined && held.org !== null && held.org !== org) return false;
    const user = this.world.users.find((each) => each.id === id);
    if (user !== undefined) return user.admin || user.roles.some((each) => each.org === org);
    return this.world.things.some((each) => each.id === id && each.org === org);
  }
}

test('the gate says what the definition of the policy says, in 100,000 cases of random worlds that change', {
  timeout: 300_000,
}, async () => {
  const seed = Number(process.env.MILLRACE_TEST_SEED ?? SEED);
  const choice = new Choice(seed);
  const random = new RandomWorlds(choice);
  const counts = { allowed: 0, explained: 0, scoped: 0, control: 0, foreign: 0 };
  for (let worlds = 0; worlds < CASES / CASES_PER_WORLD; worlds++) {
    const trial = new Trial(random.world());
    let changed = 'nothing yet';
    const asked: { asker: Asker; question: Question; context: RequestContext }[] = [];
    for (let index = 0; index < CASES_PER_WORLD; index++) {
      if (index % CASES_PER_CHANGE === CASES_PER_CHANGE - 1) {
        changed = random.change(trial.world);
        trial.directory.sync();
      }
      // Often what was asked before: only so a memo that outlived a change is seen.
      const again = asked.length > 0 && choice.chance(ASKED_AGAIN);
      const once = again ? choice.of(asked) : random.asked(trial.world);
      asked.push(once);
      const { asker, question, context } = once;
      const wanted = definitionAllows(trial.world, asker, question, context);
      const cold = await trial.allows(asker, question, context);
      const warm = await trial.allows(asker, question, context);
      const explained = index % EXPLAINED_EVERY === 0 ? await trial.explained(asker, question, context) : null;
      if (cold !== wanted || warm !== wanted || (explained !== null && explained !== wanted)) {
        const told = JSON.stringify({ asker, question, context, changed, world: trial.world });
        throw new Error(`seed ${seed}: wanted ${wanted}, got ${cold}, ${warm}, explained ${explained}: ${told}`);
      }
      const org = trial.orgOf(question);
      const foreign = org !== undefined && !trial.belongs(asker, org);
      if (foreign && cold) throw new Error(`seed ${seed}: ${JSON.stringify({ asker, question })} is let in elsewhere`);
      if (wanted) counts.allowed++;
      if (explained !== null) counts.explained++;
      if (asker.key !== null) counts.scoped++;
      if (question.kind === 'control') counts.control++;
      if (foreign) counts.foreign++;
    }
    trial.gate.stop();
  }
  // Every kind must have been common, or nothing was compared.
  expect(counts.allowed, `seed ${seed}`).toBeGreaterThan(CASES / 10);
  expect(counts.allowed, `seed ${seed}`).toBeLessThan(CASES / 2);
  expect(counts.explained).toBeGreaterThan(CASES / 20);
  expect(counts.scoped).toBeGreaterThan(CASES / 10);
  expect(counts.control).toBeGreaterThan(CASES / 10);
  expect(counts.foreign).toBeGreaterThan(CASES / 10);
});
