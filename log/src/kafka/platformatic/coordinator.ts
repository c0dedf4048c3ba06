import { heartbeatV4, joinGroupV9, leaveGroupV5, offsetCommitV8, syncGroupV5 } from '@platformatic/kafka';
import { brokerFault } from '../faults.ts';
import { decodeAssignment, PROTOCOL_TYPE, protocolsOf, STICKY, shares } from './assignment.ts';
import { type Brokers, CALL_MS_MAX } from './brokers.ts';
import { answerOf, protocolName } from './faults.ts';
import { Link } from './link.ts';

/** Without a heartbeat for so long, the group goes on without a member. */
export const SESSION_MS_MAX = 7_000;
/** So long the group waits for its members to come back. */
export const REBALANCE_MS_MAX = 30_000;
/** A join waits for all members; a sync waits for the leader, and when that was killed, until its session is over. */
const JOIN_MS_MAX = REBALANCE_MS_MAX + SESSION_MS_MAX + CALL_MS_MAX;
const LEAVE_MS_MAX = 2_000;
const NO_EPOCH = -1;

/** A member in one generation of its group. */
export interface Generation {
  readonly id: number;
  readonly memberId: string;
  readonly partitions: readonly number[];
}

/** The broker that keeps a group, by a connection of the group's own: a join may take half a minute.
 *  @throws what the broker answers, all of it */
export class Coordinator {
  readonly #brokers: Brokers;
  readonly #topic: string;
  readonly #group: string;
  #link: Promise<Link> | null = null;

  constructor(brokers: Brokers, topic: string, group: string) {
    this.#brokers = brokers;
    this.#topic = topic;
    this.#group = group;
  }

  async #reach(): Promise<Link> {
    const known = await this.#link?.catch(() => null);
    if (known !== undefined && known !== null && !known.gone) return known;
    this.#link = this.#open();
    return await this.#link;
  }

  async #open(): Promise<Link> {
    const address = this.#brokers.address(await this.#brokers.coordinator(this.#group));
    if (address === null) throw brokerFault('COORDINATOR_NOT_AVAILABLE', '', undefined);
    return await Link.open(address, this.#brokers.kafka);
  }

  /** The next call finds out anew who keeps the group. What is under way fails. */
  hangUp(): void {
    void this.#link?.then(
      (link) => link.close(),
      () => {},
    );
    this.#link = null;
  }

  /** Joins, and shares the partitions when this member is to do so.
   *  @param learned  told the member's id as soon as it has one */
  async join(memberId: string, before: Generation | null, learned: (memberId: string) => void): Promise<Generation> {
    const link = await this.#reach();
    const protocols = protocolsOf(this.#topic, before?.id ?? -1, before?.partitions ?? []);
    let joined: joinGroupV9.JoinGroupResponse;
    try {
      joined = await link.call(
        joinGroupV9.api,
        JOIN_MS_MAX,
        ...([this.#group, SESSION_MS_MAX, REBALANCE_MS_MAX] as const),
        ...([memberId, null, PROTOCOL_TYPE, protocols, null] as const),
      );
    } catch (error) {
      if (protocolName(error) === 'MEMBER_ID_REQUIRED') {
        learned(answerOf<joinGroupV9.JoinGroupResponse>(error)?.memberId ?? '');
      }
      throw error;
    }
    const id = joined.generationId;
    const own = joined.memberId ?? '';
    learned(own);
    const protocol = joined.protocolName ?? STICKY;
    const assignments = joined.leader === own ? await this.#shares(protocol, joined.members) : [];
    const synced = await link.call(
      syncGroupV5.api,
      JOIN_MS_MAX,
      ...([this.#group, id, own, null, PROTOCOL_TYPE, protocol, assignments] as const),
    );
    return { id, memberId: own, partitions: decodeAssignment(this.#topic, synced.assignment) };
  }

  async #shares(protocol: string, members: joinGroupV9.JoinGroupResponseMember[]) {
    await this.#brokers.refresh(this.#topic);
    return shares(protocol, members, this.#topic, this.#brokers.partitionCount(this.#topic));
  }

  async heartbeat({ id, memberId }: Generation): Promise<void> {
    const link = await this.#reach();
    await link.call(heartbeatV4.api, CALL_MS_MAX, this.#group, id, memberId, null);
  }

  /** Once: an attempt that is under way still must not come after a later commit. */
  async commit({ id, memberId }: Generation, partition: number, offset: number, metadata: string): Promise<void> {
    const link = await this.#reach();
    const one = {
      partitionIndex: partition,
      committedOffset: BigInt(offset),
      committedLeaderEpoch: NO_EPOCH,
      committedMetadata: metadata,
    };
    const topics = [{ name: this.#topic, partitions: [one] }];
    try {
      await link.call(offsetCommitV8.api, CALL_MS_MAX, this.#group, id, memberId, null, topics);
    } catch (error) {
      // Another broker may keep the group now.
      if (protocolName(error)?.includes('COORDINATOR') === true) this.hangUp();
      throw error;
    }
  }

  async leave(memberId: string): Promise<void> {
    const link = await this.#reach();
    const members = [{ memberId, groupInstanceId: null, reason: null }];
    await link.call(leaveGroupV5.api, LEAVE_MS_MAX, this.#group, members);
  }
}
