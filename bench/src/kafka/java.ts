import { spawn } from 'node:child_process';
import { kafkaLibraries } from '@millrace/log/testing';
import { stopProcess } from '../child.ts';
import { BenchError } from '../errors.ts';
import { onCore } from '../pinning.ts';

/** @units cpuSeconds: of the whole Java process, its start included */
export interface JavaFigures {
  readonly recordsPerSecond: number;
  readonly cpuSeconds: number;
}

/** A tool that is under way. */
export interface RunningTool {
  readonly figures: Promise<JavaFigures>;
  stop(): Promise<void>;
}

/** Kafka's own ProducerPerformance, asked for what we promise: acks=all, idempotent. */
export function producerPerformance(plan: {
  readonly brokers: string;
  readonly topic: string;
  readonly records: number;
  readonly recordBytes: number;
  readonly core: number;
}): Promise<RunningTool> {
  const { topic, records, recordBytes, brokers } = plan;
  return tool(
    plan.core,
    'ProducerPerformance',
    ['--topic', topic, '--num-records', String(records), '--record-size', String(recordBytes), '--throughput', '-1'],
    ['--producer-props', `bootstrap.servers=${brokers}`, 'acks=all', 'enable.idempotence=true'],
    (output) => Number(/([\d.]+) records\/sec(?!.*records\/sec)/s.exec(output)?.[1]),
  );
}

/** Kafka's own ConsumerPerformance. */
export function consumerPerformance(plan: {
  readonly brokers: string;
  readonly topic: string;
  readonly records: number;
  readonly core: number;
}): Promise<RunningTool> {
  const { topic, records, brokers } = plan;
  return tool(
    plan.core,
    'ConsumerPerformance',
    ['--topic', topic, '--messages', String(records)],
    ['--bootstrap-server', brokers],
    // start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms,
    // fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
    (output) => Number(output.trim().split('\n').at(-1)?.split(',')[9]),
  );
}

/** bash, since nothing else tells what a child used once it has ended. */
const TIMED = 'TIMEFORMAT="cpu %U %S"; time "$@"';

async function tool(
  core: number,
  name: string,
  what: readonly string[],
  where: readonly string[],
  read: (output: string) => number,
): Promise<RunningTool> {
  const java = ['java', '-Xmx512m', '-cp', `${await kafkaLibraries()}/*`, `org.apache.kafka.tools.${name}`];
  const [command, given] = onCore(core, 'bash', ['-c', TIMED, 'bash', ...java, ...what, ...where]);
  const child = spawn(command, given, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const figures = new Promise<JavaFigures>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', () => {
      const recordsPerSecond = read(output);
      const [, user, system] = /cpu ([\d.]+) ([\d.]+)/.exec(errors) ?? [];
      if (recordsPerSecond > 0) resolve({ recordsPerSecond, cpuSeconds: Number(user) + Number(system) });
      else reject(new BenchError('CHILD_FAILED', 'never', { child: name, stderr: errors.slice(-1_000), output }));
    });
  });
  figures.catch(() => {});
  return { figures, stop: () => stopProcess(child, 5_000) };
}
