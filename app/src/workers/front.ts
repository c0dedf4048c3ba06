import type { Assembly, HttpHandler, LogEngine, Logger, Metrics } from '@millrace/core';
import { httpServer, mqttPorts, type NativeHandler } from '@millrace/ingest';
import { serveLog } from '@millrace/log';
import { type HealthCheck, largeBodies, type Registry } from '@millrace/registry';
import { type Config, SetupError } from '../config.ts';
import type { DataDirectory } from '../data-directory.ts';
import type { GatheredMetrics } from './gathered-metrics.ts';
import { readClient } from './relayed-client.ts';
import { type RunningWorkers, workers } from './workers.ts';

/** sun_path has 104 bytes on macOS, 108 on Linux; longer names are cut without a word. */
const SOCKET_PATH_BYTES_MAX = 103;
/** Workers keep their connections for less: none sends a request on one that is being closed. */
const RELAY_IDLE_MS_MAX = 120_000;
const WORKER_CONNECTIONS_MAX = 4;
/** What a worker's registry opens beside its pool. */
const LISTENING_CONNECTIONS = 2;

export interface FrontParts {
  readonly count: number;
  readonly directory: DataDirectory;
  readonly postgresUrl: string;
  readonly engine: LogEngine;
  readonly registry: Registry;
  /** Answers what workers do not. */
  readonly handler: HttpHandler;
  readonly natives: readonly NativeHandler[];
  readonly healthChecks: HealthCheck[];
  readonly metrics: GatheredMetrics;
  readonly tools: { readonly logger: Logger; readonly metrics: Metrics };
}
export interface FrontAddresses {
  readonly http: string | null;
  readonly mqtt: string | null;
  readonly mqtts: string | null;
}

/** Connections to PostgreSQL that so many workers open beside those of the main process. */
export const workersConnections = (count: number): number => count * (WORKER_CONNECTIONS_MAX + LISTENING_CONNECTIONS);

/** Workers before this process: they let messages in and give them out, and pass everything else on to here.
 *  @source ADR 0025 */
export async function startFront(config: Config, assembly: Assembly, parts: FrontParts): Promise<FrontAddresses> {
  const { count, directory, postgresUrl, engine, registry, handler, natives, healthChecks, metrics, tools } = parts;
  const relayPath = socketPath(directory, 'relay.sock');
  const logPath = engine.name === 'embedded' ? socketPath(directory, 'log.sock') : null;
  if (logPath !== null) await assembly.start(serveLog({ engine, path: logPath, logger: tools.logger }));

  let running: RunningWorkers | null = null;
  const host = config.node.MILLRACE_HOST;
  await assembly.start(
    httpServer({
      config: { ...config.http, MILLRACE_HTTP_IDLE_MS_MAX: RELAY_IDLE_MS_MAX },
      host,
      port: 0,
      path: relayPath,
      asks: readClient,
      natives,
      // What a client has changed holds for its next request, whichever worker that meets.
      fallback: async (request, peer) => {
        const before = registry.directory.version;
        const response = await handler(request, peer);
        if (registry.directory.version !== before) await running?.current();
        return response;
      },
      largeBodies,
      ...tools,
    }),
  );
  const { plain, secure } = mqttPorts(config.mqtt);
  running = await assembly.start(
    workers({
      count,
      start: {
        config: sharedOut(config, count),
        secret: directory.secret,
        directory: directory.path,
        postgresUrl,
        connectionsMax: Math.min(config.registry.MILLRACE_POSTGRES_CONNECTIONS_MAX, WORKER_CONNECTIONS_MAX),
        logPath,
        relayPath,
      },
      host,
      listeners: { http: config.node.MILLRACE_HTTP_PORT, mqtt: plain, mqtts: secure },
      ...tools,
    }),
  );
  const { ports, health, texts } = running;
  healthChecks.push({ name: 'workers', check: health });
  metrics.others = texts;
  const scheme = config.http.MILLRACE_HTTP_TLS_CERT === '' ? 'http' : 'https';
  const url = (name: string, port: number | undefined): string | null =>
    port === undefined ? null : `${name}://${host.includes(':') ? `[${host}]` : host}:${port}`;
  return { http: url(scheme, ports.http), mqtt: url('mqtt', ports.mqtt), mqtts: url('mqtts', ports.mqtts) };
}

/** Limits of the node's connections hold for all workers together: each new one goes to who has the fewest. */
function sharedOut(config: Config, count: number): Config {
  const share = (limit: number): number => Math.ceil(limit / count);
  return {
    ...config,
    http: { ...config.http, MILLRACE_HTTP_CONNECTIONS_MAX: share(config.http.MILLRACE_HTTP_CONNECTIONS_MAX) },
    mqtt: { ...config.mqtt, MILLRACE_MQTT_CONNECTIONS_MAX: share(config.mqtt.MILLRACE_MQTT_CONNECTIONS_MAX) },
  };
}

/** @throws SetupError */
function socketPath(directory: DataDirectory, name: string): string {
  const path = directory.file('run', name);
  const bytes = Buffer.byteLength(path);
  if (bytes <= SOCKET_PATH_BYTES_MAX) return path;
  throw new SetupError('SETUP_INVALID', 'never', {
    problem: `with --workers, ${path} must have at most ${SOCKET_PATH_BYTES_MAX} bytes, not ${bytes}: choose a data directory with a shorter path`,
  });
}
