import { type Attachment, type Position, partitionOf, type Subscription } from '@millrace/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { filterMatches } from './filter-trie.ts';
import { openStage, type Stage, type TestSubscriber, until } from './testing/stage.ts';

// Random appends, refusals, subscriptions, resumptions, cold decisions, faults and trims. What must hold is said of each
// subscription alone: it gets exactly what its filter matches from where it began, once, in order of each partition.

const CHANNELS = ['chan-a', 'chan-b', 'chan-c', 'chan-d'] as const;
const SUBTOPICS = ['', 'a', 'a/b', 'b'] as const;
const FILTERS = ['#', '', 'a', 'a/#', '+', '+/b'] as const;
const PARTITIONS = 2;
const NAMES = ['one', 'two', 'three'] as const;

interface Sent {
  readonly channel: string;
  readonly subtopic: string;
  readonly partition: number;
  readonly offset: number;
  readonly text: string;
}

interface Wanted {
  readonly tag: string;
  readonly channel: string | null;
  readonly filter: string;
  readonly from: readonly Position[];
  readonly subscription: Subscription<string>;
  readonly gone: Set<string>;
  ended: boolean;
  /** How many it had got when it ended. */
  gotAtEnd: number;
}

interface Party {
  subscriber: TestSubscriber;
  attachment: Attachment<string>;
  wanted: Wanted[];
  /** It once began before where it stood. */
  wentBack: boolean;
}

const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      channel: fc.constantFrom(...CHANNELS),
      subtopic: fc.constantFrom(...SUBTOPICS),
      count: fc.integer({ min: 1, max: 40 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('room' as const), who: fc.nat(2), room: fc.integer({ min: 0, max: 30 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('subscribe' as const),
      who: fc.nat(2),
      channel: fc.option(fc.constantFrom(...CHANNELS)),
      filter: fc.constantFrom(...FILTERS),
      back: fc.option(fc.nat(60)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('unsubscribe' as const), who: fc.nat(2), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('return' as const), who: fc.nat(2) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('trim' as const), partition: fc.nat(1), back: fc.nat(30) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('cold' as const),
      who: fc.nat(2),
      cold: fc.boolean(),
      fails: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('fault' as const), where: fc.constantFrom('peek', 'follow') }),
  },
);

class Model {
  readonly stage: Stage;
  readonly sent: Sent[] = [];
  readonly parties: Party[];
  readonly #next = Array.from({ length: PARTITIONS }, () => 0);
  readonly #earliest = Array.from({ length: PARTITIONS }, () => 0);
  #tags = 0;

  constructor(stage: Stage) {
    this.stage = stage;
    this.parties = NAMES.map((name) => ({ ...stage.join(name), wanted: [], wentBack: false }));
  }

  append(channel: string, subtopic: string): void {
    const partition = partitionOf(Buffer.from(channel), PARTITIONS);
    const offset = this.#next[partition] as number;
    this.#next[partition] = offset + 1;
    const text = `${partition}-${offset}`;
    this.sent.push({ channel, subtopic, partition, offset, text });
    this.stage.publish(channel, subtopic, text);
  }

  async durable(): Promise<void> {
    for (const [partition, next] of this.#next.entries()) {
      for (;;) {
        const extent = await this.stage.log.extent(partition);
        if (extent.next >= next) break;
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  async subscribe(who: number, channel: string | null, filter: string, back: number | null): Promise<void> {
    const party = this.parties[who] as Party;
    await this.durable();
    const tag = `t${this.#tags++}`;
    const from =
      back === null ? 'tail' : this.#next.map((next, partition) => ({ partition, offset: Math.max(0, next - back) }));
    const answer = await party.attachment.subscribe({ channel, subtopic: filter }, tag, from);
    if (answer.kind !== 'subscribed') throw new Error(answer.kind);
    for (const { partition, offset } of answer.from) {
      // It began where it was asked to: nothing was appended meanwhile.
      const next = this.#next[partition] as number;
      expect(offset).toBe(from === 'tail' ? next : Math.max(0, next - (back as number)));
    }
    const wanted: Wanted = {
      tag,
      channel,
      filter,
      from: answer.from,
      subscription: answer.subscription,
      gone: new Set(),
      ended: false,
      gotAtEnd: 0,
    };
    if (back !== null) party.wentBack = true;
    party.wanted.push(wanted);
    // What is no longer kept can't come.
    for (const one of this.#expected(wanted)) {
      if (one.offset < (this.#earliest[one.partition] as number)) wanted.gone.add(one.text);
    }
  }

  /** All that a subscription should get, were nothing ever lost. */
  #expected({ channel, filter, from }: Wanted): Sent[] {
    const starts = new Map(from.map(({ partition, offset }) => [partition, offset]));
    return this.sent.filter((one) => {
      const start = starts.get(one.partition);
      if (start === undefined || one.offset < start) return false;
      return (channel === null || channel === one.channel) && filterMatches(filter, one.subtopic);
    });
  }

  #got({ subscriber }: Party, { tag }: Wanted): string[] {
    return subscriber.got.filter((_, index) => subscriber.tags[index]?.includes(tag));
  }

  /** What it got of that which was never removed from the log under it. */
  #kept(party: Party, wanted: Wanted): string[] {
    return this.#got(party, wanted).filter((text) => !wanted.gone.has(text));
  }

  /** Each has all that it can have. */
  async settle(): Promise<void> {
    await this.durable();
    await until('all who have room have all', () =>
      this.parties.every(
        (party) =>
          party.subscriber.room === 0 ||
          party.wanted.every(
            (wanted) =>
              wanted.ended ||
              this.#kept(party, wanted).length >=
                this.#expected(wanted).filter(({ text }) => !wanted.gone.has(text)).length,
          ),
      ),
    );
  }

  trim(partition: number, back: number): void {
    const earliest = Math.max(0, (this.#next[partition] as number) - back);
    if (earliest <= (this.#earliest[partition] as number)) return;
    this.#earliest[partition] = earliest;
    for (const party of this.parties) {
      for (const wanted of party.wanted) {
        const got = new Set(this.#got(party, wanted));
        for (const one of this.#expected(wanted)) {
          if (one.partition === partition && one.offset < earliest && !got.has(one.text)) wanted.gone.add(one.text);
        }
      }
    }
    this.stage.log.trim(partition, earliest);
  }

  /** Each subscription got a beginning of what it should, or all of it; in order, nothing twice. */
  check(whole: boolean): void {
    for (const party of this.parties) {
      for (const wanted of party.wanted) {
        const got = this.#got(party, wanted);
        const kept = this.#kept(party, wanted);
        for (let partition = 0; partition < PARTITIONS; partition++) {
          const offsets = got.map((text) => text.split('-').map(Number)).filter(([of]) => of === partition);
          expect(offsets).toEqual(offsets.toSorted(([, one = 0], [, other = 0]) => one - other));
          expect(new Set(got).size).toBe(got.length);
          const mine = kept.filter((text) => text.startsWith(`${partition}-`));
          const expected = this.#expected(wanted)
            .filter((one) => one.partition === partition && !wanted.gone.has(one.text))
            .map(({ text }) => text);
          expect(mine).toEqual(whole && !wanted.ended ? expected : expected.slice(0, mine.length));
        }
        if (wanted.ended) expect(got.length).toBe(wanted.gotAtEnd);
      }
      if (!party.wentBack) this.#checkPositions(party);
    }
  }

  end(party: Party, wanted: Wanted): void {
    if (wanted.ended) return;
    wanted.ended = true;
    wanted.gotAtEnd = this.#got(party, wanted).length;
  }

  /** At any time: what is before a position was taken, what is not is behind it. */
  #checkPositions(party: Party): void {
    for (const { partition, offset } of party.attachment.positions()) {
      for (const wanted of party.wanted) {
        if (wanted.ended) continue;
        const got = new Set(this.#got(party, wanted));
        for (const one of this.#expected(wanted)) {
          if (one.partition !== partition || wanted.gone.has(one.text)) continue;
          expect(got.has(one.text)).toBe(one.offset < offset);
        }
      }
    }
  }
}

describe('delivery under everything at once', () => {
  test('each subscription gets what its filter matches, once, in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(command, { minLength: 5, maxLength: 40 }),
        fc.boolean(),
        fc.boolean(),
        async (commands, sliced, followTogether) => {
          // Small reads, blocks and slices: all that happens between them happens.
          const limits = { readBytesMax: 2_000, indexBlockOffsets: 8, ...(sliced ? { sliceMs: -1 } : {}) };
          await using stage = openStage({ partitionCount: PARTITIONS, limits, followTogether });
          const { log, gate } = stage;
          const model = new Model(stage);
          for (const step of commands) {
            if (step.kind === 'append') {
              for (let count = 0; count < step.count; count++) model.append(step.channel, step.subtopic);
              continue;
            }
            if (step.kind === 'room') {
              const { subscriber, attachment } = model.parties[step.who] as Party;
              subscriber.room = step.room;
              if (step.room > 0) attachment.resume();
              continue;
            }
            if (step.kind === 'cold') {
              const { subject } = (model.parties[step.who] as Party).subscriber.principal;
              let failures = step.fails ? 2 : 0;
              if (step.cold) {
                gate.undecided.set(subject.id, async () => {
                  await new Promise((resolve) => setImmediate(resolve));
                  if (failures-- > 0) throw new Error('the registry is away');
                });
              } else gate.undecided.delete(subject.id);
              continue;
            }
            if (step.kind === 'fault') {
              const where = step.where as 'peek' | 'follow';
              log.faults[where] = 'LOG_UNREACHABLE';
              log.interrupt();
              for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
              delete log.faults[where];
              continue;
            }
            const cold = new Map(gate.undecided);
            gate.undecided.clear();
            if (step.kind === 'subscribe') await model.subscribe(step.who, step.channel, step.filter, step.back);
            for (const [who, wait] of cold) gate.undecided.set(who, wait);
            if (step.kind === 'subscribe') continue;
            model.check(false);
            if (step.kind === 'trim') {
              for (const party of model.parties) if (party.subscriber.room < 1_000) party.subscriber.room = 0;
              await model.settle();
              model.trim(step.partition, step.back);
            } else {
              const party = model.parties[step.who] as Party;
              if (step.kind === 'unsubscribe') {
                const active = party.wanted.filter(({ ended }) => !ended);
                const wanted = active[step.which % Math.max(1, active.length)];
                if (wanted === undefined) continue;
                model.end(party, wanted);
                party.attachment.unsubscribe(wanted.subscription);
              } else {
                for (const wanted of party.wanted) model.end(party, wanted);
                party.attachment.detach();
                party.attachment = stage.delivery.attach(party.subscriber);
                party.wentBack = false;
              }
            }
            model.check(false);
          }
          for (const { subscriber, attachment } of model.parties) {
            subscriber.room = Number.POSITIVE_INFINITY;
            attachment.resume();
          }
          await model.settle();
          model.check(true);
          for (const { attachment } of model.parties) {
            for (const { partition, offset } of attachment.positions()) {
              expect(offset).toBeLessThanOrEqual((await log.extent(partition)).next);
            }
          }
        },
      ),
      { numRuns: Number(process.env.MILLRACE_TEST_RUNS ?? 60) },
    );
  }, 120_000);
});
