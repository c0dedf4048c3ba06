import { type Credential, type Credentials, type Principal, Protocol, type RequestContext } from '@millrace/core';
import { createCredentials, createGate, createSealer, type StoppableGate } from '@millrace/policy';
import { BenchError } from '../errors.ts';
import type { FigureCollector } from '../figures.ts';
import type { GateBenchOptions } from './options.ts';
import { channelOf, nameOf, StandInDirectory } from './stand-in.ts';

const SECRET = Buffer.alloc(32, 5);
const RATE = '1/s';
const SUBTOPICS = ['room/1', 'room/2', 'p1/door', 'q7'];

/** Opens a gate before a registry that answers at once. */
export function openStandIn(credentialsMax: number): {
  readonly gate: StoppableGate;
  readonly credentials: Credentials;
} {
  const credentials = createCredentials({ secret: SECRET });
  const limits = { credentialsMax, answersMax: 10_000_000 };
  const sealer = createSealer(SECRET);
  return { gate: createGate({ directory: new StandInDirectory(), credentials, sealer, limits }), credentials };
}

export async function principalOf(gate: StoppableGate, credential: Credential): Promise<Principal> {
  const identified = await gate.identify(credential);
  if (identified.kind === 'refused') throw new BenchError('SETUP_FAILED', 'never', { problem: identified.reason });
  return identified.principal;
}

/** A thing that is decided about again and again. */
interface Case {
  readonly name: string;
  /** @returns whether it was allowed: all are */
  readonly decide: (index: number) => boolean;
}

/** Warm decisions a second on the one thread that there is, beside a look-up in a bare map by the same keys. */
export async function measureWarm(
  options: GateBenchOptions,
  figures: FigureCollector,
  progress: (line: string) => void,
): Promise<void> {
  const { gate } = openStandIn(100_000);
  try {
    const cases = await prepare(gate, options.warmPrincipals);
    for (const { decide } of cases) run(decide, options.warmCount / 10);
    for (let round = 1; round <= options.rounds; round++) {
      for (const { name, decide } of cases) {
        options.signal?.throwIfAborted();
        const start = performance.now();
        const allowed = run(decide, options.warmCount);
        const seconds = (performance.now() - start) / 1_000;
        if (allowed !== options.warmCount) {
          throw new BenchError('SETUP_FAILED', 'never', { problem: `${name}: ${allowed} of ${options.warmCount}` });
        }
        figures.add(name, RATE, options.warmCount / seconds);
      }
      progress(`warm, round ${round} of ${options.rounds}`);
      // So that a signal is heard.
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    gate.stop();
  }
}

function run(decide: (index: number) => boolean, count: number): number {
  let allowed = 0;
  for (let index = 0; index < count; index++) if (decide(index)) allowed++;
  return allowed;
}

async function prepare(gate: StoppableGate, count: number): Promise<Case[]> {
  const context: RequestContext = {
    protocol: Protocol.mqtt,
    remoteAddress: '192.0.2.7',
    tls: true,
    mutualTls: false,
    nowMs: Date.now(),
  };
  const numbers = Array.from({ length: count }, (_, index) => index);
  const all = (credential: (index: number) => Credential): Promise<Principal[]> =>
    Promise.all(numbers.map((index) => principalOf(gate, credential(index))));
  const plain = await all((index) => ({ kind: 'subject', id: nameOf('plain', index) }));
  const conditioned = await all((index) => ({ kind: 'subject', id: nameOf('conditioned', index) }));
  const users = await all((index) => ({ kind: 'subject', id: nameOf('user', index) }));
  const scoped = await all((index) => ({ kind: 'bearer', token: `key-${index}` }));
  const channels = numbers.map(channelOf);
  const objects = numbers.map((index) => `things/${channelOf(index)}`);
  const groups = ['house', 'floor'];
  const at = <T>(list: readonly T[], index: number): T => list[index % count] as T;
  const publish = (principals: readonly Principal[]) => (index: number) => {
    const answer = gate.may(
      at(principals, index),
      'publish',
      at(channels, index),
      SUBTOPICS[index & 3] as string,
      context,
    );
    return !(answer instanceof Promise) && answer.kind === 'allow';
  };
  const control = (principals: readonly Principal[]) => (index: number) =>
    gate.allows(at(principals, index), 'org-1', at(objects, index), 'things.read', context, groups) === true;
  const bare = numbers.map((index) => new Map([[channelOf(index), { value: { kind: 'allow' } }]]));
  const cases: Case[] = [
    { name: 'floor/map/lookups_per_second', decide: (index) => at(bare, index).get(at(channels, index)) !== undefined },
    { name: 'warm/thing-publish/decisions_per_second', decide: publish(plain) },
    { name: 'warm/thing-publish-subtopic-address/decisions_per_second', decide: publish(conditioned) },
    { name: 'warm/key-publish/decisions_per_second', decide: publish(scoped) },
    { name: 'warm/user-control/decisions_per_second', decide: control(users) },
    { name: 'warm/key-control/decisions_per_second', decide: control(scoped) },
  ];
  // The first time each answer is a promise.
  const settle = async (principals: readonly Principal[], index: number): Promise<void> => {
    for (const subtopic of SUBTOPICS) {
      await gate.may(at(principals, index), 'publish', at(channels, index), subtopic, context);
    }
  };
  for (const index of numbers) {
    await Promise.all([plain, conditioned, scoped].map((principals) => settle(principals, index)));
    for (const principals of [users, scoped]) {
      await gate.allows(at(principals, index), 'org-1', at(objects, index), 'things.read', context, groups);
    }
  }
  return cases;
}
