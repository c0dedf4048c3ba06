/** Where the rows of each partition of the log are kept when the store has several shards. A partition stays where it
 *  began, also when shards are added, so that a batch goes to one shard and a repeated one to the same. */
export interface LogShards {
  /** The shard of a partition. Who asks first pins it to one of those that are there now, the one with the fewest
   *  partitions of the topic; never changed afterwards.
   *  @param shards numbers of the shards that are there, not empty
   *  @returns the pinned one, also when it is none of those
   *  @throws MillraceError when it cannot be told now */
  shardOf(topic: string, partition: number, shards: readonly number[]): Promise<number>;
}
