import { setTimeout as sleep } from 'node:timers/promises';
import { kafkaAvailable } from '@millrace/log/testing';
import { runChild } from '../child.ts';
import { BenchError } from '../errors.ts';
import { canPin } from '../pinning.ts';
import { machineFacts, reportedEnvironment } from '../report.ts';
import { Run } from '../run.ts';
import { type BenchKafka, startBenchKafka } from './broker.ts';
import { consumerPerformance, type JavaFigures, producerPerformance, type RunningTool } from './java.ts';
import type { KafkaBenchOptions } from './options.ts';
import type { KafkaReport } from './report.ts';
import type { KafkaClientName, KafkaCompression, Layer, SubjectFigures, SubjectPlan } from './subject/plan.ts';

const SUBJECT_CORE = 0;
const BROKER_CORE = 1;
const CHILD_MS_MAX = 300_000;
/** The broker writes and tidies behind a measurement. */
const SETTLE_MS = 500;

export const SUBJECTS: readonly (readonly [Layer, KafkaClientName])[] = [
  ['log', 'kafkajs'],
  ['bare', 'kafkajs'],
  ['log', 'platformatic'],
  ['bare', 'platformatic'],
];

/** Measures the log in Kafka with each client, beside the bare libraries and Kafka's own tools, against one real broker.
 *  @throws BenchError CHILD_FAILED, SETUP_FAILED when Java or Maven is missing; nothing it started runs on */
export async function runKafka(options: KafkaBenchOptions, progress: (line: string) => void): Promise<KafkaReport> {
  const missing = kafkaAvailable();
  if (missing !== null) {
    const problem = `a real Kafka is needed, and ${missing}: apt-get install openjdk-17-jre-headless maven`;
    throw new BenchError('SETUP_FAILED', 'never', { problem });
  }
  const machine = machineFacts();
  const run = new KafkaRun(options, progress);
  await run.toEnd(options.signal);
  const { rounds, records, recordBytes, partitions, inFlight, perSecond, compressions } = options;
  return {
    format: 1,
    benchmark: 'kafka',
    date: new Date().toISOString(),
    machine,
    settings: {
      ...{ rounds, records, recordBytes, partitions, inFlight, perSecond, compressions },
      pinned: canPin(),
      environment: reportedEnvironment(process.env),
    },
    figures: run.collector.figures(),
  };
}

class KafkaRun extends Run {
  readonly #options: KafkaBenchOptions;
  #serial = 0;

  constructor(options: KafkaBenchOptions, progress: (line: string) => void) {
    super(options.rounds, progress);
    this.#options = options;
  }

  protected async all(): Promise<void> {
    const kafka = await this.started(startBenchKafka(BROKER_CORE));
    for (this.round = 1; this.round <= this.#options.rounds; this.round++) {
      for (const [layer, client] of SUBJECTS) await this.#subject(kafka, layer, client);
      await this.#java(kafka);
      for (const compression of this.#options.compressions) {
        for (const client of ['kafkajs', 'platformatic'] as const) await this.#codec(kafka, client, compression);
      }
    }
    await this.ended(kafka);
  }

  async #topic<T>(kafka: BenchKafka, measure: (topic: string) => Promise<T>): Promise<T> {
    const topic = `bench-${++this.#serial}`;
    await kafka.createTopic(topic, this.#options.partitions);
    const result = await measure(topic);
    await kafka.deleteTopic(topic);
    await sleep(SETTLE_MS);
    return result;
  }

  async #run(
    kafka: BenchKafka,
    plan: Pick<SubjectPlan, 'layer' | 'client' | 'work' | 'topic'> & { compression?: KafkaCompression },
  ): Promise<SubjectFigures> {
    const { recordBytes, records, partitions, inFlight, perSecond, seconds } = this.#options;
    const rest = { recordBytes, records, partitions, inFlight, perSecond, seconds, compression: 'none' };
    const whole = { ...rest, brokers: kafka.brokers, ...plan };
    return await runChild<SubjectFigures>(import.meta.url, './subject/main', whole, CHILD_MS_MAX, SUBJECT_CORE);
  }

  async #subject(kafka: BenchKafka, layer: Layer, client: KafkaClientName): Promise<void> {
    const name = `${layer}-${client}`;
    await this.#topic(kafka, async (topic) => {
      this.#rate(`${name}/produce`, await this.#run(kafka, { layer, client, work: 'produce', topic }));
      this.#rate(`${name}/consume`, await this.#run(kafka, { layer, client, work: 'consume', topic }));
      if (this.#options.perSecond === 0) return;
      const open = await this.#run(kafka, { layer, client, work: 'open', topic });
      this.add(`${name}/open/ack_p50`, 'ms', open.ackP50);
      this.add(`${name}/open/ack_p99`, 'ms', open.ackP99);
      this.add(`${name}/open/cores`, 'cores', open.cpuSeconds / open.seconds);
      this.tell(`${name}, open loop`, `p50 ${open.ackP50.toFixed(1)} ms, p99 ${open.ackP99.toFixed(1)} ms`);
    });
  }

  async #codec(kafka: BenchKafka, client: KafkaClientName, compression: KafkaCompression): Promise<void> {
    const name = `codec-${compression}-${client}`;
    const layer = 'log';
    await this.#topic(kafka, async (topic) => {
      this.#rate(`${name}/produce`, await this.#run(kafka, { layer, client, work: 'produce', topic, compression }));
      const bytes = (await kafka.bytesOf(topic)) / this.#options.records;
      this.add(`${name}/disk`, 'bytes a record', bytes);
      this.#rate(`${name}/consume`, await this.#run(kafka, { layer, client, work: 'consume', topic }));
    });
  }

  async #java(kafka: BenchKafka): Promise<void> {
    const { records, recordBytes } = this.#options;
    await this.#topic(kafka, async (topic) => {
      const plan = { brokers: kafka.brokers, topic, records, core: SUBJECT_CORE };
      this.#tool('java/produce', await this.#tooled(producerPerformance({ ...plan, recordBytes })));
      this.#tool('java/consume', await this.#tooled(consumerPerformance(plan)));
    });
  }

  async #tooled(starting: Promise<RunningTool>): Promise<JavaFigures> {
    const tool = await this.started(starting);
    const figures = await tool.figures;
    await this.ended(tool);
    return figures;
  }

  #tool(name: string, { recordsPerSecond, cpuSeconds }: JavaFigures): void {
    this.add(`${name}/records_per_second`, 'records/s', recordsPerSecond);
    this.add(`${name}/cpu_per_million`, 's', (cpuSeconds / this.#options.records) * 1e6);
    this.tell(name, `${whole(recordsPerSecond)} records/s`);
  }

  #rate(name: string, { records, seconds, cpuSeconds }: SubjectFigures): void {
    this.add(`${name}/records_per_second`, 'records/s', records / seconds);
    this.add(`${name}/cpu_per_million`, 's', (cpuSeconds / records) * 1e6);
    this.tell(
      name,
      `${whole(records / seconds)} records/s, ${((cpuSeconds / records) * 1e6).toFixed(2)} s CPU a million`,
    );
  }
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
