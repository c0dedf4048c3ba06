import type { Committed, LogBatch, Logger, ReadOptions } from '@millrace/core';

/** How to reach the brokers, and as whom. */
export interface KafkaConnection {
  readonly brokers: readonly string[];
  readonly clientId: string;
  /** null: plaintext. */
  readonly tls: KafkaTls | null;
  readonly sasl: KafkaSasl | null;
  /** Of what is produced. Whatever others chose is read. */
  readonly compression: KafkaCompression;
  readonly logger: Logger;
}

/** PEM texts; null where the system's authorities, or no certificate of our own, will do. */
export interface KafkaTls {
  readonly ca: string | null;
  readonly cert: string | null;
  readonly key: string | null;
}

export interface KafkaSasl {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly user: string;
  readonly password: string;
}

export type KafkaCompression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

/** What the engine needs of a Kafka client library. Everything above it is the same for all.
 *  @throws all of it LogError only (faults.ts): LOG_UNREACHABLE, LOG_FENCED, LOG_RECORD_TOO_LARGE
 *  @source ADR 0022 */
export interface KafkaClient {
  readonly name: 'kafkajs' | 'platformatic';
  readonly admin: KafkaAdmin;
  /** The broker that leads a partition, as last heard; −1 when nothing was. Only a hint: what is sent in one call had
   *  better be of one leader, so that a broker that is slow keeps no other's receipts waiting. */
  leaderOf(topic: string, partition: number): number;
  /** Resolves when `admin` can be used. */
  connect(): Promise<void>;
  /** Ends `admin`; producers and readers are ended by whoever has them. */
  close(): Promise<void>;
  /** A connected, idempotent producer. */
  producer(): Promise<KafkaProducer>;
  /** A member of a group; it joins at `start`. */
  member(topic: string, group: string, events: MemberEvents): KafkaMember;
  /** Reads partitions without taking part in a group that anybody sees. It can be used once this resolves. */
  reader(topic: string): Promise<KafkaReader>;
}

export interface Extent {
  readonly earliest: number;
  readonly next: number;
}

export interface TopicDescription {
  readonly partitions: readonly {
    readonly partition: number;
    readonly replicaCount: number;
    readonly inSyncCount: number;
  }[];
  /** As they hold, the brokers' defaults included. */
  readonly settings: ReadonlyMap<string, string>;
}

export interface KafkaAdmin {
  /** Also tells whether the cluster answers. */
  brokerCount(): Promise<number>;
  /** null if there is no such topic. */
  describeTopic(topic: string): Promise<TopicDescription | null>;
  /** Resolves also when somebody else creates it at the same time.
   *  @shape replication −1: the brokers' default */
  createTopic(
    topic: string,
    options: { partitionCount: number; replication: number; settings: ReadonlyMap<string, string> },
  ): Promise<void>;
  /** Of all partitions. */
  extents(topic: string): Promise<ReadonlyMap<number, Extent>>;
  /** Of each partition the offset of the first record that is not older than a time; the next one to be given if none is.
   *  @units ms since 1970 */
  offsetsAt(topic: string, timeMs: number): Promise<ReadonlyMap<number, number>>;
  /** What a group has committed, of the partitions where it ever did. */
  committed(group: string, topic: string): Promise<ReadonlyMap<number, Committed>>;
}

export interface ProducedRecord {
  readonly topic: string;
  readonly partition: number;
  readonly key: string | null;
  readonly value: Buffer;
}

export interface ProducedBatch {
  readonly topic: string;
  readonly partition: number;
  /** All of this topic and partition. */
  readonly records: readonly ProducedRecord[];
}

export interface KafkaProducer {
  /** Resolves when all in-sync replicas have all batches, at most one a partition; tries again by itself, bounded.
   *  One call at a time; no batch may be appended twice by it or left out, also when leaders move meanwhile.
   *  @returns the offset of the first record of each batch, in the order of the batches
   *  @throws LogError; the producer must not be used again: its sequence numbers could make the broker take the next
   *          batch for the lost one, and acknowledge it without keeping it */
  send(batches: readonly ProducedBatch[]): Promise<readonly number[]>;
  /** Never throws. */
  close(): Promise<void>;
}

/** Pulls: nothing is fetched that nobody asks for, and what is fetched ahead of reads is bounded (4 MiB a partition or
 *  the reader's `bytesMax`). */
export interface KafkaReader {
  /** The records from an offset on, or null when none came in time or a signal aborted. One call a partition at a time.
   *  With `last`, waits for all of the range as far as it fits: a range that is redone comes in one batch.
   *  @throws LogError LOG_FENCED when the partition is not this member's */
  read(
    partition: number,
    from: number,
    options: Omit<ReadOptions, 'signal'>,
    signals: readonly AbortSignal[],
  ): Promise<LogBatch | null>;
  /** Stops fetching a partition until it is read again. */
  rest(partition: number): void;
  /** Resolves when nothing of it is left, at the brokers neither. */
  stop(): Promise<void>;
}

export interface MemberEvents {
  /** The group has a new generation: these partitions are ours, and nothing is read until `read` is called. Those of
   *  `kept` were ours in the generation right before, and nobody's in between: their reads and commits go on. */
  joined(partitions: readonly number[], kept?: readonly number[]): void;
  /** Nothing is kept: the group is about to have a new generation, or this member has lost it. */
  leaving(): void;
}

/** @holds it never commits by itself, also not when an offset is asked for that is gone */
export interface KafkaMember extends KafkaReader {
  /** When the group last said that it knows this member, or when this member was made, by `performance.now()`. */
  readonly heardMs: number;
  /** Resolves when it is connected; joining goes on by itself, also after faults. */
  start(): Promise<void>;
  /** Commits an offset under a generation in which the partition is this member's without a break since it got it.
   *  @throws LogError LOG_FENCED; LOG_UNREACHABLE also when the broker was not asked */
  commit(partition: number, offset: number, metadata: string): Promise<void>;
}
