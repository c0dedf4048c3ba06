import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import {
  createLogger,
  createMetrics,
  type Principal,
  Protocol,
  type RequestContext,
  type Started,
} from '@millrace/core';
import { createCredentials, createGate, createSealer, generateSigningKey, type StoppableGate } from '@millrace/policy';
import { embeddedPostgres, openRegistry, type Registry } from '@millrace/registry';
import { workDirectory } from '../directory.ts';
import { BenchError } from '../errors.ts';
import type { FigureCollector } from '../figures.ts';
import type { GateBenchOptions } from './options.ts';
import { giveKeys, idOf, OF_ORG, populate } from './population.ts';

const SECRET = Buffer.alloc(32, 5);
/** Before the figures count: connections open, plans and pages are there. */
const WARM_UP_COUNT = 100;
const UNIT = 'ms';

export const context: RequestContext = {
  protocol: Protocol.mqtt,
  remoteAddress: '10.1.2.3',
  tls: true,
  mutualTls: false,
  nowMs: Date.now(),
};

/** Decisions about principals that the node has not seen, one after the other, with all policies in a real database. */
export async function measureCold(
  options: GateBenchOptions,
  figures: FigureCollector,
  progress: (line: string) => void,
): Promise<void> {
  const work = await workDirectory();
  const logger = createLogger({ level: 'silent' });
  const stack: Started<unknown>[] = [];
  try {
    await chmod(work.path, 0o711);
    progress('starting PostgreSQL');
    const postgres = await embeddedPostgres({ directory: join(work.path, 'postgres'), logger }).start();
    stack.push(postgres);
    const { url } = postgres.value;
    const credentials = createCredentials({ secret: SECRET });
    const open = async (): Promise<Started<Registry>> => {
      const registry = await openRegistry({
        url,
        credentials: {
          create: (signingKeys) => createCredentials({ secret: SECRET, signingKeys }),
          generateSigningKey,
        },
        metrics: createMetrics(),
        logger,
        admin: { email: 'admin@example.org', password: 'a good password' },
        directory: work.path,
      }).start();
      stack.push(registry);
      return registry;
    };
    const { directory } = (await open()).value;
    options.signal?.throwIfAborted();
    const orgs = await populate(url, options.policies, progress, options.signal);
    const chosen = choose(orgs, options.coldCount + WARM_UP_COUNT);
    const keyed = chosen.map((each) => ({ ...each, secret: credentials.newKey() }));
    await giveKeys(
      url,
      keyed.map(({ thing, secret }) => ({ id: thing, digest: credentials.digest(secret) })),
      unique(keyed.map(({ user, org, secret }) => ({ id: user, org, digest: credentials.digest(`key ${secret}`) }))),
    );
    options.signal?.throwIfAborted();
    const gate = createGate({ directory, credentials, sealer: createSealer(SECRET) });
    try {
      await measure(gate, keyed, figures, progress);
    } finally {
      gate.stop();
    }
    const sizes = await Promise.all(chosen.slice(0, 50).map(({ thing, org }) => directory.rules(thing, org)));
    figures.add('cold/thing/rules', 'rules', sizes.reduce((sum, rules) => sum + rules.length, 0) / sizes.length);
    const ofUsers = await Promise.all(chosen.slice(0, 50).map(({ user, org }) => directory.rules(user, org)));
    figures.add('cold/user/rules', 'rules', ofUsers.reduce((sum, rules) => sum + rules.length, 0) / ofUsers.length);
  } finally {
    for (const started of stack.reverse()) await started.stop();
    await work.remove();
  }
}

interface Chosen {
  readonly org: string;
  readonly thing: string;
  readonly user: string;
  readonly channel: string;
}

/** Spread over the organisations, so that no two share pages more than chance has it. */
function choose(orgs: number, count: number): Chosen[] {
  return Array.from({ length: count }, (_, index) => {
    const org = (index * 617) % orgs;
    const nth = Math.floor(index / orgs) + index;
    return {
      org: idOf('org', org),
      thing: idOf('thing', org * OF_ORG.things + (nth % OF_ORG.things)),
      user: idOf('user', org * OF_ORG.users + (nth % OF_ORG.users)),
      channel: idOf('channel', org * OF_ORG.channels + (nth % OF_ORG.channels)),
    };
  });
}

function unique<T extends { readonly id: string }>(all: readonly T[]): T[] {
  return [...new Map(all.map((each) => [each.id, each])).values()];
}

async function measure(
  gate: StoppableGate,
  chosen: readonly (Chosen & { readonly secret: string })[],
  figures: FigureCollector,
  progress: (line: string) => void,
): Promise<void> {
  const known = async (id: string): Promise<Principal> => {
    const identified = await gate.identify({ kind: 'subject', id });
    if (identified.kind === 'refused') throw new BenchError('SETUP_FAILED', 'never', { problem: `unknown ${id}` });
    return identified.principal;
  };
  const timed = async (name: string, work: (each: (typeof chosen)[number], index: number) => unknown) => {
    const took: number[] = [];
    for (const [index, each] of chosen.entries()) {
      const start = performance.now();
      const result = work(each, index);
      // Only what had to ask: a principal that came before in another row is warm.
      const asked = result instanceof Promise;
      await result;
      if (asked && index >= WARM_UP_COUNT) took.push(performance.now() - start);
    }
    if (took.length === 0) throw new BenchError('SETUP_FAILED', 'never', { problem: `nothing of ${name} was cold` });
    took.sort((a, b) => a - b);
    figures.add(`cold/${name}/p50`, UNIT, took[Math.floor(took.length * 0.5)] ?? Number.NaN);
    figures.add(`cold/${name}/p99`, UNIT, took[Math.floor(took.length * 0.99)] ?? Number.NaN);
    progress(
      `cold, ${name}: p50 ${(took[Math.floor(took.length * 0.5)] ?? Number.NaN).toFixed(2)} ms of ${took.length}`,
    );
  };
  await timed('identify-key', ({ secret }) => gate.identify({ kind: 'key', key: secret }));
  const things = await principals(chosen, ({ thing }) => known(thing));
  await timed('thing', ({ channel }, index) =>
    gate.may(things[index] as Principal, 'publish', channel, 'room/1', context),
  );
  const users = await principals(chosen, ({ user }) => known(user));
  await timed('user', ({ org, thing }, index) =>
    gate.allows(users[index] as Principal, org, `things/${thing}`, 'things.read', context),
  );
}

async function principals<T>(all: readonly T[], find: (each: T) => Promise<Principal>): Promise<Principal[]> {
  const found: Principal[] = [];
  for (const each of all) found.push(await find(each));
  return found;
}
