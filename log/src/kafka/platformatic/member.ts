import { type LogBatch, LogError, type Logger, type ReadOptions } from '@millrace/core';
import type { Extent, KafkaMember, MemberEvents } from '../client.ts';
import type { Brokers } from './brokers.ts';
import { Coordinator, type Generation, REBALANCE_MS_MAX, SESSION_MS_MAX } from './coordinator.ts';
import { platformaticFault, protocolName } from './faults.ts';
import { Intake } from './intake.ts';
import { pause } from './patience.ts';

const HEARTBEAT_MS = 1_000;
const RETRY_MS = 200;
const LEAVE_MS_MAX = 2_000;
/** So long a commit waits for the group to have its next generation. */
const SETTLE_MS_MAX = REBALANCE_MS_MAX + 5_000;

/** The group knows nothing of us any more. */
const FORGOTTEN = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID']);
/** How a join goes on. */
const AGAIN = new Set(['REBALANCE_IN_PROGRESS', 'MEMBER_ID_REQUIRED']);

/** A member of a group by the classic protocol, step by step: join, sync, heartbeats, until the group moves on.
 *  @holds what it has in one generation and in the one right after it was nobody else's: reads and commits of that go
 *         on. Commits carry the generation that is present, and wait while there is none */
export class PlatformaticMember implements KafkaMember {
  readonly #brokers: Brokers;
  readonly #topic: string;
  readonly #group: string;
  readonly #logger: Logger;
  readonly #events: MemberEvents;
  readonly #intake: Intake;
  readonly #coordinator: Coordinator;
  readonly #ending = new AbortController();
  #memberId = '';
  /** null from when the group moves on until the next generation's shares are known. */
  #present: Generation | null = null;
  /** What this member has, each with a token of its own for as long as it has it without a break. */
  #ours = new Map<number, object>();
  heardMs = performance.now();
  readonly #waiting = new Set<() => void>();
  #running: Promise<void> = Promise.resolve();
  #stopping: Promise<void> | null = null;

  constructor(
    brokers: Brokers,
    topic: string,
    group: string,
    parts: {
      events: MemberEvents;
      extents: (topic: string) => Promise<ReadonlyMap<number, Extent>>;
      logger: Logger;
    },
  ) {
    this.#brokers = brokers;
    this.#topic = topic;
    this.#group = group;
    this.#logger = parts.logger;
    this.#events = parts.events;
    this.#coordinator = new Coordinator(brokers, topic, group);
    this.#intake = new Intake(brokers, topic, { extents: parts.extents, logger: parts.logger, ours: new Set() });
  }

  async start(): Promise<void> {
    await this.#brokers.refresh(this.#topic);
    this.#running = this.#run();
  }

  read(
    partition: number,
    from: number,
    options: Omit<ReadOptions, 'signal'>,
    signals: readonly AbortSignal[],
  ): Promise<LogBatch | null> {
    return this.#intake.read(partition, from, options, signals);
  }

  rest(partition: number): void {
    this.#intake.rest(partition);
  }

  async commit(partition: number, offset: number, metadata: string): Promise<void> {
    const end = performance.now() + SETTLE_MS_MAX;
    const token = this.#ours.get(partition);
    for (;;) {
      const generation = this.#present;
      if (generation !== null && token !== undefined && this.#ours.get(partition) === token) {
        try {
          await this.#coordinator.commit(generation, partition, offset, metadata);
          return;
        } catch (cause) {
          const fault = platformaticFault(cause);
          // Refused because the group has moved on: the heartbeat finds out within a second.
          if (fault.code !== 'LOG_FENCED' || fault.facts.problem === 'UNKNOWN_MEMBER_ID') throw fault;
        }
      }
      while (this.#present === null || this.#present === generation) {
        const left = end - performance.now();
        if (token === undefined || this.#ours.get(partition) !== token) break;
        if (left <= 0) {
          throw new LogError('LOG_UNREACHABLE', 'later', { partition, problem: 'the group is rebalancing' });
        }
        await this.#change(left);
      }
      if (token === undefined || this.#ours.get(partition) !== token) {
        throw new LogError('LOG_FENCED', 'never', { partition });
      }
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    let last: Generation | null = null;
    while (!signal.aborted) {
      try {
        const joined = await this.#coordinator.join(this.#memberId, last, (memberId) => {
          this.#memberId = memberId;
        });
        if (signal.aborted) return;
        const follows = last !== null && last.memberId === joined.memberId && last.id + 1 === joined.id;
        this.#settle(joined, follows);
        last = joined;
        await this.#keep(joined);
        this.#present = null;
      } catch (cause) {
        if (signal.aborted) return;
        const name = protocolName(cause);
        if (name === 'MEMBER_ID_REQUIRED') continue;
        if (name === null || !AGAIN.has(name)) {
          this.#logger.warn({ err: platformaticFault(cause), group: this.#group }, 'a Kafka group was not joined yet');
        }
        const forgotten = name !== null && FORGOTTEN.has(name);
        // Under an old generation it is known still, and the group would wait for it under this name.
        if (forgotten && name !== 'ILLEGAL_GENERATION') this.#memberId = '';
        if (last !== null && (forgotten || this.#isOver())) {
          last = null;
          this.#lose();
        }
        if (!forgotten && (name === null || !AGAIN.has(name))) this.#coordinator.hangUp();
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** Heartbeats until the group moves on. A coordinator that is away or has moved to another broker does not end the
   *  generation before the session is over.
   *  @throws what the coordinator answers when it knows nothing of us, or what kept it from answering */
  async #keep(generation: Generation): Promise<void> {
    const { signal } = this.#ending;
    this.heardMs = performance.now();
    while (!signal.aborted) {
      await pause(HEARTBEAT_MS, signal);
      if (signal.aborted) return;
      try {
        await this.#coordinator.heartbeat(generation);
        this.heardMs = performance.now();
      } catch (cause) {
        const name = protocolName(cause);
        if (name === 'REBALANCE_IN_PROGRESS') {
          this.heardMs = performance.now();
          return;
        }
        if (this.#isOver() || (name !== null && FORGOTTEN.has(name))) throw cause;
        this.#coordinator.hangUp();
      }
    }
  }

  #isOver(): boolean {
    return performance.now() - this.heardMs > SESSION_MS_MAX;
  }

  #settle(joined: Generation, follows: boolean): void {
    const before = follows ? this.#ours : new Map<number, object>();
    const kept = joined.partitions.filter((partition) => before.has(partition));
    this.#ours = new Map(joined.partitions.map((partition) => [partition, before.get(partition) ?? {}]));
    this.#present = joined;
    this.#intake.assign(joined.partitions, kept);
    this.#wake();
    this.#events.joined(joined.partitions, kept);
  }

  #lose(): void {
    this.#present = null;
    this.#ours = new Map();
    this.#intake.assign([], []);
    this.#wake();
    this.#events.leaving();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #change(msMax: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, msMax);
      this.#waiting.add(wake);
    });
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#ending.abort();
    this.#present = null;
    this.#ours = new Map();
    this.#wake();
    // A join that is under way is called off: its connection is closed, and the group told on another.
    this.#coordinator.hangUp();
    await Promise.all([this.#running, this.#intake.stop()]);
    if (this.#memberId === '') return;
    const left = this.#coordinator.leave(this.#memberId).catch((error: unknown) => {
      const err = platformaticFault(error);
      this.#logger.warn({ err, group: this.#group }, 'a Kafka group was not told that a member leaves');
    });
    await Promise.race([left, pause(LEAVE_MS_MAX)]);
    this.#coordinator.hangUp();
  }
}
