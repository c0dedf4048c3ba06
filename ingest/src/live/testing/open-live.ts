import { createLogger, createMetrics, type Log, type Metrics, partitionOf, readConfig } from '@millrace/core';
import { createDelivery } from '../../delivery/delivery.ts';
import { recordMaker } from '../../delivery/testing/stage.ts';
import { HttpIngestConfig } from '../../http/config.ts';
import { httpServer } from '../../http/server.ts';
import { CHANNEL, KEY } from '../../testing/gate.ts';
import { MemoryLog } from '../../testing/memory-log.ts';
import { WsIngestConfig } from '../../ws/config.ts';
import type { MqttOverWebSocket } from '../../ws/opener.ts';
import { liveServer } from '../server.ts';
import { LiveGate } from './live-gate.ts';

export interface OpenLive {
  readonly port: number;
  /** `http://…` */
  readonly url: string;
  /** `ws://…` */
  readonly wsUrl: string;
  readonly log: MemoryLog;
  readonly gate: LiveGate;
  readonly metrics: Metrics;
  /** Logged lines. */
  readonly logged: string[];
  /** Appends a message as another thing would. */
  append(text: string, subtopic?: string, channel?: string): void;
  drain(deadlineMs: number): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export const AUTH = { authorization: `Thing ${KEY}` };

/** HTTP, WebSocket and event streams on a free port, over a log in memory, a real delivery and a gate that knows one
 *  thing. */
export async function openLive(
  settings: Readonly<Record<string, string>> = {},
  options: { readonly mqtt?: MqttOverWebSocket } = {},
): Promise<OpenLive> {
  const log = new MemoryLog();
  const gate = new LiveGate();
  const metrics = createMetrics();
  const logged: string[] = [];
  const logger = createLogger({ level: 'trace', destination: { write: (line: string) => logged.push(line) } });
  const messages = log as unknown as Log;
  const delivery = createDelivery({
    log: messages,
    gate,
    metrics,
    logger,
    verify: false,
    limits: { patrolMs: 20, retryMsMin: 5, retryMsMax: 40 },
  });
  const live = await liveServer({
    config: readConfig(WsIngestConfig, settings),
    corsOrigins: settings.MILLRACE_HTTP_CORS_ORIGINS ?? '',
    log: messages,
    gate,
    delivery,
    metrics,
    logger,
    ...options,
  }).start();
  const http = await httpServer({
    host: '127.0.0.1',
    port: 0,
    config: readConfig(HttpIngestConfig, settings),
    metrics,
    logger,
    publish: { log: messages, gate },
    natives: [live.value],
  }).start();
  const encode = recordMaker();
  return {
    ...http.value,
    wsUrl: http.value.url.replace('http', 'ws'),
    log,
    gate,
    metrics,
    logged,
    append(text, subtopic = '', channel = CHANNEL) {
      const record = encode(channel, subtopic, text);
      log.append(partitionOf(Buffer.from(channel), log.partitionCount), channel, record, {
        appended() {},
        refused() {},
      });
    },
    drain: (deadlineMs) => http.drain(deadlineMs),
    async [Symbol.asyncDispose]() {
      await http.stop();
      await live.stop();
      await delivery.stop();
    },
  };
}
