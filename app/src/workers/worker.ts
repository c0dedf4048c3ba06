import type { Socket } from 'node:net';
import { Assembly, createMetrics, type Logger, MillraceError, measureProcess } from '@millrace/core';
import { openLog, sharedLog } from '@millrace/log';
import { largeBodies } from '@millrace/registry';
import { startAuthority } from '../authority.ts';
import { startDelivery, startHttp, startLive } from '../ingress.ts';
import { createLogger } from '../log-output.ts';
import { messagesTopic } from '../messages-topic.ts';
import { askThrough, relay } from './relay.ts';
import { TakenConnections } from './taken.ts';
import type { Order, Question, Report, WorkerStart } from './words.ts';

const REPORT_EVERY_MS = 250;

/** The program of a worker: ingress only, told by the main process what to do. It ends with that.  @source ADR 0025 */
export function runWorker(): void {
  // Signals of a terminal or a service manager reach all processes of a group: the main process says when to end.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {});
  process.once('disconnect', () => process.exit(0));
  process.once('message', (order: Order) => {
    if (order.kind === 'start') void begin(order.start);
  });
}

function say(report: Report): void {
  // Where the main process is gone, the end of the channel says so: that it takes no report is no fault.
  if (process.connected) process.send?.(report, undefined, undefined, () => {});
}

async function begin(start: WorkerStart): Promise<void> {
  const logger = createLogger(start.config.node.MILLRACE_LOG_LEVEL).child({ worker: start.number });
  const fault = (error: unknown): void => {
    logger.fatal({ err: error }, 'a fault that nobody caught; the worker is started again');
    process.exit(1);
  };
  process.on('unhandledRejection', fault);
  process.on('uncaughtException', fault);
  const taken = new TakenConnections(start.ticketKeys);
  const assembly = new Assembly();
  let ingress: Awaited<ReturnType<typeof startIngress>> | null = null;
  const answer = async (what: Question): Promise<string> => {
    if (what === 'metrics') return (await ingress?.metrics.registry.metrics()) ?? '';
    await ingress?.registry.current();
    return '';
  };
  process.on('message', (order: Order, socket: Socket | undefined) => {
    if (order.kind === 'connection') {
      // First: whoever has said so and dies leaves nobody with a connection that is served twice.
      say({ kind: 'took', id: order.id });
      if (socket !== undefined) taken.give(order.listener, socket);
    } else if (order.kind === 'ask') {
      const { id, what } = order;
      answer(what).then((text) => say({ kind: 'told', id, text }), fault);
    } else if (order.kind === 'drain') {
      // Whoever is still starting has nothing to finish.
      if (ingress === null) process.exit(0);
      void end(assembly, order.deadlineMs, logger);
    }
  });
  try {
    ingress = await startIngress(start, assembly, taken, logger);
    setInterval(() => say({ kind: 'load', open: taken.open }), REPORT_EVERY_MS);
    say({ kind: 'ready' });
  } catch (error) {
    logger.error({ err: error }, 'the worker can not start');
    const problem = error instanceof MillraceError ? (error.facts.problem ?? error.message) : error;
    process.send?.({ kind: 'failed', problem: String(problem) } satisfies Report, () => process.exit(1));
  }
}

async function startIngress(start: WorkerStart, assembly: Assembly, handed: TakenConnections, logger: Logger) {
  const { config, secret } = start;
  const metrics = createMetrics();
  measureProcess(metrics);
  metrics.registry.setDefaultLabels({ worker: String(start.number) });
  const tools = { logger, metrics };
  const engine =
    start.logPath === null
      ? openLog(config.log, { directory: start.directory, ...tools })
      : sharedLog({
          path: start.logPath,
          pendingBytesMax: config.log.MILLRACE_LOG_PENDING_BYTES_MAX,
          // Whether they are on the log is not known: publishes that are unanswered stay so.
          onLost: () => process.exit(0),
          ...tools,
        });
  const log = await assembly.start(messagesTopic(engine, config.log));
  const { registry, gate } = await startAuthority(config, assembly, {
    url: start.postgresUrl,
    connectionsMax: start.connectionsMax,
    secret,
    directory: start.directory,
    ingressOnly: true,
    tools,
  });
  const parts = { registry, gate, log, tools };
  const delivery = await startDelivery(config, assembly, parts);
  const live = await startLive(config, assembly, {
    ...parts,
    delivery,
    questions: askThrough(start.relayPath),
    handed,
  });
  const natives = [live.native, relay(start.relayPath)];
  await startHttp(config, assembly, { ...parts, natives, largeBodies, handed });
  return { metrics, registry };
}

async function end(assembly: Assembly, deadlineMs: number, logger: Logger): Promise<void> {
  const late = await assembly.drain(deadlineMs);
  for (const { name, error } of late) logger.error({ component: name, err: error }, 'drain');
  await assembly.stop();
  process.exit(0);
}
