import { ModelLane } from './lane.ts';
import type { ModelPartition } from './log.ts';
import { FAULTS, type Fault, type Sabotage, type Scenario, scenarioOf } from './scenario.ts';
import { Violation } from './store.ts';
import { type Flight, World } from './world.ts';

const STEPS_MAX = 60_000;

interface ModelNode {
  /** It does nothing before: it is down, or stopped. @units ticks */
  asleepUntil: number;
  crashed: boolean;
}

/** What may happen next. @shape kind × 1,000 + index */
const [FLIGHT, HAND, AHEAD, NOTICE, BEGIN, ASSIGN, PRODUCE] = [0, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000] as const;

/** One schedule: at each step one thing happens of all that may, and which one is the seed's. */
class Schedule {
  readonly #world: World;
  readonly #scenario: Scenario;
  readonly #nodes: ModelNode[];
  #lanes: ModelLane[] = [];
  readonly #next: number[] = [];
  #nextCount = 0;

  constructor(scenario: Scenario, sabotage: Sabotage | null, tell?: (line: string) => void) {
    this.#scenario = scenario;
    this.#world = new World(scenario, sabotage, tell);
    this.#nodes = Array.from({ length: scenario.nodes }, () => ({ asleepUntil: 0, crashed: false }));
  }

  /** @throws Violation */
  run(): void {
    const world = this.#world;
    for (let steps = 0; ; steps++) {
      if (steps > STEPS_MAX) throw new Violation('it does not come to an end');
      world.tick++;
      if (!world.calm && world.tick > this.#scenario.calmFromTick && world.allSent) this.#calm();
      if (!world.calm) this.#fault();
      this.#gather();
      if (this.#nextCount > 0) this.#happen(this.#next[world.random.below(this.#nextCount)] as number);
      else if (!this.#sleep()) break;
    }
    world.checkEnd();
  }

  /** No more faults: what sleeps wakes up, what is late still comes. */
  #calm(): void {
    this.#world.calm = true;
    this.#world.draining.clear();
    for (const node of this.#nodes) node.asleepUntil = 0;
    this.#world.tell?.('no more faults');
  }

  #fault(): void {
    const { random, draining } = this.#world;
    for (let index = 0; index < FAULTS.length; index++) {
      const fault = FAULTS[index] as Fault;
      if (!random.chance(this.#scenario.faults[fault])) continue;
      const node = random.below(this.#nodes.length);
      const state = this.#nodes[node] as ModelNode;
      this.#world.tell?.(`! ${fault}${index < 2 || fault === 'drain' ? ` of node ${node}` : ''}`);
      if (fault === 'crash') this.#crash(node, state);
      else if (fault === 'pause') this.#pause(state);
      else if (fault === 'rebalance') this.#assign(null);
      else if (fault === 'drain') draining.add(node);
      else if (fault === 'store killed') this.#world.killStore();
      else this.#world.shrink();
    }
  }

  #crash(node: number, state: ModelNode): void {
    state.crashed = true;
    state.asleepUntil = this.#world.tick + this.#world.random.below(80);
    this.#world.draining.delete(node);
    for (const lane of this.#lanes) if (lane.node === node) lane.lost('crashes');
    this.#lanes = this.#lanes.filter((lane) => !lane.over);
    for (const partition of this.#world.partitions) if (partition.owner === node) partition.owner = -1;
  }

  /** Stopped for a while; others take over, or not, and it wakes up and goes on. */
  #pause(state: ModelNode): void {
    const { random, tick } = this.#world;
    state.asleepUntil = Math.max(state.asleepUntil, tick + random.below(random.chance(0.3) ? 1_000 : 100));
    if (random.chance(0.7)) this.#assign(state);
  }

  /** The group deals out its partitions, to whoever is not known to be away. */
  #assign(away: ModelNode | null): void {
    const { random, partitions, draining } = this.#world;
    const able = this.#nodes
      .map((_, index) => index)
      .filter((index) => {
        const node = this.#nodes[index] as ModelNode;
        return !node.crashed && node !== away && !draining.has(index);
      });
    if (able.length === 0) return;
    for (const partition of partitions) {
      const owner = able[random.below(able.length)] as number;
      if (owner === partition.owner && !this.#scenario.eager) continue;
      partition.owner = owner;
      partition.epoch++;
      partition.granted = true;
      this.#world.tell?.(`group: partition ${partition.index} goes to node ${owner}, generation ${partition.epoch}`);
    }
  }

  #awake(node: number): boolean {
    const state = this.#nodes[node] as ModelNode;
    if (this.#world.tick < state.asleepUntil) return false;
    if (state.crashed) state.crashed = false;
    return true;
  }

  #gather(): void {
    const { flights, tick, partitions, allSent } = this.#world;
    this.#nextCount = 0;
    for (let index = 0; index < this.#nodes.length; index++) this.#awake(index);
    for (let index = 0; index < flights.length; index++)
      if ((flights[index] as Flight).from <= tick) this.#may(FLIGHT + index);
    for (let index = 0; index < this.#lanes.length; index++) {
      const lane = this.#lanes[index] as ModelLane;
      if (!this.#awake(lane.node)) continue;
      if (lane.isDue('hand')) this.#may(HAND + index);
      if (lane.isDue('ahead')) this.#may(AHEAD + index);
      if (lane.epoch !== lane.partition.epoch) this.#may(NOTICE + index);
    }
    let orphan = false;
    for (let index = 0; index < partitions.length; index++) {
      const { owner, granted } = partitions[index] as ModelPartition;
      if (owner < 0) orphan = true;
      else if (granted && this.#awake(owner)) this.#may(BEGIN + index);
    }
    if (orphan && this.#nodes.some((node, index) => !node.crashed && !this.#world.draining.has(index)))
      this.#may(ASSIGN);
    if (!allSent) this.#may(PRODUCE);
  }

  #may(choice: number): void {
    this.#next[this.#nextCount++] = choice;
  }

  #happen(choice: number): void {
    const world = this.#world;
    const index = choice % 1_000;
    switch (choice - index) {
      case FLIGHT:
        world.land(index);
        break;
      case HAND:
        (this.#lanes[index] as ModelLane).step('hand');
        break;
      case AHEAD:
        (this.#lanes[index] as ModelLane).step('ahead');
        break;
      case NOTICE:
        (this.#lanes[index] as ModelLane).lost('hears that its lease is over');
        break;
      case BEGIN: {
        const partition = world.partitions[index] as ModelPartition;
        partition.granted = false;
        const { offset, metadata } = partition.committed;
        world.tell?.(`node ${partition.owner} partition ${index}: begins at ${offset} "${metadata}"`);
        this.#lanes.push(new ModelLane(partition.owner, partition, world));
        break;
      }
      case ASSIGN:
        this.#assign(null);
        break;
      default:
        world.produce();
    }
    this.#bury();
  }

  /** Lanes that are over are forgotten; who has drained all of its own leaves the group and comes back. */
  #bury(): void {
    const { draining, partitions, calm } = this.#world;
    let over = false;
    for (const lane of this.#lanes) {
      if (!lane.over) continue;
      over = true;
      if (lane.epoch === lane.partition.epoch && lane.partition.owner === lane.node) lane.partition.owner = -1;
    }
    if (over) this.#lanes = this.#lanes.filter((lane) => !lane.over);
    if (draining.size === 0 || calm) return;
    for (const node of draining) if (partitions.every(({ owner }) => owner !== node)) draining.delete(node);
  }

  /** Nothing can happen now: on to the next thing that will.  @returns false if there is none */
  #sleep(): boolean {
    const world = this.#world;
    let next = Number.POSITIVE_INFINITY;
    const at = (tick: number): void => {
      if (tick > world.tick && tick < next) next = tick;
    };
    for (const flight of world.flights) at(flight.from);
    for (const node of this.#nodes) at(node.asleepUntil);
    for (const lane of this.#lanes) at(lane.doing.hand?.notBefore ?? 0);
    for (const lane of this.#lanes) at(lane.doing.ahead?.notBefore ?? 0);
    if (!world.calm) at(this.#scenario.calmFromTick + 1);
    if (next === Number.POSITIVE_INFINITY) return false;
    world.tick = next - 1;
    return true;
  }
}

/** Runs the schedule of a seed to its end.
 *  @param tell gets the lines of a trace
 *  @returns what was violated, or null */
export function runSchedule(
  seed: number,
  sabotage: Sabotage | null = null,
  tell?: (line: string) => void,
): string | null {
  const scenario = scenarioOf(seed);
  tell?.(JSON.stringify(scenario));
  try {
    new Schedule(scenario, sabotage, tell).run();
    return null;
  } catch (error) {
    // What the carrier asserts is violated too.
    if (error instanceof Violation || error instanceof RangeError) return `${scenario.kind}: ${error.message}`;
    throw error;
  }
}
