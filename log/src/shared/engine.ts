import { createConnection } from 'node:net';
import {
  type Component,
  type Log,
  type LogEngine,
  LogError,
  type Logger,
  type Metrics,
  type TopicOptions,
} from '@millrace/core';
import { Line } from './line.ts';
import { SharedTopic } from './topic.ts';

export interface SharedLogOptions {
  /** Where `serveLog` listens. */
  readonly path: string;
  /** Appended by this process and not durable yet. */
  readonly pendingBytesMax: number;
  /** The process that has the log is gone. Called once, before those who wait hear of it. */
  readonly onLost?: () => void;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

/** The embedded log of another process of this machine, through its socket.
 *  @throws LogError LOG_UNREACHABLE: nobody listens  @source ADR 0025 */
export function sharedLog(options: SharedLogOptions): Component<LogEngine> {
  return {
    name: 'log',
    async start() {
      const engine = new SharedEngine(options, await connect(options));
      return {
        value: engine as LogEngine,
        drain: (deadlineMs) => engine.drain(deadlineMs),
        stop: async () => engine.stop(),
      };
    },
  };
}

async function connect({ path, pendingBytesMax, onLost, metrics }: SharedLogOptions): Promise<Line> {
  const socket = createConnection(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause) => reject(new LogError('LOG_UNREACHABLE', 'later', { path }, { cause })));
  });
  const refused = metrics.counter('millrace_log_refused_total', 'Records refused, by reason.', ['reason']);
  const line = new Line(socket, pendingBytesMax, (reason) => refused.inc({ reason }), onLost);
  metrics.gauge('millrace_log_pending_bytes', 'Appended and not durable yet.', [], (gauge) =>
    gauge.set(line.pendingBytes),
  );
  return line;
}

class SharedEngine implements LogEngine {
  readonly name = 'embedded';
  readonly #line: Line;
  readonly #logger: Logger;
  readonly #topics = new Map<string, Promise<Log>>();

  constructor({ logger }: SharedLogOptions, line: Line) {
    this.#logger = logger;
    this.#line = line;
  }

  topic(options: TopicOptions): Promise<Log> {
    let opening = this.#topics.get(options.topic);
    if (opening === undefined) {
      opening = SharedTopic.open(this.#line, options, this.#logger);
      this.#topics.set(options.topic, opening);
      opening.catch(() => this.#topics.delete(options.topic));
    }
    return opening;
  }

  async health(): Promise<string | null> {
    try {
      return (await this.#line.call('health')) as string | null;
    } catch (error) {
      return (error as Error).message;
    }
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#line.closing = true;
    const end = performance.now() + deadlineMs;
    while (this.#line.pendingBytes > 0 && performance.now() < end) await new Promise((turn) => setTimeout(turn, 5));
  }

  stop(): void {
    this.#line.end();
  }
}
