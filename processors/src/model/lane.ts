import { Carrier } from '../run/carrier.ts';
import type { CarrierEvent, Effect, Strand } from '../run/effects.ts';
import type { OffsetRange } from '../run/ledger.ts';
import {
  DEAD_LETTERS,
  MESSAGE_LOG,
  MESSAGES,
  type ModelPartition,
  type ModelRecord,
  READINGS,
  TABLE_NAMES,
} from './log.ts';
import { PROOF_TICKS, SETTLING_TICKS } from './scenario.ts';
import { type Rows, rowCount } from './store.ts';
import type { Flight, World } from './world.ts';

const WRITE_ORDER = [READINGS, MESSAGES, DEAD_LETTERS, MESSAGE_LOG];
/** `message_log` is asked first. */
const ASK_ORDER = [MESSAGE_LOG, READINGS, MESSAGES, DEAD_LETTERS];

interface Doing {
  readonly effect: Exclude<Effect, { readonly kind: 'over' }>;
  /** Nothing comes of it before. @units ticks */
  notBefore: number;
  asked: number;
  written: number;
  /** A bit for each table that must not be told again. */
  skip: number;
  flight: Flight | null;
}

/** A lane, as in run/lane.ts, whose effects are carried out by a model: step by step, when the schedule says so. */
export class ModelLane {
  readonly node: number;
  readonly partition: ModelPartition;
  readonly epoch: number;
  readonly doing: Record<Strand, Doing | null> = { hand: null, ahead: null };
  over = false;
  readonly #world: World;
  readonly #carrier: Carrier;
  readonly #rows: Record<Strand, Rows | null> = { hand: null, ahead: null };
  readonly #beganTick: number;
  #provenTick = Number.NEGATIVE_INFINITY;
  /** The newest insert of each table when it was asked, or the lease was proven. */
  readonly #newest = [0, 0, 0, 0];
  #late: { readonly offset: number; readonly metadata: string } | null = null;

  constructor(node: number, partition: ModelPartition, world: World) {
    this.node = node;
    this.partition = partition;
    this.epoch = partition.epoch;
    this.#world = world;
    this.#beganTick = world.tick;
    this.#carrier = Carrier.resume(partition.committed);
    this.#go(this.#carrier.begin());
  }

  get name(): string {
    return `node ${this.node} partition ${this.partition.index}`;
  }

  /** Whether the schedule may choose it now. */
  isDue(strand: Strand): boolean {
    const doing = this.doing[strand];
    if (doing === null || this.#world.tick < doing.notBefore) return false;
    if (doing.effect.kind !== 'read') return true;
    return this.#world.isDraining(this.node) || this.#firstFrom(doing.effect.from) < this.partition.records.length;
  }

  lost(why: string): void {
    this.#world.tell?.(`${this.name}: ${why}, lets go`);
    this.#go(this.#carrier.on({ kind: 'lost' }));
  }

  /** The insert came to an end. */
  landed(flight: Flight, outcome: 'written' | 'refused' | 'unreachable'): void {
    const doing = this.doing.hand;
    if (doing?.flight !== flight) return;
    doing.flight = null;
    doing.notBefore = this.#world.tick;
    if (outcome === 'written') doing.written++;
    else {
      this.#world.tell?.(`${this.name}: hears that its insert is ${outcome}`);
      this.#answer('hand', outcome === 'refused' ? this.#refused() : { kind: outcome });
    }
  }

  step(strand: Strand): void {
    const doing = this.doing[strand];
    if (doing === null) return;
    const event = this.#do(strand, doing);
    if (event !== null && !this.over) this.#answer(strand, event);
  }

  /** @returns the answer to what is done, or null if it is not there yet */
  #do(strand: Strand, doing: Doing): CarrierEvent | null {
    const { effect } = doing;
    switch (effect.kind) {
      case 'read':
        return this.#read(effect.from);
      case 'normalise':
        return this.#normalise(strand, effect.range);
      case 'probe':
        return { kind: 'probed', strand, works: !this.#world.happens('no worker') };
      case 'bury':
        this.#rows[strand] = this.#rowsOf(effect.range, true);
        if (effect.reason !== 'store_refused') for (const record of this.#records(effect.range)) record.unlucky = true;
        this.#world.tell?.(`${this.name}: buries ${effect.range.first}-${effect.range.last}`);
        return { kind: 'buried', strand };
      case 'weigh': {
        const records = this.#records(effect.range);
        return { kind: 'weighed', before: records[records.length >>> 1 || 1]?.offset ?? null };
      }
      case 'write':
        return this.#write(doing, effect);
      case 'commit':
        return this.#commit(effect);
      case 'wait':
        return { kind: 'waited', strand };
    }
  }

  #go(effects: readonly Effect[]): void {
    const world = this.#world;
    for (const effect of effects) {
      if (effect.kind === 'over') {
        this.over = true;
        this.doing.hand = null;
        this.doing.ahead = null;
        return;
      }
      const strand = effect.kind === 'read' ? 'ahead' : 'strand' in effect ? effect.strand : 'hand';
      if (this.doing[strand] !== null) throw new RangeError(`${strand} does two things at once`);
      let notBefore = 0;
      if (effect.kind === 'wait') notBefore = world.tick + world.random.below(40);
      if (effect.kind === 'wait' && effect.why === 'late_inserts' && world.sabotage !== 'no waiting for late inserts')
        notBefore = this.#beganTick + SETTLING_TICKS;
      if (effect.kind === 'write') {
        if (this.#rows.ahead?.first === effect.range.first) {
          this.#rows.hand = this.#rows.ahead;
          this.#rows.ahead = null;
        }
        if (this.#rows.hand?.first !== effect.range.first || this.#rows.hand.last !== effect.range.last)
          throw new RangeError('other rows are in hand');
      }
      this.doing[strand] = { effect, notBefore, asked: 0, written: 0, skip: 0, flight: null };
    }
  }

  #answer(strand: Strand, event: CarrierEvent): void {
    this.doing[strand] = null;
    this.#go(this.#carrier.on(event));
  }

  #refused(): CarrierEvent {
    const { from, to } = this.#rows.hand as Rows;
    return { kind: 'refused', messages: to - from };
  }

  #firstFrom(offset: number): number {
    return Math.max(this.partition.at(offset), this.partition.earliest);
  }

  #rowsOf({ first, last }: OffsetRange, buried: boolean): Rows {
    const from = this.#firstFrom(first);
    return { first, last, from, to: Math.max(from, this.partition.at(last + 1)), buried };
  }

  #records(range: OffsetRange): ModelRecord[] {
    const { from, to } = this.#rowsOf(range, false);
    return this.partition.records.slice(from, to);
  }

  #read(from: number): CarrierEvent {
    const { random } = this.#world;
    if (this.#world.isDraining(this.node)) return { kind: 'drained' };
    const { records } = this.partition;
    const at = this.#firstFrom(from);
    const end = Math.min(records.length, at + 1 + random.below(random.chance(0.5) ? 3 : 10));
    const range = { first: (records[at] as ModelRecord).offset, last: (records[end - 1] as ModelRecord).offset };
    return { kind: 'read', range };
  }

  #normalise(strand: Strand, range: OffsetRange): CarrierEvent {
    const records = this.#records(range);
    const [first] = records;
    let bad = records.findIndex((record) => record.poison);
    if (bad < 0 && records.length > 0 && this.#world.happens('worker fails'))
      bad = this.#world.random.below(records.length);
    if (bad >= 0) {
      const split = Math.min(Math.max(bad, 1), records.length - 1);
      const before = records.length > 1 ? (records[split] as ModelRecord).offset : null;
      this.#world.tell?.(`${this.name}: a worker fails on ${range.first}-${range.last} (${strand})`);
      return { kind: 'failed', strand, before, hung: false };
    }
    let rows = this.#rowsOf(range, false);
    if (strand === 'ahead' && first !== undefined) {
      const other = records.findIndex((record) => record.month !== first.month);
      const last = other < 0 ? range.last : (records[other - 1] as ModelRecord).offset;
      rows = this.#rowsOf({ first: first.offset, last }, false);
    }
    this.#rows[strand] = rows;
    this.#world.tell?.(`${this.name}: has rows of ${rows.first}-${rows.last} (${strand})`);
    return { kind: 'normalised', strand, range: { first: rows.first, last: rows.last } };
  }

  #commit({ offset, metadata }: { readonly offset: number; readonly metadata: string }): CarrierEvent | null {
    const world = this.#world;
    if (world.sabotage === 'intent after the insert' && metadata !== '' && !this.#carrier.redoing) {
      this.#late = { offset, metadata };
      return { kind: 'committed' };
    }
    if (world.happens('commit lost')) return null;
    if (!this.#commits(offset, world.sabotage === 'no intent' ? '' : metadata)) return null;
    if (world.happens('commit unheard')) return null;
    return { kind: 'committed' };
  }

  /** @returns false if the lease is over */
  #commits(offset: number, metadata: string): boolean {
    const world = this.#world;
    world.tell?.(`${this.name}: commits ${offset} "${metadata}"`);
    if (!world.commit(this, { offset, metadata })) {
      this.lost('is fenced');
      return false;
    }
    this.#provenTick = world.tick;
    this.#note();
    return true;
  }

  #note(): void {
    for (let table = 0; table < 4; table++) this.#newest[table] = this.#world.newest(table);
  }

  /** One step of the writer: a question, or an insert that is sent.
   *  @source storage/src/write/writer.ts */
  #write(doing: Doing, effect: Extract<Effect, { readonly kind: 'write' }>): CarrierEvent | null {
    const world = this.#world;
    const rows = this.#rows.hand as Rows;
    if (doing.flight !== null) {
      world.tell?.(`${this.name}: hears nothing of its insert`);
      return { kind: 'unreachable' };
    }
    const { sabotage } = world;
    const retold = sabotage === 'no verify of what is tried again' && effect.tries > 0 && !this.#carrier.redoing;
    if (effect.verify && sabotage !== 'no verify' && !retold) {
      while (doing.asked < 4) {
        const table = ASK_ORDER[doing.asked++] as number;
        if (rowCount(table, this.partition, rows) === 0) continue;
        if (doing.asked === 1) this.#note();
        const found = world.store.found(table, this.partition, rows, effect.part && sabotage !== 'parts told again');
        world.tell?.(`${this.name}: asks ${TABLE_NAMES[table]} for ${rows.first}-${rows.last}: ${found}`);
        if (found === 'partly') return this.#refused();
        if (found === 'there') {
          doing.skip |= table === MESSAGE_LOG ? 0b1111 : 1 << table;
          if (table === MESSAGE_LOG) doing.asked = 4;
        }
        return null;
      }
    }
    const order = sabotage === 'message_log first' ? [MESSAGE_LOG, READINGS, MESSAGES, DEAD_LETTERS] : WRITE_ORDER;
    for (; doing.written < 4; doing.written++) {
      const table = order[doing.written] as number;
      if ((doing.skip & (1 << table)) !== 0 || rowCount(table, this.partition, rows) === 0) continue;
      return this.#insert(doing, effect, rows, table);
    }
    const late = this.#late;
    this.#late = null;
    if (late !== null && !this.#commits(late.offset, late.metadata)) return null;
    return { kind: 'written' };
  }

  /** Sends an insert, if the fence lets it.
   *  What the store promises holds only while less than half its window passes between the question (or the proof) and
   *  the insert. */
  #insert(
    doing: Doing,
    effect: Extract<Effect, { readonly kind: 'write' }>,
    rows: Rows,
    table: number,
  ): CarrierEvent | null {
    const world = this.#world;
    const { sabotage } = world;
    const passed = world.newest(table) - (this.#newest[table] as number);
    if (sabotage === 'no proof before an insert' || sabotage?.startsWith('no verify')) this.#note();
    else if (world.tick - this.#provenTick > PROOF_TICKS || passed >= world.store.window / 4) {
      const { offset, metadata } = this.#carrier.standing;
      const noted = [...this.#newest];
      if (world.happens('commit lost')) return { kind: 'unreachable' };
      if (this.#late === null && world.sabotage !== 'no intent' && !this.#commits(offset, metadata)) return null;
      // A question is not asked again by a proof.
      if (effect.verify) for (let each = 0; each < 4; each++) this.#newest[each] = noted[each] as number;
    }
    const base = this.#newest[table] as number;
    doing.flight = world.send(this, { table, rows, base, part: effect.part });
    doing.notBefore = world.happens('impatience') ? world.tick + world.random.below(60) : Number.POSITIVE_INFINITY;
    return null;
  }
}
