import { type HttpHandler, type Logger, type Metrics, problem, type Started } from '@millrace/core';
import { httpServer } from '@millrace/ingest';
import type { Config } from './config.ts';

const RETRY_AFTER_S = '2';

/** Answers on the HTTP port while an engine that the node needs is away at the start: 503 with the reason, so that
 *  clients wait and operators see why, until the real listener takes over. */
export class WaitingRoom {
  readonly #config: Config;
  readonly #logger: Logger;
  readonly #metrics: Metrics;
  readonly #problems = new Map<string, string>();
  #listener: Promise<Started<unknown> | null> | null = null;

  constructor(config: Config, tools: { logger: Logger; metrics: Metrics }) {
    this.#config = config;
    this.#logger = tools.logger;
    this.#metrics = tools.metrics;
  }

  /** @param told what is missing, null once it is there */
  report(component: string, told: string | null): void {
    if (told === null) {
      this.#problems.delete(component);
      return;
    }
    this.#problems.set(component, told);
    this.#listener ??= this.#open();
  }

  /** Frees the port. */
  async close(): Promise<void> {
    const listener = await this.#listener;
    this.#listener = null;
    await listener?.stop();
  }

  async #open(): Promise<Started<unknown> | null> {
    const port = this.#config.node.MILLRACE_HTTP_PORT;
    if (port === 'off') return null;
    try {
      return await httpServer({
        config: this.#config.http,
        host: this.#config.node.MILLRACE_HOST,
        port,
        fallback: this.#answer,
        logger: this.#logger,
        metrics: this.#metrics,
      }).start();
    } catch (error) {
      this.#logger.warn({ err: error }, 'the HTTP port can not be opened while waiting');
      return null;
    }
  }

  readonly #answer: HttpHandler = (request) => {
    if (new URL(request.url).pathname === '/health/live') return Response.json({ status: 'pass' });
    const waiting = [...this.#problems].map(([component, told]) => `${component}: ${told}`).join('; ');
    return Response.json(problem(503, `The node is starting and waits for ${waiting}`), {
      status: 503,
      headers: { 'content-type': 'application/problem+json', 'retry-after': RETRY_AFTER_S },
    });
  };
}
