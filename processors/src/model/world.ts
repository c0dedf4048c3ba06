import type { Commit } from '../run/ledger.ts';
import type { ModelLane } from './lane.ts';
import { DEAD_LETTERS, MESSAGE_LOG, MESSAGES, ModelPartition, type ModelRecord, READINGS, TABLE_NAMES } from './log.ts';
import { Random } from './random.ts';
import { type Chance, LATE_TICKS_MAX, type Sabotage, type Scenario } from './scenario.ts';
import { hasRow, ModelStore, type Rows, Violation } from './store.ts';

/** An insert on its way. Whoever sent it may be gone, or wait no more. */
export interface Flight {
  readonly table: number;
  readonly partition: ModelPartition;
  readonly rows: Rows;
  readonly part: boolean;
  /** The newest insert of the table when it was last known that this one may be made. */
  readonly base: number;
  readonly lane: ModelLane | null;
  /** The table has it, the view does not. */
  following: boolean;
  /** @units ticks */
  readonly from: number;
}

type Sent = Pick<Flight, 'table' | 'rows' | 'part' | 'base'>;

/** The log, the group and the store, as all nodes see them, and what must be true of them. */
export class World {
  readonly scenario: Scenario;
  readonly sabotage: Sabotage | null;
  readonly random: Random;
  readonly store: ModelStore;
  readonly partitions: readonly ModelPartition[];
  readonly flights: Flight[] = [];
  readonly draining = new Set<number>();
  /** Writes a line of the trace; undefined where nobody reads. */
  readonly tell: ((line: string) => void) | undefined;
  tick = 0;
  calm = false;
  #sent = 0;

  constructor(scenario: Scenario, sabotage: Sabotage | null, tell?: (line: string) => void) {
    this.scenario = scenario;
    this.sabotage = sabotage;
    this.tell = tell === undefined ? undefined : (line) => tell(`${String(this.tick).padStart(5)}  ${line}`);
    this.random = new Random(scenario.seed);
    this.store = new ModelStore(scenario.partitions, scenario.window, sabotage);
    this.partitions = Array.from({ length: scenario.partitions }, (_, index) => new ModelPartition(index));
  }

  happens(chance: Chance): boolean {
    return !this.calm && this.random.chance(this.scenario.chances[chance]);
  }

  isDraining(node: number): boolean {
    return this.draining.has(node);
  }

  newest(table: number): number {
    return this.store.tables[table]?.newest ?? 0;
  }

  get allSent(): boolean {
    return this.#sent === this.scenario.messages;
  }

  /** A client sends a message, and sends it again if it hears nothing: then it may be on the log twice. */
  produce(): void {
    const { random, scenario } = this;
    if (this.happens('append lost')) return;
    const partition = this.partitions[random.below(this.partitions.length)] as ModelPartition;
    const refused = random.chance(scenario.chances.culprit);
    // Where the log loses a part of a refused range, the dead letter may pass for one of that part.
    const refusedBy = refused ? random.below(scenario.kind === 'shrinking' ? MESSAGE_LOG : MESSAGE_LOG + 1) : -1;
    // A culprit has no dead records of its own: they would stand for the message's.
    let tables = (1 << MESSAGE_LOG) | (random.chance(0.7) ? 1 << READINGS : 1 << MESSAGES);
    if (random.chance(0.3)) tables |= 1 << MESSAGES;
    if (refused ? refusedBy === DEAD_LETTERS : random.chance(0.1)) tables |= 1 << DEAD_LETTERS;
    const offset = partition.end + (random.chance(scenario.gaps) ? 1 + random.below(3) : 0);
    const last = partition.records.at(-1)?.month ?? 0;
    partition.append({
      offset,
      month: random.chance(0.1) ? last + 1 : last,
      tables,
      refusedBy: refused && (tables & (1 << refusedBy)) !== 0 ? refusedBy : -1,
      poison: random.chance(scenario.chances.poison),
      unlucky: false,
      gone: false,
    });
    this.tell?.(`client: ${partition.index}@${offset}`);
    if (!this.happens('append unheard')) this.#sent++;
  }

  /** @returns false if another owns the partition */
  commit(lane: ModelLane, commit: Commit): boolean {
    const { partition } = lane;
    if (lane.epoch !== partition.epoch && this.sabotage !== 'no fencing') return false;
    if (commit.offset < partition.committed.offset)
      throw new Violation(`${partition.index}: a commit goes back to ${commit.offset}`);
    partition.committed = commit;
    for (const end = partition.at(commit.offset); partition.checked < end; partition.checked++)
      this.#check(partition, partition.checked);
    return true;
  }

  /** The log lets go of its oldest records, read or not. */
  shrink(): void {
    for (const partition of this.partitions) {
      const to = Math.min(partition.records.length, partition.earliest + this.random.below(4));
      for (; partition.earliest < to; partition.earliest++) {
        const record = partition.records[partition.earliest] as ModelRecord;
        if (partition.earliest >= partition.checked) record.gone = true;
        this.tell?.(`log: ${partition.index}@${record.offset} is gone`);
      }
    }
  }

  send(lane: ModelLane, sent: Sent): Flight {
    const flight = this.#fly(lane.partition, lane, sent, this.happens('insert late'));
    this.tell?.(`${lane.name}: inserts ${nameOf(flight)}`);
    if (this.happens('insert twice')) this.#fly(lane.partition, null, sent, true);
    return flight;
  }

  #fly(partition: ModelPartition, lane: ModelLane | null, sent: Sent, late: boolean): Flight {
    const ticksMax = this.scenario.kind === 'zombies' && this.random.chance(0.3) ? 5_000 : LATE_TICKS_MAX;
    const from = this.tick + (late ? this.random.below(ticksMax) : 0);
    const { table, rows, part, base } = sent;
    const flight: Flight = { table, partition, rows, part, base, lane, following: false, from };
    this.flights.push(flight);
    return flight;
  }

  /** One step of an insert: into the table, then into its view; or it comes to nothing. */
  land(index: number): void {
    const flight = this.flights[index] as Flight;
    const { table, partition, rows, lane } = flight;
    const token = `${partition.index}-${rows.first}-${rows.last}`;
    if (flight.following) {
      this.store.follow(partition, rows, token);
    } else {
      // Beyond half its window the store promises nothing.
      if (this.happens('insert lost') || this.newest(table) - flight.base >= this.scenario.window / 2) {
        this.drop(index);
        lane?.landed(flight, 'unreachable');
        return;
      }
      this.tell?.(`store: gets ${nameOf(flight)}`);
      if (!this.store.insert(table, partition, rows, token)) {
        this.drop(index);
        lane?.landed(flight, 'refused');
        return;
      }
      if (table === READINGS) {
        flight.following = true;
        return;
      }
    }
    this.drop(index);
    lane?.landed(flight, this.happens('insert unheard') ? 'unreachable' : 'written');
  }

  /** The store is killed: what was between a table and its view stays out of the view. Nothing is promised of the view
   *  when that happens to a part of a bisected range. */
  killStore(): void {
    this.tell?.('store: is killed');
    for (const flight of this.flights.splice(0)) {
      if (flight.following && !flight.part) this.tell?.(`store: tears ${nameOf(flight)} from its view`);
      if (flight.following && flight.part)
        this.store.follow(
          flight.partition,
          flight.rows,
          `${flight.partition.index}-${flight.rows.first}-${flight.rows.last}`,
        );
      flight.lane?.landed(flight, 'unreachable');
    }
  }

  drop(index: number): void {
    const last = this.flights.pop() as Flight;
    if (index < this.flights.length) this.flights[index] = last;
  }

  /** What must be true when all is done. */
  checkEnd(): void {
    for (const partition of this.partitions) {
      if (partition.committed.metadata !== '') throw new Violation(`${partition.index}: a plan is left open`);
      for (let index = 0; index < partition.records.length; index++) {
        const { gone, offset } = partition.records[index] as ModelRecord;
        if (!gone && index >= partition.checked)
          throw new Violation(`loss: ${partition.index}@${offset} is left behind`);
        this.#check(partition, index);
      }
    }
  }

  /** A record that a commit has passed is in every table that it belongs in, and counted. Twice is seen at once. */
  #check(partition: ModelPartition, index: number): void {
    const record = partition.records[index] as ModelRecord;
    if (record.gone) return;
    const { tables, counted } = this.store;
    const is = (table: number): boolean => tables[table]?.blocks[partition.index]?.[index] !== undefined;
    const fail = (what: string): never => {
      throw new Violation(`${what}: ${partition.index}@${record.offset}`);
    };
    if (!is(MESSAGE_LOG)) fail('loss: passed by a commit, and not in message_log');
    const isCounted = counted[partition.index]?.[index] === 1;
    if (isCounted !== is(READINGS)) fail('loss: in readings, and not in their rollup');
    const guilty = record.poison || record.refusedBy >= 0;
    if (guilty && !is(DEAD_LETTERS)) fail('a culprit without a dead letter');
    if (record.poison && (is(READINGS) || is(MESSAGES))) fail('rows of what no worker survives');
    if (guilty || (record.unlucky && is(DEAD_LETTERS))) return;
    for (let table = READINGS; table <= DEAD_LETTERS; table++)
      if (is(table) !== hasRow(record, table, false)) fail(`loss, or too much, in table ${table}`);
  }
}

const nameOf = ({ partition, rows, table }: Flight): string =>
  `${rows.first}-${rows.last} of partition ${partition.index} into ${TABLE_NAMES[table]}`;
