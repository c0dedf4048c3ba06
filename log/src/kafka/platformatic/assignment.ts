import { Reader, Writer } from '@platformatic/kafka';

/** What a group's members tell each other, as kafkajs does, so that a group may have members of both.
 *  @source Apache Kafka, ConsumerProtocolSubscription and ConsumerProtocolAssignment, version 0 */
export const PROTOCOL = 'RoundRobinAssigner';
export const PROTOCOL_TYPE = 'consumer';
const VERSION = 0;

export function encodeSubscription(topic: string): Buffer {
  return Writer.create()
    .appendInt16(VERSION)
    .appendArray([topic], (writer, each) => writer.appendString(each, false), false, false)
    .appendBytes(Buffer.alloc(0), false).buffer;
}

export function encodeAssignment(topic: string, partitions: readonly number[]): Buffer {
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

/** Each partition to one member, in turn. */
export function assignInTurn(members: readonly string[], partitionCount: number): ReadonlyMap<string, number[]> {
  const sorted = members.toSorted();
  const assigned = new Map(sorted.map((member) => [member, [] as number[]]));
  for (let partition = 0; partition < partitionCount; partition++) {
    assigned.get(sorted[partition % sorted.length] as string)?.push(partition);
  }
  return assigned;
}
