import type { Consumer, Logger, PartitionLease } from '@millrace/core';
import { within } from './within.ts';

type OnLease = (lease: PartitionLease) => Promise<void>;
interface Held {
  readonly member: Member;
  readonly ending: AbortController;
  readonly done: Promise<void>;
}
class Member {
  readonly onLease: OnLease;
  constructor(onLease: OnLease) {
    this.onLease = onLease;
  }
}

/** So long may a member take to let go of a partition before the next owner begins anyway: the old lease is fenced. */
const LET_GO_MS_MAX = 30_000;

/** The members of one consumer group in this process, and who has which partition.
 *  @holds one live lease a partition; partition p belongs to member p mod count, in order of joining */
export class Group {
  readonly #members: Member[] = [];
  readonly #held = new Map<number, Held>();
  readonly #partitionCount: number;
  readonly #lease: (partition: number, signal: AbortSignal) => PartitionLease;
  readonly #logger: Logger;
  #turn: Promise<void> = Promise.resolve();

  constructor(
    partitionCount: number,
    lease: (partition: number, signal: AbortSignal) => PartitionLease,
    logger: Logger,
  ) {
    this.#partitionCount = partitionCount;
    this.#lease = lease;
    this.#logger = logger;
  }

  join(onLease: OnLease): Consumer {
    const member = new Member(onLease);
    this.#members.push(member);
    void this.#rebalance();
    return { stop: () => this.#leave(member) };
  }

  /** Ends every lease and waits for those who hold them. */
  async stop(): Promise<void> {
    this.#members.length = 0;
    await this.#rebalance();
  }

  async #leave(member: Member): Promise<void> {
    const at = this.#members.indexOf(member);
    if (at >= 0) this.#members.splice(at, 1);
    await this.#rebalance();
  }

  #owner(partition: number): Member | undefined {
    return this.#members[partition % this.#members.length];
  }

  #rebalance(): Promise<void> {
    this.#turn = this.#turn.then(() => this.#settle());
    return this.#turn;
  }

  async #settle(): Promise<void> {
    const leaving: Promise<void>[] = [];
    for (const [partition, held] of this.#held) {
      if (held.member === this.#owner(partition)) continue;
      this.#held.delete(partition);
      held.ending.abort();
      leaving.push(held.done);
    }
    if (leaving.length > 0) await within(Promise.all(leaving), LET_GO_MS_MAX);
    for (let partition = 0; partition < this.#partitionCount; partition++) {
      const member = this.#owner(partition);
      if (member !== undefined && !this.#held.has(partition)) this.#grant(partition, member);
    }
  }

  #grant(partition: number, member: Member): void {
    const ending = new AbortController();
    const run = async (): Promise<void> => {
      try {
        await member.onLease(this.#lease(partition, ending.signal));
      } catch (error) {
        if (ending.signal.aborted) return;
        this.#logger.error({ err: error, partition }, 'a log consumer failed and leaves its group');
        ending.abort();
        this.#held.delete(partition);
        void this.#leave(member);
      }
    };
    this.#held.set(partition, { member, ending, done: run() });
  }
}
