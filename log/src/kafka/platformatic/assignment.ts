import { Reader, Writer } from '@platformatic/kafka';
import { assignSticky, type Claim } from '../sticky.ts';

/** What a group's members tell each other, as those of kafkajs do, so that a group may have members of both.
 *  @source Apache Kafka, ConsumerProtocolSubscription and ConsumerProtocolAssignment, version 0 */
export const STICKY = 'MillraceSticky';
const IN_TURN = 'RoundRobinAssigner';
export const PROTOCOL_TYPE = 'consumer';
const VERSION = 0;

/** What this member can do, the best first, and what it has.
 *  @shape generation: -1 when it has nothing */
export function protocolsOf(
  topic: string,
  generation: number,
  owned: readonly number[],
): { name: string; metadata: Buffer }[] {
  const claim = Buffer.from(JSON.stringify({ generation, owned }));
  return [
    { name: STICKY, metadata: encodeSubscription(topic, claim) },
    { name: IN_TURN, metadata: encodeSubscription(topic, Buffer.alloc(0)) },
  ];
}

function encodeSubscription(topic: string, userData: Buffer): Buffer {
  return Writer.create()
    .appendInt16(VERSION)
    .appendArray([topic], (writer, each) => writer.appendString(each, false), false, false)
    .appendBytes(userData, false).buffer;
}

/** The leader's part: each member's share, ready to be sent. */
export function shares(
  protocol: string,
  members: readonly { readonly memberId: string; readonly metadata: Buffer | null }[],
  topic: string,
  partitionCount: number,
): { memberId: string; assignment: Buffer }[] {
  const assigned =
    protocol === STICKY
      ? assignSticky(
          members.map(({ memberId, metadata }) => claimOf(memberId, metadata)),
          partitionCount,
        )
      : assignInTurn(
          members.map(({ memberId }) => memberId),
          partitionCount,
        );
  return [...assigned].map(([memberId, partitions]) => ({ memberId, assignment: encodeAssignment(topic, partitions) }));
}

/** What a member claims; nothing if it says nothing that can be read. */
function claimOf(member: string, metadata: Buffer | null): Claim {
  try {
    const reader = Reader.from(metadata ?? Buffer.alloc(0));
    reader.skip(2);
    reader.readArray((each) => each.readString(false), false, false);
    const { generation, owned } = JSON.parse(String(reader.readBytes(false))) as Record<string, unknown>;
    if (typeof generation === 'number' && Array.isArray(owned)) {
      return { member, generation, owned: owned.filter((one): one is number => typeof one === 'number') };
    }
  } catch {
    // Another program's member.
  }
  return { member, generation: -1, owned: [] };
}

function assignInTurn(members: readonly string[], partitionCount: number): ReadonlyMap<string, number[]> {
  const sorted = members.toSorted();
  const assigned = new Map(sorted.map((member) => [member, [] as number[]]));
  for (let partition = 0; partition < partitionCount; partition++) {
    assigned.get(sorted[partition % sorted.length] as string)?.push(partition);
  }
  return assigned;
}

function encodeAssignment(topic: string, partitions: readonly number[]): Buffer {
  return Writer.create()
    .appendInt16(VERSION)
    .appendArray(
      partitions.length === 0 ? [] : [topic],
      (writer, each) => {
        writer
          .appendString(each, false)
          .appendArray([...partitions], (inner, partition) => inner.appendInt32(partition), false, false);
      },
      false,
      false,
    )
    .appendBytes(Buffer.alloc(0), false).buffer;
}

/** The partitions of one topic; none where the assignment is empty. */
export function decodeAssignment(topic: string, bytes: Buffer | null): number[] {
  if (bytes === null || bytes.length < 6) return [];
  const reader = Reader.from(bytes);
  reader.skip(2);
  const topics = reader.readArray(
    (each) => ({
      name: each.readString(false),
      partitions: each.readArray((inner) => inner.readInt32(), false, false),
    }),
    false,
    false,
  );
  return topics.find(({ name }) => name === topic)?.partitions ?? [];
}
