import type { Assembly, Delivery, Gate, HttpHandler, Log, LogEngine, Logger, Metrics } from '@millrace/core';
import {
  createDelivery,
  decisionServer,
  deliveryLimits,
  type HandedConnections,
  httpServer,
  liveServer,
  type MqttAddress,
  mqttServer,
  type NativeHandler,
} from '@millrace/ingest';
import type { Registry } from '@millrace/registry';
import type { Config } from './config.ts';
import { VERSION } from './version.ts';

export interface IngressParts {
  readonly registry: Registry;
  readonly gate: Gate;
  readonly log: { readonly engine: LogEngine; readonly messages: Log };
  readonly tools: { readonly logger: Logger; readonly metrics: Metrics };
}

/** The way back: from the log to those who subscribe. */
export async function startDelivery(config: Config, assembly: Assembly, parts: IngressParts): Promise<Delivery> {
  const { gate, log, tools } = parts;
  return assembly.start({
    name: 'ingest/delivery',
    async start() {
      const value = createDelivery({
        log: log.messages,
        gate,
        // Only we write to the embedded log.
        verify: log.engine.name !== 'embedded',
        limits: deliveryLimits(config.delivery),
        ...tools,
      });
      return { value, drain: (deadlineMs: number) => value.drain(deadlineMs), stop: () => value.stop() };
    },
  });
}

/** Those who take it: MQTT, WebSockets and event streams.
 *  @param handed where another process listens */
export async function startLive(
  config: Config,
  assembly: Assembly,
  parts: IngressParts & {
    readonly delivery: Delivery;
    /** Answers questions that stay open. */
    readonly questions: HttpHandler;
    readonly handed?: HandedConnections;
  },
): Promise<{ readonly mqtt: MqttAddress; readonly native: NativeHandler }> {
  const { registry, gate, log, delivery, questions, handed, tools } = parts;
  const shared = { log: log.messages, gate, delivery, audit: registry.audit, presence: registry.presence, ...tools };
  const mqtt = await assembly.start(
    mqttServer({
      ...shared,
      host: config.node.MILLRACE_HOST,
      ...(handed === undefined ? {} : { handed }),
      config: config.mqtt,
      sessions: registry.sessions,
      retained: registry.retained,
      clients: registry.clients,
      shareGroups: registry.shareGroups,
      version: VERSION,
    }),
  );
  const native = await assembly.start(
    liveServer({ ...shared, config: config.ws, corsOrigins: config.http.MILLRACE_HTTP_CORS_ORIGINS, mqtt, questions }),
  );
  return { mqtt, native };
}

/** What is published by HTTP, and everything else that is asked there.
 *  @param natives null: this node has not the role, and only the fallback answers
 *  @returns its URL; null: the listener is off */
export async function startHttp(
  config: Config,
  assembly: Assembly,
  parts: IngressParts & {
    readonly natives: readonly NativeHandler[] | null;
    readonly fallback?: HttpHandler;
    readonly largeBodies: ReadonlyMap<string, number>;
    readonly handed?: HandedConnections;
  },
): Promise<string | null> {
  const { registry, gate, log, natives, fallback, largeBodies, handed, tools } = parts;
  const { MILLRACE_HTTP_PORT: port, MILLRACE_HOST: host } = config.node;
  if (port === 'off') return null;
  const { url } = await assembly.start(
    httpServer({
      config: config.http,
      host,
      port,
      ...(handed === undefined ? {} : { handed }),
      ...(natives === null
        ? {}
        : {
            publish: { log: log.messages, gate, audit: registry.audit, presence: registry.presence },
            natives: [decisionServer({ gate, audit: registry.audit, ...tools }), ...natives],
          }),
      ...(fallback === undefined ? {} : { fallback }),
      largeBodies,
      ...tools,
    }),
  );
  return url;
}
