import { LogError } from '@millrace/core';
import kafkajs, { type Broker, type Cluster, type PartitionAssigner } from 'kafkajs';
import { assignSticky, type Claim } from '../sticky.ts';
import { turnFromSilence } from './silence.ts';

/** A member of a group in one of its generations, and who keeps the group. */
export interface Generation {
  readonly id: number;
  readonly memberId: string;
}

interface Commit {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly metadata: string;
}

/** kafkajs's own types leave out what it calls: this is of its version 2.2. */
interface Coordinator {
  isConnected(): boolean;
  heartbeat(request: object): Promise<unknown>;
  fetch(request: object): Promise<unknown>;
  joinGroup(request: object): Promise<{ generationId: number; memberId: string }>;
  offsetCommit(request: CommitRequest): Promise<unknown>;
}

interface CommitRequest {
  readonly groupId: string;
  readonly groupGenerationId: number;
  readonly memberId: string;
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly partition: number; readonly offset: string; readonly metadata?: string }[];
  }[];
}

const NAME = 'MillraceSticky';
const VERSION = 0;
/** So long a commit waits for the group to have its next generation. */
const SETTLE_MS_MAX = 35_000;

/** Listens to how kafkajs joins a group, to know under which generation, and commits under exactly that one.
 *  kafkajs itself commits under whatever generation it has by the time it gets round to it. The way in are its partition
 *  assigners: they are given its cluster, and asked for metadata right before each JoinGroup is sent. They also say what
 *  this member has, so that the group's leader can let it keep that.
 *  @holds `present` is null from before a JoinGroup is sent until the assignment is known; nothing is committed but what
 *         `commit` is asked to */
export class Membership {
  readonly #group: string;
  readonly #owned: () => Iterable<number>;
  readonly #outOfRange: (partition: number) => Promise<void>;
  /** How to commit at a broker that is listened to. */
  readonly #listened = new WeakMap<object, Coordinator['offsetCommit']>();
  readonly #waiting = new Set<() => void>();
  #cluster: Cluster | null = null;
  #coordinator: Coordinator | null = null;
  #heard: Generation | null = null;
  #present: Generation | null = null;
  /** The generation before, while the next is being joined. */
  #last: Generation | null = null;

  /** @param outOfRange  told when a partition was fetched from an offset that is not kept: whatever it seeks holds */
  constructor(group: string, owned: () => Iterable<number>, outOfRange: (partition: number) => Promise<void>) {
    this.#group = group;
    this.#owned = owned;
    this.#outOfRange = outOfRange;
  }

  /** For `partitionAssigners`: what all members have in common is taken, so those of other programs may join too. */
  get assigners(): PartitionAssigner[] {
    return [this.#sticky, kafkajs.PartitionAssigners.roundRobin];
  }

  readonly #sticky: PartitionAssigner = ({ cluster }) => {
    this.#listen(cluster);
    return {
      name: NAME,
      version: VERSION,
      protocol: ({ topics }) => {
        this.#leave();
        const claim = { generation: this.#last?.id ?? -1, owned: [...this.#owned()] };
        const userData = Buffer.from(JSON.stringify(claim));
        return {
          name: NAME,
          metadata: kafkajs.AssignerProtocol.MemberMetadata.encode({ version: VERSION, topics, userData }),
        };
      },
      assign: async ({ members, topics }) => {
        const claims = members.map(({ memberId, memberMetadata }) => claimOf(memberId, memberMetadata));
        const shares = new Map(claims.map(({ member }) => [member, {} as Record<string, number[]>]));
        for (const topic of topics) {
          const count = cluster.findTopicPartitionMetadata(topic).length;
          for (const [member, partitions] of assignSticky(claims, count)) {
            (shares.get(member) as Record<string, number[]>)[topic] = partitions;
          }
        }
        return [...shares].map(([memberId, assignment]) => ({
          memberId,
          memberAssignment: kafkajs.AssignerProtocol.MemberAssignment.encode({
            version: VERSION,
            assignment,
            userData: Buffer.alloc(0),
          }),
        }));
      },
    };
  };

  #listen(cluster: Cluster): void {
    if (this.#cluster === cluster) return;
    this.#cluster = cluster;
    const [find, findBroker] = [cluster.findGroupCoordinator.bind(cluster), cluster.findBroker.bind(cluster)];
    // The coordinator comes through here too, also when it is another object after a lost connection.
    cluster.findBroker = async (node) => {
      const broker = await findBroker(node);
      this.#listenTo(broker as Broker & Coordinator);
      return broker;
    };
    cluster.findGroupCoordinator = async (group) => {
      const broker = await find(group);
      this.#coordinator = broker as Broker & Coordinator;
      return broker;
    };
  }

  #listenTo(broker: Coordinator): void {
    if (this.#listened.has(broker)) return;
    this.#listened.set(broker, broker.offsetCommit.bind(broker));
    turnFromSilence(broker);
    const join = broker.joinGroup.bind(broker);
    broker.joinGroup = async (request) => {
      const answer = await join(request);
      this.#heard = { id: answer.generationId, memberId: answer.memberId };
      return answer;
    };
    // What kafkajs commits by itself is an offset of its own choice, where one that is gone was fetched: without the
    // metadata, so that what is being written would be forgotten.
    broker.offsetCommit = async ({ topics }) => {
      for (const { partitions } of topics) for (const { partition } of partitions) await this.#outOfRange(partition);
    };
  }

  #leave(): void {
    if (this.#present !== null) this.#last = this.#present;
    this.#present = null;
    this.#heard = null;
  }

  /** The assignment of the generation that was joined is known.
   *  @returns whether it follows right upon the one that this member was in: what it has in both was nobody else's */
  settle(): boolean {
    const [last, heard] = [this.#last, this.#heard];
    this.#last = null;
    this.#present = heard;
    this.#wake();
    return last !== null && heard !== null && last.memberId === heard.memberId && heard.id === last.id + 1;
  }

  /** Nothing is left of the membership. */
  lose(): void {
    this.#last = null;
    this.#present = null;
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  /** Commits under the present generation. While the next is being joined it waits, and where the group has moved on it
   *  goes with it for as long as the partition stays.
   *  @throws LogError LOG_FENCED once `ours` says no; what Kafka answers */
  async commit(commit: Commit, ours: () => boolean, fault: (error: unknown) => LogError): Promise<void> {
    const end = performance.now() + SETTLE_MS_MAX;
    for (;;) {
      const { partition } = commit;
      if (!ours()) throw new LogError('LOG_FENCED', 'never', { partition });
      const generation = this.#present;
      if (generation !== null) {
        try {
          await this.#commit(generation, commit);
          return;
        } catch (error) {
          const told = fault(error);
          // A member that the group does not know any more can't have kept anything.
          if (told.code !== 'LOG_FENCED' || told.facts.problem === 'UNKNOWN_MEMBER_ID') throw told;
        }
      }
      // The heartbeat finds out within a second that the group moves on.
      while (this.#present === generation || this.#present === null) {
        const left = end - performance.now();
        if (!ours()) throw new LogError('LOG_FENCED', 'never', { partition });
        if (left <= 0)
          throw new LogError('LOG_UNREACHABLE', 'later', { partition, problem: 'the group is rebalancing' });
        await this.#change(left);
      }
    }
  }

  async #commit(generation: Generation, { topic, ...one }: Commit): Promise<void> {
    const cluster = this.#cluster as Cluster;
    let coordinator = this.#coordinator;
    if (coordinator === null || !coordinator.isConnected()) {
      coordinator = (await cluster.findGroupCoordinator({ groupId: this.#group })) as Broker & Coordinator;
    }
    const send = this.#listened.get(coordinator) as Coordinator['offsetCommit'];
    try {
      await send({
        groupId: this.#group,
        groupGenerationId: generation.id,
        memberId: generation.memberId,
        topics: [{ topic, partitions: [{ ...one, offset: String(one.offset) }] }],
      });
    } catch (error) {
      // It may have moved to another broker.
      if (this.#coordinator === coordinator) this.#coordinator = null;
      throw error;
    }
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
}

/** What a member claims; nothing if it says nothing that can be read. */
function claimOf(member: string, metadata: Buffer): Claim {
  try {
    const told = kafkajs.AssignerProtocol.MemberMetadata.decode(metadata);
    const { generation, owned } = JSON.parse(told?.userData.toString() ?? '') as {
      generation: unknown;
      owned: unknown;
    };
    if (typeof generation === 'number' && Array.isArray(owned)) {
      return { member, generation, owned: owned.filter((one): one is number => typeof one === 'number') };
    }
  } catch {
    // Another program's member, or none of our time.
  }
  return { member, generation: -1, owned: [] };
}
