import { createAPI, fetchV12, type Reader } from '@platformatic/kafka';
import { READ_COMMITTED } from './admin.ts';
import { RecordSet } from './record-set.ts';

/** What is asked of one partition. */
export interface Asked {
  readonly partition: number;
  readonly from: number;
}

/** What a broker answers of one partition.
 *  @shape errorCode: 0 when there is none */
export interface Fetched {
  readonly partition: number;
  readonly errorCode: number;
  readonly set: RecordSet;
}

export interface FetchAnswer {
  readonly errorCode: number;
  readonly partitions: readonly Fetched[];
}

/** @units waitMsMax: so long the broker waits when there is nothing */
export interface FetchRequest {
  readonly topic: string;
  readonly asked: readonly Asked[];
  readonly waitMsMax: number;
}

const ANSWER_BYTES_MAX = 16 * 1024 * 1024;
const PARTITION_BYTES_MAX = 2 * 1024 * 1024;
const NO_SESSION = 0;
const NO_EPOCH = -1;

/** The library's own parser makes a dozen objects of each record; this one keeps the bytes.
 *  @throws never for a partition's error: others of its answer may be well
 *  @source Apache Kafka, Fetch v12 */
export const fetch = createAPI<[FetchRequest], FetchAnswer>(
  1,
  12,
  ({ topic, asked, waitMsMax }: FetchRequest) =>
    fetchV12.createRequest(
      waitMsMax,
      1,
      ANSWER_BYTES_MAX,
      READ_COMMITTED,
      NO_SESSION,
      NO_EPOCH,
      [
        {
          topicId: topic,
          partitions: asked.map(({ partition, from }) => ({
            partition,
            currentLeaderEpoch: NO_EPOCH,
            fetchOffset: BigInt(from),
            lastFetchedEpoch: NO_EPOCH,
            partitionMaxBytes: PARTITION_BYTES_MAX,
          })),
        },
      ],
      [],
      '',
    ),
  (_correlationId, _apiKey, _apiVersion, reader) => {
    reader.skip(4);
    const errorCode = reader.readInt16();
    reader.skip(4);
    const topics = reader.readArray((topic) => {
      topic.readString();
      return topic.readArray(readPartition);
    });
    return { errorCode, partitions: topics?.flat() ?? [] };
  },
);

function readPartition(reader: Reader): Fetched {
  const partition = reader.readInt32();
  const errorCode = reader.readInt16();
  reader.skip(24);
  const aborted =
    reader.readArray((each) => ({ producerId: each.readInt64(), firstOffset: Number(each.readInt64()) })) ?? [];
  reader.skip(4);
  // COMPACT_RECORDS: one more than the size, 0 for null.
  const size = Math.max(0, reader.readUnsignedVarInt() - 1);
  let bytes = reader.buffer.slice(reader.position, reader.position + size);
  // What one partition has not read yet must not keep what the others have.
  if (bytes.length < bytes.buffer.byteLength / 2) bytes = Buffer.from(bytes);
  reader.skip(size);
  return { partition, errorCode, set: new RecordSet(bytes, aborted) };
}
