/** What a backup takes of the readings. */

/** From here on partitions are none of the log's: rows that come from a backup bear such numbers, since the log that
 *  they were read from is gone and the next one begins at offset 0 again.  @source docs/adr/0027 */
export const GONE_PARTITION_MIN = 32_768;

/** Rows of one table, as text. */
export interface SnapshotTable {
  readonly name: string;
  /** Of which part of the table, as a month; letters and digits. */
  readonly part: string;
  readonly columns: readonly string[];
  /** What is in the table must go before this is loaded. */
  readonly clears?: true;
  /** @shape a row ends with a newline, which no value holds; a row may be cut between two pieces */
  readonly rows: AsyncIterable<Uint8Array>;
}

/** The readings as they were at one moment, however long it takes to read them. */
export interface StoreSnapshot {
  /** Version of the schema. */
  readonly schema: number;
  /** Of each partition of the log: the first offset that is not in it. */
  readonly positions: ReadonlyMap<number, number>;
  /** The number that rows of a partition bear in the snapshot. */
  readonly partitions: ReadonlyMap<number, number>;
  /** In the order in which they must be loaded. One is read at a time. */
  tables(): AsyncIterable<SnapshotTable>;
}

export interface SnapshotSource {
  /** @param behind partitions whose processors are known to be behind: what is beyond may have been received long ago
   *  @throws StoreError STORE_UNREACHABLE */
  snapshot(behind: ReadonlySet<number>): Promise<StoreSnapshot>;
}
