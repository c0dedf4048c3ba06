import { table } from '../table.ts';
import type { KafkaReport } from './report.ts';

const SUBJECTS = [
  ['log-kafkajs', 'the log with kafkajs'],
  ['bare-kafkajs', 'kafkajs, bare: its floor'],
  ['log-platformatic', 'the log with @platformatic/kafka'],
  ['bare-platformatic', '@platformatic/kafka, bare: its floor'],
  ['java', "Kafka's own tools (with the start of Java)"],
] as const;

/** The report for people. Medians of the rounds. */
export function formatKafkaReport({ figures, machine, settings }: KafkaReport): string {
  const value = (name: string): number | undefined => figures[name]?.median;
  const codecs = settings.compressions.flatMap((compression) =>
    ['kafkajs', 'platformatic'].map(
      (client) => [`codec-${compression}-${client}`, `${compression}, ${client}`] as const,
    ),
  );
  const work = (name: string): string[] => [
    whole(value(`${name}/produce/records_per_second`)),
    seconds(value(`${name}/produce/cpu_per_million`)),
    whole(value(`${name}/consume/records_per_second`)),
    seconds(value(`${name}/consume/cpu_per_million`)),
  ];
  const header = ['', 'produced/s', 'CPU s a million', 'read/s', 'CPU s a million'];
  return [
    `Millrace, the log in Apache Kafka: medians of ${settings.rounds} ${settings.rounds === 1 ? 'round' : 'interleaved rounds'}; ${whole(settings.records)} records of ${settings.recordBytes} B, ${settings.partitions} partitions, idempotent, acks=all, ${whole(settings.inFlight)} in flight; one broker; ${machine.cores} cores (${machine.cpu}), Node ${machine.node}`,
    settings.pinned
      ? 'Who produces or reads runs on one core, the broker on another. CPU is that of the producing or reading process.'
      : 'Cores are NOT SEPARATED.',
    '',
    table([header, ...SUBJECTS.map(([name, label]) => [label, ...work(name)])]),
    ...(settings.perSecond === 0
      ? []
      : [
          `\nAcknowledgement at ${whole(settings.perSecond)} records/s, open loop, from when a record was due`,
          table([
            ['', 'p50', 'p99', 'cores'],
            ...SUBJECTS.filter(([name]) => value(`${name}/open/ack_p50`) !== undefined).map(([name, label]) => [
              label,
              ms(value(`${name}/open/ack_p50`)),
              ms(value(`${name}/open/ack_p99`)),
              (value(`${name}/open/cores`) ?? 0).toFixed(2),
            ]),
          ]),
        ]),
    ...(codecs.length === 0
      ? []
      : [
          "\nCompression, through the log; bytes on the broker's disk",
          table([
            [...header, 'bytes a record'],
            ...codecs.map(([name, label]) => [label, ...work(name), whole(value(`${name}/disk`))]),
          ]),
        ]),
    '',
  ].join('\n');
}

const whole = (found: number | undefined): string =>
  found === undefined ? '–' : Math.round(found).toLocaleString('en-US');
const seconds = (found: number | undefined): string => (found === undefined ? '–' : found.toFixed(2));
const ms = (found: number | undefined): string => (found === undefined ? '–' : `${found.toFixed(1)} ms`);
