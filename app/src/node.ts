import {
  Assembly,
  type Component,
  createMetrics,
  type Delivery,
  type Gate,
  type Log,
  type LogEngine,
  type Logger,
  type Metrics,
  measureProcess,
} from '@millrace/core';
import {
  createDelivery,
  decisionServer,
  deliveryLimits,
  httpServer,
  liveServer,
  type MqttAddress,
  mqttServer,
  type NativeHandler,
} from '@millrace/ingest';
import { openLog } from '@millrace/log';
import { createCredentials, createGate, createSealer, gateLimits, generateSigningKey } from '@millrace/policy';
import { codecRunner, processors } from '@millrace/processors';
import {
  createControlPlane,
  type EmbeddedPostgres,
  embeddedPostgres,
  type HealthCheck,
  largeBodies,
  openRegistry,
  type Registry,
} from '@millrace/registry';
import { openStore } from '@millrace/storage';
import type { Config, Role } from './config.ts';
import { adminPassword, type DataDirectory } from './data-directory.ts';
import { type DeviceAddresses, NO_DEVICES, startDevices } from './devices.ts';
import { isLoopback } from './loopback.ts';
import { messagesTopic } from './messages-topic.ts';
import { patiently } from './patience.ts';
import { VERSION } from './version.ts';
import { WaitingRoom } from './waiting-room.ts';

const ENFORCER = import.meta.resolve('@millrace/policy/enforcer');

export interface RunningNode {
  /** URL of the HTTP listener; null when it is off. */
  readonly http: string | null;
  /** The same of MQTT, and of MQTT over TLS. */
  readonly mqtt: string | null;
  readonly mqtts: string | null;
  /** The same of what constrained devices speak. */
  readonly devices: DeviceAddresses;
  /** Set on the run that made the first administrator. */
  readonly admin: { readonly password: string } | null;
  readonly gettingStarted: { readonly key: string; readonly channel: string } | null;
  /** Finishes what was taken on and takes nothing new.  @returns what went wrong, by component */
  drain(deadlineMs: number): Promise<{ readonly name: string; readonly error: unknown }[]>;
  stop(): Promise<unknown>;
}

/** Wires the rooms into one node, back of the road first: engines, registry, gate, processors, listener.
 *  @throws MillraceError that no waiting mends, or whatever is missing when `signal` aborts */
export async function startNode(
  config: Config,
  directory: DataDirectory,
  options: { readonly logger: Logger; readonly signal: AbortSignal },
): Promise<RunningNode> {
  const { logger, signal } = options;
  const metrics = createMetrics();
  measureProcess(metrics);
  const tools = { logger, metrics };
  const has = (role: Role): boolean => config.node.MILLRACE_ROLES.includes(role);
  const assembly = new Assembly();
  const waitingRoom = new WaitingRoom(config, tools);
  const patient = <T>(component: Component<T>): Component<T> =>
    patiently(component, { logger, signal, waiting: (name, told) => waitingRoom.report(name, told) });

  try {
    const [log, store, database] = await assembly.startTogether([
      patient(messagesTopic(openLog(config.log, { directory: directory.file('log'), ...tools }), config.log)),
      patient(openStore(config.storage, { directory: directory.file('clickhouse'), ...tools })),
      postgres(config, directory, logger),
    ]);
    const password = adminPassword(directory, config.registry.MILLRACE_ADMIN_PASSWORD);
    const registry = await assembly.start(
      patient(
        openRegistry({
          url: database.url,
          connectionsMax: config.registry.MILLRACE_POSTGRES_CONNECTIONS_MAX,
          credentials: {
            create: (signingKeys) =>
              createCredentials({
                secret: directory.secret,
                signingKeys,
                hashesMax: config.policy.MILLRACE_POLICY_HASHES_MAX,
              }),
            generateSigningKey,
          },
          admin: { email: config.registry.MILLRACE_ADMIN_EMAIL, password },
          sessionsPerOwnerMax: config.registry.MILLRACE_MQTT_SESSIONS_PER_OWNER_MAX,
          retainedPerOrgMax: config.registry.MILLRACE_RETAINED_MESSAGES_MAX,
          sessionsKeptMs: config.mqtt.MILLRACE_MQTT_SESSION_EXPIRY_S * 1_000,
          config: config.registry,
          directory: directory.path,
          ...tools,
        }),
      ),
    );
    const gate = await assembly.start(
      component('policy', () =>
        createGate({
          directory: registry.directory,
          credentials: registry.credentials,
          sealer: createSealer(directory.secret),
          limits: gateLimits(config.policy),
          ...tools,
        }),
      ),
    );

    const healthChecks: HealthCheck[] = [
      { name: 'log', check: () => log.engine.health() },
      { name: 'postgres', check: () => database.health() },
    ];
    if (has('processors')) {
      const running = await assembly.start(
        processors({
          config: config.processors,
          log: log.messages,
          store,
          directory: registry.directory,
          enforcerUrl: ENFORCER,
          secret: directory.secret,
          ...tools,
        }),
      );
      healthChecks.push({ name: 'processors', check: () => running.health() });
    }

    // Its threads start when a codec is run.
    const codecs = await assembly.start(codecRunner(config.codecs, tools));

    await waitingRoom.close();
    const handler = createControlPlane({
      registry,
      gate,
      store,
      snapshots: store,
      log: log.messages,
      codecs,
      selfRegister: config.registry.MILLRACE_SELF_REGISTER ?? isLoopback(config.node.MILLRACE_HOST),
      healthChecks,
      platformOnly: !has('registry'),
      version: VERSION,
      ...tools,
    });
    const live = has('ingest') ? await startLive(config, assembly, { registry, gate, log, tools }) : null;
    const devices =
      live === null
        ? NO_DEVICES
        : await startDevices(config, assembly, {
            registry,
            gate,
            log: log.messages,
            alone: log.engine.name === 'embedded',
            store,
            delivery: live.delivery,
            directory,
            codecs,
            tools,
          });
    const port = config.node.MILLRACE_HTTP_PORT;
    const http =
      port === 'off'
        ? null
        : await assembly.start(
            httpServer({
              config: config.http,
              host: config.node.MILLRACE_HOST,
              port,
              ...(live === null
                ? {}
                : {
                    publish: { log: log.messages, gate, audit: registry.audit, presence: registry.presence },
                    natives: [
                      live.native,
                      ...devices.natives,
                      decisionServer({ gate, audit: registry.audit, ...tools }),
                    ],
                  }),
              fallback: handler,
              largeBodies: has('registry') ? largeBodies : new Map(),
              ...tools,
            }),
          );
    if (http !== null) registry.listensAt(http.url);
    // Drained before the listener: that waits for what is under way, and a request may wait a minute for a device.
    await assembly.start({
      name: 'registry/waiting',
      start: async () => ({
        value: null,
        drain: async () => registry.commands.answerNow(),
        stop: async () => registry.commands.answerNow(),
      }),
    });
    const started = has('registry') ? await registry.gettingStarted() : null;
    return {
      http: http?.url ?? null,
      mqtt: live?.mqtt.mqtt ?? null,
      mqtts: live?.mqtt.mqtts ?? null,
      devices: devices.addresses,
      admin: registry.firstRun === null || config.registry.MILLRACE_ADMIN_PASSWORD !== undefined ? null : { password },
      gettingStarted: started === null ? null : { key: started.key, channel: started.channelId },
      drain: (deadlineMs) => assembly.drain(deadlineMs),
      stop: () => assembly.stop(),
    };
  } catch (error) {
    await waitingRoom.close();
    await assembly.stop();
    throw error;
  }
}

/** The way back and those who take it: delivery, MQTT, WebSocket and event streams. */
async function startLive(
  config: Config,
  assembly: Assembly,
  parts: {
    readonly registry: Registry;
    readonly gate: Gate;
    readonly log: { readonly engine: LogEngine; readonly messages: Log };
    readonly tools: { readonly logger: Logger; readonly metrics: Metrics };
  },
): Promise<{ readonly mqtt: MqttAddress; readonly native: NativeHandler; readonly delivery: Delivery }> {
  const { registry, gate, log, tools } = parts;
  const delivery = await assembly.start({
    name: 'ingest/delivery',
    async start() {
      const value = createDelivery({
        log: log.messages,
        gate,
        // Only we write to the embedded log.
        verify: log.engine.name !== 'embedded',
        // With Kafka each follower is a consumer group of its own.
        followTogether: log.engine.name === 'kafka',
        limits: deliveryLimits(config.delivery),
        ...tools,
      });
      return { value, drain: (deadlineMs: number) => value.drain(deadlineMs), stop: () => value.stop() };
    },
  });
  const shared = { log: log.messages, gate, delivery, audit: registry.audit, presence: registry.presence, ...tools };
  const mqtt = await assembly.start(
    mqttServer({
      ...shared,
      host: config.node.MILLRACE_HOST,
      config: config.mqtt,
      sessions: registry.sessions,
      retained: registry.retained,
      version: VERSION,
    }),
  );
  const native = await assembly.start(
    liveServer({ ...shared, config: config.ws, corsOrigins: config.http.MILLRACE_HTTP_CORS_ORIGINS, mqtt }),
  );
  return { mqtt, native, delivery };
}

/** A part that only has to be stopped. */
function component<T extends { stop(): void }>(name: string, make: () => T): Component<T> {
  return {
    name,
    async start() {
      const value = make();
      return { value, drain: async () => {}, stop: async () => value.stop() };
    },
  };
}

/** The registry's database: the one that is configured, or one of our own. */
function postgres(config: Config, directory: DataDirectory, logger: Logger): Component<EmbeddedPostgres> {
  const url = config.registry.MILLRACE_POSTGRES_URL;
  if (url === undefined) return embeddedPostgres({ directory: directory.file('postgres'), logger });
  // What a server of somebody else's does shows in the registry's own health.
  const value = { url, health: () => null };
  return { name: 'postgres', start: async () => ({ value, drain: async () => {}, stop: async () => {} }) };
}
