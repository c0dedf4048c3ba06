import { Random } from './random.ts';

/** A safeguard that is taken away, to see that the model tells. */
export const SABOTAGES = [
  'no intent',
  'intent after the insert',
  'no token',
  'no verify',
  'no verify of what is tried again',
  'no fencing',
  'no proof before an insert',
  'no waiting for late inserts',
  'parts told again',
  'what is there is never told again',
  'message_log first',
  'view without a window',
] as const;
export type Sabotage = (typeof SABOTAGES)[number];

/** @shape each kind leaves out what it does not promise: see the ADR
 *  zombies: an insert may come any time later, whoever owns the range by then.
 *  forgetful: the store's window holds a few inserts only.
 *  clumsy: workers fail on anything, twice in a row.
 *  shrinking: the log loses what nobody has read. */
export const KINDS = ['stormy', 'zombies', 'forgetful', 'clumsy', 'shrinking'] as const;
export type Kind = (typeof KINDS)[number];

/** What may go wrong in a schedule, and how often: all of it follows from the seed.
 *  @units probabilities: of each occasion; ticks: steps of the schedule */
export interface Scenario {
  readonly seed: number;
  readonly kind: Kind;
  readonly nodes: number;
  readonly partitions: number;
  readonly messages: number;
  readonly gaps: number;
  /** All leases end in a rebalance, or only of what moves. */
  readonly eager: boolean;
  /** Inserts that a table remembers. */
  readonly window: number;
  /** Faults of nodes, broker and store end then. */
  readonly calmFromTick: number;
  readonly faults: Readonly<Record<Fault, number>>;
  readonly chances: Readonly<Record<Chance, number>>;
}

/** What happens to a node, the group or the store, now and then. */
export const FAULTS = ['crash', 'pause', 'rebalance', 'drain', 'store killed', 'retention'] as const;
export type Fault = (typeof FAULTS)[number];

/** What happens at an occasion. */
export const CHANCES = [
  'append lost',
  'append unheard',
  'commit lost',
  'commit unheard',
  'insert lost',
  'insert unheard',
  'insert late',
  'insert twice',
  'impatience',
  'worker fails',
  'no worker',
  'culprit',
  'poison',
] as const;
export type Chance = (typeof CHANCES)[number];

/** A proof that is older is made again before an insert. @units ticks */
export const PROOF_TICKS = 60;
/** So late may an insert come after its proof, except of zombies. @units ticks */
export const LATE_TICKS_MAX = 400;
/** So long an heir waits before it splits. @units ticks */
export const SETTLING_TICKS = PROOF_TICKS + LATE_TICKS_MAX + 1;

export function scenarioOf(seed: number): Scenario {
  const random = new Random(Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995);
  const kind = KINDS[random.below(KINDS.length)] as Kind;
  const some = (max: number): number => (random.chance(0.5) ? random.next() * max : 0);
  const faults = {
    crash: some(0.03),
    pause: kind === 'forgetful' ? 0.02 + some(0.04) : some(0.04),
    rebalance: some(0.03),
    drain: some(0.01),
    'store killed': kind === 'forgetful' || kind === 'clumsy' ? 0 : some(0.03),
    retention: kind === 'shrinking' ? 0.005 + some(0.02) : 0,
  };
  const chances = {
    'append lost': some(0.1),
    'append unheard': some(0.1),
    'commit lost': some(0.2),
    'commit unheard': some(0.3),
    'insert lost': some(0.2),
    'insert unheard': some(0.3),
    'insert late': some(0.3),
    'insert twice': some(0.2),
    impatience: some(0.1),
    'worker fails': kind === 'clumsy' ? 0.1 + some(0.5) : some(0.02),
    'no worker': some(0.1),
    culprit: random.chance(0.3) ? random.next() * 0.2 : 0,
    poison: random.chance(0.3) ? random.next() * 0.1 : 0,
  };
  return {
    seed,
    kind,
    nodes: 2 + random.below(2),
    partitions: 1 + random.below(3),
    messages: kind === 'forgetful' ? 20 + random.below(30) : 4 + random.below(20),
    gaps: some(0.5),
    eager: random.chance(0.5),
    window: kind === 'forgetful' ? 6 + 2 * random.below(2) : 10_000,
    calmFromTick: 50 + random.below(kind === 'forgetful' ? 600 : 250),
    faults,
    chances,
  };
}
