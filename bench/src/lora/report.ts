import { fileURLToPath } from 'node:url';
import type { Figures } from '../figures.ts';
import type { Machine } from '../report.ts';
import { table } from '../table.ts';

/** What `bench road --lora` writes to bench/results. */
export interface LoraReport {
  readonly format: 1;
  readonly benchmark: 'road-lora';
  readonly date: string;
  readonly machine: Machine;
  readonly settings: {
    readonly rounds: number;
    readonly events: number;
    readonly devices: number;
    readonly pinned: boolean;
    readonly environment: Readonly<Record<string, string>>;
  };
  readonly figures: Figures;
}

export function loraResultFile(date: string): string {
  return fileURLToPath(new URL(`../../results/${date.slice(0, 10)}-road-lora.json`, import.meta.url));
}

const ROWS = [
  ['floor', 'MQTT.js and JSON.parse, nothing kept: the floor'],
  ['millrace', 'Millrace, ingest and registry: two durable messages each'],
  ['millrace-all', 'Millrace, all roles: stored as well'],
] as const;

/** The report for people. Medians of the rounds. */
export function formatLoraReport({ figures, machine, settings }: LoraReport): string {
  const floor = figures['floor/events_per_second']?.median;
  return [
    `Millrace, the road by LoRaWAN: medians of ${settings.rounds} ${settings.rounds === 1 ? 'round' : 'interleaved rounds'}; bursts of ${whole(settings.events)} uplinks of ${whole(settings.devices)} devices through mosquitto, QoS 1; ${machine.cores} cores (${machine.cpu}), Node ${machine.node}`,
    settings.pinned
      ? 'Who takes the events runs on one core, broker and generator on another.'
      : 'Cores are NOT SEPARATED.',
    '',
    table([
      ['', 'events/s', 'to the floor', 'memory (PSS)'],
      ...ROWS.filter(([name]) => figures[`${name}/events_per_second`] !== undefined).map(([name, label]) => {
        const found = figures[`${name}/events_per_second`]?.median ?? 0;
        const memory = figures[`${name}/memory_pss`]?.median;
        return [
          label,
          whole(found),
          floor === undefined ? '–' : (found / floor).toFixed(2),
          memory === undefined ? '' : `${whole(memory)} MiB`,
        ];
      }),
    ]),
    '',
  ].join('\n');
}

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
