/** Which broker leads each partition, as last heard. */
export class Leaders {
  readonly #topics = new Map<string, Map<number, number>>();
  readonly #learned = new Map<string, unknown>();

  /** −1 if nothing was heard. */
  of(topic: string, partition: number): number {
    return this.#topics.get(topic)?.get(partition) ?? -1;
  }

  learn(topic: string, partitions: readonly { partitionId: number; leader: number }[]): void {
    // kafkajs gives the same list until it has asked again.
    if (this.#learned.get(topic) === partitions) return;
    this.#learned.set(topic, partitions);
    this.#topics.set(topic, new Map(partitions.map(({ partitionId, leader }) => [partitionId, leader])));
  }
}
