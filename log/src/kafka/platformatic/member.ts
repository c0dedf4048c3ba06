import { type LogBatch, LogError, type Logger, type ReadOptions } from '@millrace/core';
import { heartbeatV4, joinGroupV9, leaveGroupV5, offsetCommitV8, syncGroupV5 } from '@platformatic/kafka';
import type { Extent, KafkaMember, MemberEvents } from '../client.ts';
import { brokerFault } from '../faults.ts';
import {
  assignInTurn,
  decodeAssignment,
  encodeAssignment,
  encodeSubscription,
  PROTOCOL,
  PROTOCOL_TYPE,
} from './assignment.ts';
import { type Brokers, CALL_MS_MAX } from './brokers.ts';
import { platformaticFault, protocolName } from './faults.ts';
import { Intake } from './intake.ts';
import { Link } from './link.ts';
import { pause } from './patience.ts';

/** Without a heartbeat for so long, the group goes on without this member. */
const SESSION_MS_MAX = 7_000;
const HEARTBEAT_MS = 1_000;
/** So long the group waits for its members to let go and come back. */
const REBALANCE_MS_MAX = 30_000;
/** A join waits for all members; a sync waits for the leader, and when that was killed, until its session is over. */
const JOIN_MS_MAX = REBALANCE_MS_MAX + SESSION_MS_MAX + CALL_MS_MAX;
const RETRY_MS = 200;
const LEAVE_MS_MAX = 2_000;
const NO_EPOCH = -1;

interface Membership {
  readonly generation: number;
  readonly memberId: string;
}

/** The group has another generation under way: join again. */
const REJOIN = new Set(['REBALANCE_IN_PROGRESS']);
/** The group knows nothing of us any more. */
const FORGOTTEN = new Set(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID']);

/** A member of a group by the classic protocol, step by step: join, sync, heartbeats, until the group moves on.
 *  @holds commits carry the generation of the last `joined`, once, and are refused by the coordinator after it */
export class PlatformaticMember implements KafkaMember {
  readonly #brokers: Brokers;
  readonly #topic: string;
  readonly #group: string;
  readonly #logger: Logger;
  readonly #events: MemberEvents;
  readonly #intake: Intake;
  readonly #ending = new AbortController();
  #memberId = '';
  #membership: Membership | null = null;
  #link: Link | null = null;
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
    const membership = this.#membership;
    const link = this.#link;
    if (membership === null) throw new LogError('LOG_FENCED', 'never', { partition });
    if (link === null) throw brokerFault(null, 'the coordinator of the group is not connected', undefined);
    try {
      // Once: an earlier attempt that is under way still must not come after a later commit.
      await link.call(offsetCommitV8.api, CALL_MS_MAX, this.#group, membership.generation, membership.memberId, null, [
        {
          name: this.#topic,
          partitions: [
            {
              partitionIndex: partition,
              committedOffset: BigInt(offset),
              committedLeaderEpoch: NO_EPOCH,
              committedMetadata: metadata,
            },
          ],
        },
      ]);
    } catch (cause) {
      const name = protocolName(cause);
      // Who keeps the group has moved: a heartbeat finds out where to.
      if (name?.includes('COORDINATOR') === true) link.close();
      throw platformaticFault(cause);
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        const { membership, partitions } = await this.#join();
        if (signal.aborted) return;
        this.#membership = membership;
        this.#intake.assign(partitions);
        this.#events.joined(partitions);
        await this.#keep(membership);
      } catch (cause) {
        if (signal.aborted) return;
        const name = protocolName(cause);
        if (name === 'MEMBER_ID_REQUIRED') continue;
        if (name === null || !REJOIN.has(name)) {
          this.#logger.warn({ err: platformaticFault(cause), group: this.#group }, 'a Kafka group was not joined yet');
        }
        if (name !== null && FORGOTTEN.has(name)) this.#memberId = '';
        else if (name === null || !REJOIN.has(name)) this.#hangUp();
        await pause(RETRY_MS, signal);
      }
    }
  }

  /** @throws what the coordinator answers */
  async #join(): Promise<{ membership: Membership; partitions: readonly number[] }> {
    const link = await this.#coordinator();
    let joined: joinGroupV9.JoinGroupResponse;
    try {
      joined = await link.call(
        joinGroupV9.api,
        JOIN_MS_MAX,
        this.#group,
        SESSION_MS_MAX,
        REBALANCE_MS_MAX,
        this.#memberId,
        null,
        PROTOCOL_TYPE,
        [{ name: PROTOCOL, metadata: encodeSubscription(this.#topic) }],
        null,
      );
    } catch (cause) {
      const known = memberIdOf(cause);
      if (known !== null) this.#memberId = known;
      throw cause;
    }
    const memberId = joined.memberId ?? '';
    const generation = joined.generationId;
    this.#memberId = memberId;
    let assignments: { memberId: string; assignment: Buffer }[] = [];
    if (joined.leader === memberId) {
      await this.#brokers.refresh(this.#topic);
      const members = joined.members.map((member) => member.memberId);
      const assigned = assignInTurn(members, this.#brokers.partitionCount(this.#topic));
      assignments = [...assigned].map(([member, partitions]) => ({
        memberId: member,
        assignment: encodeAssignment(this.#topic, partitions),
      }));
    }
    const synced = await link.call(
      syncGroupV5.api,
      JOIN_MS_MAX,
      this.#group,
      generation,
      memberId,
      null,
      PROTOCOL_TYPE,
      PROTOCOL,
      assignments,
    );
    return { membership: { generation, memberId }, partitions: decodeAssignment(this.#topic, synced.assignment) };
  }

  /** Heartbeats until the group moves on, or has done so without us. While leases end, heartbeats go on.
   *  @holds a coordinator that is away or has moved does not end the generation before the session is over */
  async #keep(membership: Membership): Promise<void> {
    const { signal } = this.#ending;
    let leaving: Promise<unknown> | null = null;
    let left = false;
    let heardAt = performance.now();
    const leave = (): void => {
      leaving ??= Promise.resolve(this.#events.leaving()).finally(() => {
        left = true;
      });
    };
    while (!signal.aborted && !left) {
      try {
        const link = await this.#coordinator();
        await link.call(heartbeatV4.api, CALL_MS_MAX, this.#group, membership.generation, membership.memberId, null);
        heardAt = performance.now();
      } catch (cause) {
        const name = protocolName(cause);
        if (name !== null && REJOIN.has(name)) {
          heardAt = performance.now();
          leave();
        } else if (name !== null && FORGOTTEN.has(name)) {
          this.#memberId = '';
          this.#membership = null;
          this.#events.leaving();
          return;
        } else {
          this.#hangUp();
        }
      }
      if (performance.now() - heardAt > SESSION_MS_MAX) {
        this.#logger.warn({ group: this.#group }, 'the coordinator of a Kafka group was away for a session');
        leave();
        await leaving;
        break;
      }
      await Promise.race([
        pause(leaving === null ? HEARTBEAT_MS : RETRY_MS, signal),
        ...(leaving === null ? [] : [leaving]),
      ]);
    }
    this.#membership = null;
  }

  async #coordinator(): Promise<Link> {
    if (this.#link !== null && !this.#link.gone) return this.#link;
    const node = await this.#brokers.coordinator(this.#group);
    const address = this.#brokers.address(node);
    if (address === null || this.#ending.signal.aborted) throw brokerFault(null, 'no coordinator', undefined);
    const link = await Link.open(address, this.#brokers.kafka);
    if (this.#ending.signal.aborted) link.close();
    this.#link = link;
    return link;
  }

  #hangUp(): void {
    this.#link?.close();
    this.#link = null;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    this.#membership = null;
    this.#ending.abort();
    // A join that is under way is called off: the connection is closed, and the group told on another.
    this.#hangUp();
    await Promise.all([this.#running, this.#intake.stop()]);
    if (this.#memberId === '') return;
    await Promise.race([this.#leave(), pause(LEAVE_MS_MAX)]);
  }

  async #leave(): Promise<void> {
    let link: Link | null = null;
    try {
      const node = await this.#brokers.coordinator(this.#group);
      const address = this.#brokers.address(node);
      if (address === null) return;
      link = await Link.open(address, this.#brokers.kafka);
      const members = [{ memberId: this.#memberId, groupInstanceId: null, reason: null }];
      await link.call(leaveGroupV5.api, LEAVE_MS_MAX, this.#group, members);
    } catch (error) {
      this.#logger.warn({ err: error, group: this.#group }, 'a Kafka group was not told that a member leaves');
    } finally {
      link?.close();
    }
  }
}

function memberIdOf(error: unknown): string | null {
  const { response } = error as { response?: { memberId?: string | null } };
  return protocolName(error) === 'MEMBER_ID_REQUIRED' ? (response?.memberId ?? null) : null;
}
