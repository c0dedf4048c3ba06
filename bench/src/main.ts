import { parseArgs } from 'node:util';
import { MillraceError } from '@millrace/core';
import { runAsking, runFill } from './asking/asking.ts';
import { ASKING_FULL, ASKING_QUICK, type AskingOptions } from './asking/options.ts';
import { askingResultFile } from './asking/report.ts';
import { formatAskingReport } from './asking/table.ts';
import { runBridge } from './bridge/bridge.ts';
import { BRIDGE_FULL, BRIDGE_QUICK, type BridgeOptions } from './bridge/options.ts';
import { bridgeResultFile } from './bridge/report.ts';
import { formatBridgeReport } from './bridge/table.ts';
import { runCoapRoad } from './coap/coap.ts';
import { COAP_FULL, COAP_QUICK, type CoapRoadOptions } from './coap/options.ts';
import { coapResultFile } from './coap/report.ts';
import { formatCoapReport } from './coap/table.ts';
import { BenchError } from './errors.ts';
import { runGate } from './gate/gate.ts';
import { GATE_FULL, GATE_QUICK, type GateBenchOptions } from './gate/options.ts';
import { gateResultFile } from './gate/report.ts';
import { formatGateReport } from './gate/table.ts';
import { runKafka } from './kafka/kafka.ts';
import { KAFKA_FULL, KAFKA_QUICK, type KafkaBenchOptions } from './kafka/options.ts';
import { kafkaResultFile } from './kafka/report.ts';
import { formatKafkaReport } from './kafka/table.ts';
import { runLoraRoad } from './lora/lora.ts';
import { LORA_FULL, LORA_QUICK, type LoraRoadOptions } from './lora/options.ts';
import { formatLoraReport, loraResultFile } from './lora/report.ts';
import { defaultResultFile, writeReport } from './report.ts';
import { FULL, QUICK, type RoadOptions, runRoad } from './road.ts';
import { SMALL_FULL, SMALL_QUICK, type SmallOptions } from './small/options.ts';
import { smallResultFile } from './small/report.ts';
import { runSmall } from './small/small.ts';
import { formatSmallReport } from './small/table.ts';
import { SOAK_FULL, SOAK_QUICK, type SoakOptions } from './soak/options.ts';
import { soakResultFile } from './soak/report.ts';
import { runSoak } from './soak/soak.ts';
import { formatSoakReport } from './soak/table.ts';
import { formatReport } from './table.ts';

const HELP = `Measures the product beside its floors, in the same run.

  node bench/dist/main.js road [options]      the main road: HTTP in, readings stored
  node bench/dist/main.js road --coap         devices by CoAP and CoAPS, and those that observe
  node bench/dist/main.js road --lora         events of a network server's broker (needs mosquitto)
  node bench/dist/main.js bridge [options]    MQTT in and out, beside mosquitto and the bare library
  node bench/dist/main.js gate [options]      decisions: warm, cold before a million policies, memory
  node bench/dist/main.js kafka [options]     the log in Apache Kafka, beside the bare clients (needs java and mvn)
  node bench/dist/main.js soak [options]      70 % of what a node takes, by all protocols, for 30 minutes: what grows?
  node bench/dist/main.js small [options]     memory with MILLRACE_PROFILE=small at 500 messages/s, HTTP and MQTT
  node bench/dist/main.js fill [options]      a data directory with 100 million readings, made the same everywhere
  node bench/dist/main.js ask [options]       twelve typical questions over it, beside plain SQL on the engine itself

All:
  --quick            one short round, about 90 s (bridge: 5 min, kafka: 4 min); default: 3 rounds, under 8 min
                     (bridge, kafka: 20 min); small: 60 s instead of 180;
                     soak: 3 minutes instead of 30
  --rounds N         interleaved rounds (small and soak have none)
  --json FILE        where the figures go (bench/results/<date>.json, bench/results/<date>-<benchmark>.json)

road and bridge:
  --seconds N        length of the main closed loop
  --connections N    connections of the load generator (road 256, bridge 50)
  --floors-only      leave the product out

road:
  --channels N       channels, each with a thing of its own (32)
  --soak MINUTES     afterwards, load for so long and watch the memory (also --coap)

road --coap:
  --connections N    devices, each with one request in flight (128)
  --observers N      observers of one channel (1,000)

road --lora:
  --events N         uplinks in a burst (100,000; --quick 40,000)

bridge:
  --idle N           idle connections (10,000; the generator and the server each need as many open files)

gate:
  --policies N       policies in the database (1,000,000; --quick 100,000)

soak: ends with 1 if something grows, or something acknowledged is not stored
  --minutes N        length of the load (30)
  --channels N       channels, each with a thing of its own (16)

small:
  --seconds N        length of the load (180)
  --channels N       channels, each with a thing of its own (20)
  --usual            without the profile, to compare

kafka:
  --records N        produced and read back by each (400,000; --quick 150,000)

fill and ask:
  --readings N       of about 10,000 series at 100,000,000 (--quick 2,000,000: some 5 million, of fewer series)
  --directory DIR    where they are kept and found again; ask without one fills its own (10 minutes) and removes it

The table goes to standard output, progress to standard error. MILLRACE_… settings reach the product:
  MILLRACE_LOG_DURABILITY=commit node bench/dist/main.js road --quick
`;

/** Options that a benchmark has beside --quick and --json. */
const OPTIONS_OF = {
  road: ['rounds', 'seconds', 'connections', 'channels', 'soak', 'floors-only', 'coap', 'lora'],
  'road --coap': ['rounds', 'seconds', 'connections', 'channels', 'observers', 'soak', 'floors-only', 'coap'],
  'road --lora': ['rounds', 'events', 'floors-only', 'lora'],
  bridge: ['rounds', 'seconds', 'connections', 'idle', 'floors-only'],
  gate: ['rounds', 'policies'],
  kafka: ['rounds', 'records'],
  soak: ['minutes', 'channels'],
  small: ['seconds', 'channels', 'usual'],
  fill: ['readings', 'directory'],
  ask: ['readings', 'directory', 'rounds'],
} as const;

const BENCHMARKS = ['road', 'bridge', 'gate', 'kafka', 'soak', 'small', 'fill', 'ask'] as const;
const isBenchmark = (name: string | undefined): name is (typeof BENCHMARKS)[number] =>
  (BENCHMARKS as readonly (string | undefined)[]).includes(name);

/** A benchmark with its options, ready to run. */
interface Chosen {
  readonly json: string | undefined;
  run(
    signal: AbortSignal,
    progress: (line: string) => void,
  ): Promise<{ report: { date: string }; text: string; failed?: boolean }>;
  file(date: string): string;
}

function readOptions(args: readonly string[]): Chosen | null {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string' },
      channels: { type: 'string' },
      soak: { type: 'string' },
      minutes: { type: 'string' },
      idle: { type: 'string' },
      policies: { type: 'string' },
      coap: { type: 'boolean', default: false },
      lora: { type: 'boolean', default: false },
      observers: { type: 'string' },
      events: { type: 'string' },
      records: { type: 'string' },
      readings: { type: 'string' },
      directory: { type: 'string' },
      'floors-only': { type: 'boolean', default: false },
      usual: { type: 'boolean', default: false },
      json: { type: 'string' },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) return null;
  const [what] = positionals;
  if (positionals.length !== 1 || !isBenchmark(what)) {
    throw new BenchError('USAGE', 'never', {
      problem: `the benchmarks are ${BENCHMARKS.join(', ')}; got "${positionals.join(' ')}"`,
    });
  }
  const chosen = what !== 'road' ? what : values.coap ? 'road --coap' : values.lora ? 'road --lora' : what;
  const own: readonly string[] = ['quick', 'json', 'help', ...OPTIONS_OF[chosen]];
  for (const [name, value] of Object.entries(values)) {
    if (value !== false && !own.includes(name)) {
      throw new BenchError('USAGE', 'never', { problem: `--${name} is no option of ${chosen}` });
    }
  }
  type NumberName =
    | 'rounds'
    | 'seconds'
    | 'connections'
    | 'channels'
    | 'soak'
    | 'minutes'
    | 'idle'
    | 'policies'
    | 'observers'
    | 'events'
    | 'records'
    | 'readings';
  const number = (name: NumberName, otherwise: number, max: number) => {
    const text = values[name];
    if (text === undefined) return otherwise;
    const value = Number(text);
    if (!(value > 0 && value <= max) || (name !== 'soak' && name !== 'minutes' && !Number.isInteger(value))) {
      throw new BenchError('USAGE', 'never', { problem: `--${name} must be a number from 1 to ${max}; got "${text}"` });
    }
    return value;
  };
  const chosenAs = <Report extends { date: string }>(
    file: (date: string) => string,
    measure: (signal: AbortSignal, progress: (line: string) => void) => Promise<Report>,
    format: (report: Report) => string,
    hasFailed: (report: Report) => boolean = () => false,
  ): Chosen => ({
    json: values.json,
    file,
    async run(signal, progress) {
      const report = await measure(signal, progress);
      return { report, text: format(report), failed: hasFailed(report) };
    },
  });
  if (what === 'fill' || what === 'ask') {
    const base = values.quick ? ASKING_QUICK : ASKING_FULL;
    const options: AskingOptions = {
      ...base,
      readings: number('readings', base.readings, 10_000_000_000),
      directory: values.directory ?? null,
      rounds: number('rounds', base.rounds, 100),
    };
    const run = what === 'fill' ? runFill : runAsking;
    return chosenAs(askingResultFile, (signal, progress) => run({ ...options, signal }, progress), formatAskingReport);
  }
  if (what === 'gate') {
    const base = values.quick ? GATE_QUICK : GATE_FULL;
    const options: GateBenchOptions = {
      ...base,
      rounds: number('rounds', base.rounds, 100),
      policies: number('policies', base.policies, 10_000_000),
    };
    return chosenAs(gateResultFile, (signal, progress) => runGate({ ...options, signal }, progress), formatGateReport);
  }
  if (what === 'soak') {
    const base = values.quick ? SOAK_QUICK : SOAK_FULL;
    const options: SoakOptions = {
      ...base,
      minutes: number('minutes', base.minutes, 10_080),
      channels: number('channels', base.channels, 1_000),
    };
    return chosenAs(
      soakResultFile,
      (signal, progress) => runSoak({ ...options, signal }, progress),
      formatSoakReport,
      ({ problems }) => problems.length > 0,
    );
  }
  if (what === 'small') {
    const base = values.quick ? SMALL_QUICK : SMALL_FULL;
    const options: SmallOptions = {
      ...base,
      profile: values.usual ? 'usual' : 'small',
      seconds: number('seconds', base.seconds, 3_600),
      channels: number('channels', base.channels, 1_000),
    };
    return chosenAs(
      smallResultFile,
      (signal, progress) => runSmall({ ...options, signal }, progress),
      formatSmallReport,
    );
  }
  if (what === 'kafka') {
    const base = values.quick ? KAFKA_QUICK : KAFKA_FULL;
    const options: KafkaBenchOptions = {
      ...base,
      rounds: number('rounds', base.rounds, 100),
      records: number('records', base.records, 100_000_000),
    };
    return chosenAs(
      kafkaResultFile,
      (signal, progress) => runKafka({ ...options, signal }, progress),
      formatKafkaReport,
    );
  }
  if (what === 'bridge') {
    const base = values.quick ? BRIDGE_QUICK : BRIDGE_FULL;
    const options: BridgeOptions = {
      ...base,
      rounds: number('rounds', base.rounds, 100),
      seconds: number('seconds', base.seconds, 60),
      connections: number('connections', base.connections, 200),
      idleConnections: number('idle', base.idleConnections, 100_000),
      brokers: base.brokers.filter((name) => !values['floors-only'] || !name.startsWith('millrace')),
    };
    return chosenAs(
      bridgeResultFile,
      (signal, progress) => runBridge({ ...options, signal }, progress),
      formatBridgeReport,
    );
  }
  if (chosen === 'road --coap') {
    const base = values.quick ? COAP_QUICK : COAP_FULL;
    const options: CoapRoadOptions = {
      ...base,
      rounds: number('rounds', base.rounds, 100),
      seconds: number('seconds', base.seconds, 600),
      clients: number('connections', base.clients, 2_000),
      channels: number('channels', base.channels, 10_000),
      observers: number('observers', base.observers, 10_000),
      soakMinutes: number('soak', 0, 10_080),
      product: !values['floors-only'],
    };
    return chosenAs(
      coapResultFile,
      (signal, progress) => runCoapRoad({ ...options, signal }, progress),
      formatCoapReport,
    );
  }
  if (chosen === 'road --lora') {
    const base = values.quick ? LORA_QUICK : LORA_FULL;
    const options: LoraRoadOptions = {
      ...base,
      rounds: number('rounds', base.rounds, 100),
      events: number('events', base.events, 10_000_000),
      product: !values['floors-only'],
    };
    return chosenAs(
      loraResultFile,
      (signal, progress) => runLoraRoad({ ...options, signal }, progress),
      formatLoraReport,
    );
  }
  const base = values.quick ? QUICK : FULL;
  const options: RoadOptions = {
    ...base,
    rounds: number('rounds', base.rounds, 100),
    seconds: number('seconds', base.seconds, 600),
    connections: number('connections', base.connections, 10_000),
    channels: number('channels', base.channels, 10_000),
    soakMinutes: number('soak', 0, 10_080),
    product: !values['floors-only'],
  };
  return chosenAs(defaultResultFile, (signal, progress) => runRoad({ ...options, signal }, progress), formatReport);
}

async function main(): Promise<void> {
  const chosen = readOptions(process.argv.slice(2));
  if (chosen === null) {
    process.stdout.write(HELP);
    return;
  }
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => stop.abort(new BenchError('INTERRUPTED', 'now', { signal })));
  }
  const start = performance.now();
  const {
    report,
    text,
    failed = false,
  } = await chosen.run(stop.signal, (line) => {
    process.stderr.write(`[${((performance.now() - start) / 1_000).toFixed(0).padStart(4)} s] ${line}\n`);
  });
  const file = chosen.json ?? chosen.file(report.date);
  await writeReport(report, file);
  process.stdout.write(`${text}\n`);
  process.stderr.write(`figures written to ${file}\n`);
  if (failed) process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  const told = error instanceof MillraceError ? error.message : error instanceof Error ? error.stack : String(error);
  const usage = error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
  process.stderr.write(`millrace bench: ${usage ? (error as Error).message : told}\n`);
  if (usage || (error instanceof BenchError && error.code === 'USAGE')) process.stderr.write(`\n${HELP}`);
  process.exitCode = 1;
}
