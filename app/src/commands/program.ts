import { Command, Option } from 'commander';
import { VERSION } from '../version.ts';
import { backup } from './backup/command.ts';
import { registerComplete, registerCompletion } from './control/completion.ts';
import { EXIT_CODES } from './control/failure.ts';
import { registerControl } from './control/index.ts';
import { registerCommand } from './control/register.ts';
import type { Flags } from './flags.ts';

const EXAMPLES = `
Examples:
  millrace start                                   everything on this machine, data in ./data
  millrace start --data-dir /var/lib/millrace      data somewhere else
  MILLRACE_KAFKA_BROKERS=k1:9092,k2:9092 \\
  MILLRACE_CLICKHOUSE_URL=http://ch:8123 \\
  MILLRACE_POSTGRES_URL=postgres://millrace@pg/millrace \\
    millrace start --roles ingest,processors       one node of a cluster
  millrace demo                                    20 simulated devices against a running node
  millrace doctor                                  what is wrong on this machine, and what to do
  millrace bench road                              measure this machine, beside its floors
  millrace bench bridge --quick                    the same for MQTT, beside mosquitto
  millrace bench gate --quick                      the same for decisions: who may
  millrace bench kafka --quick                     the same for the log in Kafka
  millrace bench soak                              30 minutes under load: does anything grow?
  millrace bench small --quick                     what a node takes with MILLRACE_PROFILE=small
  millrace login --local                           as the administrator of the node on this machine
  millrace things create --name thermometer        then: millrace things --help
  millrace subscribe kitchen                       messages as they come
  millrace apply -f org.yaml --dry-run             what a manifest would change
  millrace backup --local /srv/backups/monday      everything that there is; millrace restore brings it back

Exit codes:
${Object.entries(EXIT_CODES)
  .map(([code, meaning]) => `  ${code}  ${meaning}`)
  .join('\n')}

Settings come from the environment (MILLRACE_…), then from millrace.toml; docs/configuration.md lists them.`;

/** What the shell is told of a wrong command line. */
const USAGE = 2;

/** The `millrace` command. Each subcommand is loaded when it is called, so \`--help\` is instant. */
export function createProgram(): Command {
  const program = createCommands();
  registerComplete(program, createCommands);
  return program;
}

function createCommands(): Command {
  const program = new Command('millrace')
    .description('IoT data platform: devices in, a durable log, readings in ClickHouse, answers by REST.')
    .version(VERSION, '-V, --version')
    .showHelpAfterError('(millrace --help shows what there is)')
    .addHelpText('after', EXAMPLES)
    .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : USAGE))
    .commandsGroup('On this machine:');

  program
    .command('start')
    .description('start a node; without settings: every role and every engine on this machine')
    .option('-d, --data-dir <path>', 'where everything embedded lives (MILLRACE_DATA_DIR, default ./data)')
    .option('--host <address>', 'address that all listeners bind (MILLRACE_HOST, default 127.0.0.1)')
    .option('-p, --http-port <port>', 'HTTP port, 0 for any free one (MILLRACE_HTTP_PORT, default 8080)')
    .option('--mqtt-port <port>', 'MQTT port, the same (MILLRACE_MQTT_PORT, default 1883)')
    .option('--coap-port <port>', 'CoAP port (UDP), the same (MILLRACE_COAP_PORT, default 5683)')
    .option('--roles <roles>', 'ingest,processors,registry (MILLRACE_ROLES, default all)')
    .option('--workers <count>', 'processes of ingress behind the same ports, or auto (MILLRACE_WORKERS, default 0)')
    .option('--log-level <level>', 'trace, debug, info, warn, error (MILLRACE_LOG_LEVEL)')
    .action(guarded(async (flags) => (await import('./start.ts')).start(flags)));

  program
    .command('demo')
    .description('simulate devices with believable signals until stopped')
    .option('--lora', 'simulate a ChirpStack with its sensors, whose events the node takes from its broker')
    .option('-n, --devices <count>', 'how many devices (20; with --lora 50)')
    .option('-i, --interval <seconds>', 'seconds between two messages of a device (1; with --lora 10)')
    .option('-d, --data-dir <path>', 'data directory of the running node (MILLRACE_DATA_DIR, default ./data)')
    .option('--url <url>', 'another node: its HTTP address')
    .option('--email <email>', 'user to log in as (default: the first administrator)')
    .addOption(new Option('--password <password>', 'its password').env('MILLRACE_ADMIN_PASSWORD'))
    .action(guarded(async (flags) => (await import('./demo/demo.ts')).demo(flags)));

  program
    .command('bench')
    .description(
      'measure this machine beside floors in the same run: the main road, MQTT beside mosquitto, the gate, Kafka, a soak, or the small profile',
    )
    .argument(
      '[what]',
      'road: HTTP in, readings stored; bridge: MQTT in and out; gate: decisions; kafka: the log in Kafka; soak: what grows under load; small: memory with MILLRACE_PROFILE=small',
      'road',
    )
    .option('--quick', 'one short round instead of three')
    .option('--coap', 'road: devices by CoAP and CoAPS')
    .option('--lora', 'road: events of a network server')
    .option('--soak <minutes>', 'road: also load for so long and watch the memory')
    .option('--minutes <minutes>', 'soak: how long (30)')
    .option('--json <file>', 'where to write the figures')
    .action(guarded(async (flags, what) => (await import('./bench.ts')).bench(String(what), flags)));

  program
    .command('doctor')
    .description('check Node, native modules, ports, data directory and engines, and say what to do')
    .option('-d, --data-dir <path>', 'data directory (MILLRACE_DATA_DIR, default ./data)')
    .action(guarded(async (flags) => (await import('./doctor.ts')).doctor(flags)));

  program
    .command('docs', { hidden: true })
    .description('write docs/configuration.md, docs/http-api.md and docs/cli.md')
    .argument('[directory]', 'where to', 'docs')
    .action(guarded(async (_flags, directory) => (await import('./docs.ts')).writeDocs(String(directory), program)));

  for (const command of backup) registerCommand(program, command);
  registerControl(program);
  program.commandsGroup('For the shell:');
  registerCompletion(program);
  return program;
}

/** Runs an action; what the person can mend is told in one line each, without a stack. */
function guarded(action: (flags: Flags, argument?: string) => Promise<void>) {
  return async (...parameters: unknown[]): Promise<void> => {
    // commander: [argument], options, command
    const flags = parameters.at(-2) as Flags;
    const argument = parameters.length === 3 ? (parameters[0] as string) : undefined;
    try {
      await action(flags, argument);
    } catch (error) {
      process.stderr.write((await import('./flags.ts')).explain(error));
      process.exitCode = 1;
    }
  };
}
