export type KafkaClientName = 'kafkajs' | 'platformatic';
export type KafkaCompression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

/** Whose records they are: the log's, with all that it promises, or the bare library's. */
export type Layer = 'log' | 'bare';

/** What one subject does, in a process of its own. */
export interface SubjectPlan {
  readonly layer: Layer;
  readonly client: KafkaClientName;
  readonly work: 'produce' | 'consume' | 'open';
  readonly brokers: string;
  readonly topic: string;
  readonly partitions: number;
  readonly compression: KafkaCompression;
  readonly recordBytes: number;
  readonly records: number;
  readonly inFlight: number;
  readonly perSecond: number;
  readonly seconds: number;
}

/** @units cpuSeconds: of the subject's process, all threads; quantiles in ms, 0 where none was measured */
export interface SubjectFigures {
  readonly records: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly ackP50: number;
  readonly ackP99: number;
}
