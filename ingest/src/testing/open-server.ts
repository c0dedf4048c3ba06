import { createLogger, createMetrics, type HttpHandler, type Log, type Metrics, readConfig } from '@millrace/core';
import { decisionServer } from '../decision/server.ts';
import { HttpIngestConfig } from '../http/config.ts';
import { httpServer } from '../http/server.ts';
import { TestGate } from './gate.ts';
import { MemoryLog } from './memory-log.ts';

export interface OpenServer {
  readonly port: number;
  readonly url: string;
  readonly log: MemoryLog;
  readonly gate: TestGate;
  readonly metrics: Metrics;
  drain(deadlineMs: number): Promise<void>;
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The HTTP ingress on a free port, over a log in memory and a gate that knows one thing. */
export async function openServer(
  settings: Readonly<Record<string, string>> = {},
  options: {
    readonly fallback?: HttpHandler;
    readonly largeBodies?: ReadonlyMap<string, number>;
    readonly publish?: false;
    /** Also serves decisions. */
    readonly decisions?: true;
    readonly port?: number;
    readonly metrics?: Metrics;
  } = {},
): Promise<OpenServer> {
  const log = new MemoryLog();
  const gate = new TestGate();
  const metrics = options.metrics ?? createMetrics();
  const { fallback, largeBodies } = options;
  const started = await httpServer({
    host: '127.0.0.1',
    port: options.port ?? 0,
    config: readConfig(HttpIngestConfig, settings),
    metrics,
    logger: createLogger({ level: 'silent' }),
    ...(options.publish === false ? {} : { publish: { log: log as unknown as Log, gate } }),
    ...(options.decisions === undefined
      ? {}
      : { natives: [decisionServer({ gate, metrics, logger: createLogger({ level: 'silent' }) })] }),
    ...(fallback === undefined ? {} : { fallback }),
    ...(largeBodies === undefined ? {} : { largeBodies }),
  }).start();
  return {
    ...started.value,
    log,
    gate,
    metrics,
    drain: (deadlineMs) => started.drain(deadlineMs),
    stop: () => started.stop(),
    [Symbol.asyncDispose]: () => started.stop(),
  };
}
