import { setTimeout as sleep } from 'node:timers/promises';
import type { Millrace } from '../millrace.ts';
import type { ClusterWorld } from './world.ts';

const STEP_MS = 3_000;
const SAMPLE_MS = 250;

interface Slot {
  readonly node: Millrace;
  state: 'running' | 'leaving' | 'away';
  leaving: Promise<unknown>;
}

export interface Storm {
  readonly joined: number;
  readonly left: number;
  readonly killed: number;
  /** The longest time in which nothing new was stored.  @units ms */
  readonly stalledMsMax: number;
  /** Readings stored during the first and the second half. */
  readonly halves: readonly [number, number];
}

/** Every three seconds a processor joins or leaves, in order or by kill -9; at least one is always there.
 *  @returns once all are there again */
export async function storm(world: ClusterWorld, msMax: number, random: () => number): Promise<Storm> {
  const slots: Slot[] = [...world.processors, await world.newProcessor()].map((node) => ({
    node,
    state: node.pid === 0 ? 'away' : 'running',
    leaving: Promise.resolve(),
  }));
  for (const { node } of slots) if (!world.processors.includes(node)) world.processors.push(node);
  const counts = { joined: 0, left: 0, killed: 0 };
  const leave = (slot: Slot, signal: 'SIGTERM' | 'SIGKILL'): void => {
    counts[signal === 'SIGTERM' ? 'left' : 'killed']++;
    slot.state = 'leaving';
    slot.leaving = slot.node.end(signal).finally(() => {
      slot.state = 'away';
    });
  };
  const join = (slot: Slot): void => {
    counts.joined++;
    slot.state = 'running';
    slot.node.launch();
  };

  const stored = new Watch(world);
  const begin = performance.now();
  const first = await stored.sample();
  let middle = first;
  for (let step = 1; performance.now() - begin < msMax; step++) {
    const running = slots.filter(({ state }) => state === 'running');
    const away = slots.filter(({ state }) => state === 'away');
    const one = (of: readonly Slot[]): Slot => of[Math.floor(random() * of.length)] as Slot;
    if (running.length > 1 && (away.length === 0 || random() < 0.5))
      leave(one(running), random() < 0.5 ? 'SIGTERM' : 'SIGKILL');
    else if (away.length > 0) join(one(away));
    while (performance.now() - begin < step * STEP_MS) {
      const count = await stored.sample();
      if (performance.now() - begin < msMax / 2) middle = count;
      await sleep(SAMPLE_MS);
    }
  }
  const last = await stored.sample();
  await Promise.all(slots.map(({ leaving }) => leaving));
  for (const slot of slots) if (slot.state === 'away') slot.node.launch();
  await Promise.all(slots.map(({ node }) => node.ready()));
  return { ...counts, stalledMsMax: stored.stalledMsMax, halves: [middle - first, last - middle] };
}

/** How many readings there are, and how long there was nothing new. */
class Watch {
  stalledMsMax = 0;
  readonly #world: ClusterWorld;
  #count = 0;
  #since = performance.now();

  constructor(world: ClusterWorld) {
    this.#world = world;
  }

  async sample(): Promise<number> {
    const count = await this.#world.storedCount();
    const now = performance.now();
    this.stalledMsMax = Math.max(this.stalledMsMax, now - this.#since);
    if (count > this.#count) {
      this.#count = count;
      this.#since = now;
    }
    return count;
  }
}
