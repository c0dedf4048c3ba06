import { Assembly, type Component, createMetrics, type Logger, type LogShards, measureProcess } from '@millrace/core';
import { createWebhookSender, messageIntake, trustsEverybody, webhooks } from '@millrace/ingest';
import { openLog } from '@millrace/log';
import { codecRunner, outwardTopics, processors } from '@millrace/processors';
import {
  createControlPlane,
  type EmbeddedPostgres,
  embeddedPostgres,
  type HealthCheck,
  largeBodies,
} from '@millrace/registry';
import { openStore } from '@millrace/storage';
import { startAuthority } from './authority.ts';
import type { Config, Role } from './config.ts';
import { adminPassword, type DataDirectory } from './data-directory.ts';
import { type DeviceAddresses, NO_DEVICES, startDevices } from './devices.ts';
import { startDelivery, startHttp, startLive } from './ingress.ts';
import { isLoopback } from './loopback.ts';
import { messagesTopic } from './messages-topic.ts';
import { patiently } from './patience.ts';
import { VERSION } from './version.ts';
import { WaitingRoom } from './waiting-room.ts';
import { startFront, workersConnections } from './workers/front.ts';
import { GatheredMetrics } from './workers/gathered-metrics.ts';

/** What the main process needs of the embedded PostgreSQL, and who looks into it by hand. */
const POSTGRES_CONNECTIONS_MAX = 40;
/** Settings that name proxies. */
const BELIEVING = ['MILLRACE_HTTP_TRUSTED_PROXIES', 'MILLRACE_MQTT_PROXY_PROTOCOL', 'MILLRACE_COAP_BALANCERS'];
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
  const gathered = new GatheredMetrics();
  const metrics = createMetrics(gathered);
  measureProcess(metrics);
  const tools = { logger, metrics };
  for (const [setting, value] of Object.entries({ ...config.http, ...config.mqtt, ...config.coap }))
    if (BELIEVING.includes(setting) && trustsEverybody(String(value)))
      logger.warn(
        { setting },
        'whoever connects is believed as a proxy: anybody can say who they are. Name yours alone',
      );
  const has = (role: Role): boolean => config.node.MILLRACE_ROLES.includes(role);
  const workerCount = has('ingest') ? config.node.MILLRACE_WORKERS : 0;
  const assembly = new Assembly();
  const waitingRoom = new WaitingRoom(config, tools);
  const patient = <T>(component: Component<T>): Component<T> =>
    patiently(component, { logger, signal, waiting: (name, told) => waitingRoom.report(name, told) });

  try {
    // Nothing is stored before the registry is there.
    const blockingThreads = Number(process.env.UV_THREADPOOL_SIZE ?? 4);
    const shards: LogShards = { shardOf: (...of) => registry.logShards.shardOf(...of) };
    const [log, store, database] = await assembly.startTogether([
      patient(messagesTopic(openLog(config.log, { directory: directory.file('log'), ...tools }), config.log)),
      patient(
        openStore(config.storage, { directory: directory.file('clickhouse'), shards, blockingThreads, ...tools }),
      ),
      postgres(config, directory, logger, workersConnections(workerCount)),
    ]);
    const password = adminPassword(directory, config.registry.MILLRACE_ADMIN_PASSWORD);
    const { registry, gate } = await startAuthority(config, assembly, {
      url: database.url,
      connectionsMax: config.registry.MILLRACE_POSTGRES_CONNECTIONS_MAX,
      secret: directory.secret,
      directory: directory.path,
      password,
      ingressOnly: false,
      patient,
      tools,
    });

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
          insertMsMax: 1_000 * config.storage.MILLRACE_STORE_INSERT_SECONDS_MAX,
          directory: registry.directory,
          enforcerUrl: ENFORCER,
          secret: directory.secret,
          ...tools,
        }),
      );
      healthChecks.push({ name: 'processors', check: () => running.health() });
      const { MILLRACE_READINGS_TOPIC: readings, MILLRACE_DEAD_LETTERS_TOPIC: deadLetters } = config.topics;
      if (readings || deadLetters)
        await assembly.start(
          patient(
            outwardTopics({
              config: config.topics,
              engine: log.engine,
              messages: log.messages,
              stream: store.stream,
              ...tools,
            }),
          ),
        );
    }

    // Its threads start when a codec is run.
    const codecs = await assembly.start(codecRunner(config.codecs, tools));

    const sender = createWebhookSender({
      isPrivateAllowed: config.webhooks.MILLRACE_WEBHOOKS_PRIVATE,
      timeoutMs: config.webhooks.MILLRACE_WEBHOOKS_TIMEOUT_MS,
      version: VERSION,
    });

    await waitingRoom.close();
    const handler = createControlPlane({
      registry,
      gate,
      store,
      snapshots: store,
      sql: store.sql,
      upkeep: store.upkeep,
      arrivals: store.arrivals,
      log: log.messages,
      intake: messageIntake({ log: log.messages, gate, metrics }),
      codecs,
      webhooks: { sender },
      selfRegister: config.registry.MILLRACE_SELF_REGISTER ?? isLoopback(config.node.MILLRACE_HOST),
      healthChecks,
      platformOnly: !has('registry'),
      version: VERSION,
      ...tools,
    });
    const parts = { registry, gate, log, tools };
    const delivery = has('ingest') ? await startDelivery(config, assembly, parts) : null;
    if (delivery !== null && config.webhooks.MILLRACE_WEBHOOKS)
      await assembly.start(
        webhooks({ config: config.webhooks, store: registry.webhooks.store, delivery, gate, sender, ...tools }),
      );
    const live =
      delivery === null || workerCount > 0
        ? null
        : await startLive(config, assembly, { ...parts, delivery, questions: handler });
    const devices =
      delivery === null
        ? NO_DEVICES
        : await startDevices(config, assembly, {
            registry,
            gate,
            log: log.messages,
            alone: log.engine.name === 'embedded',
            store,
            delivery,
            directory,
            codecs,
            tools,
          });
    const addresses =
      workerCount > 0
        ? await startFront(config, assembly, {
            count: workerCount,
            directory,
            postgresUrl: database.url,
            engine: log.engine,
            registry,
            handler,
            natives: devices.natives,
            healthChecks,
            metrics: gathered,
            tools,
          })
        : {
            http: await startHttp(config, assembly, {
              ...parts,
              natives: live === null ? null : [live.native, ...devices.natives],
              fallback: handler,
              largeBodies: has('registry') ? largeBodies : new Map(),
            }),
            mqtt: live?.mqtt.mqtt ?? null,
            mqtts: live?.mqtt.mqtts ?? null,
          };
    if (addresses.http !== null) registry.listensAt(addresses.http);
    // Drained before the listener: that waits for what is under way, and a request may wait a minute for a device.
    await assembly.start({
      name: 'registry/waiting',
      start: async () => ({
        value: null,
        drain: async () => {
          registry.commands.answerNow();
          registry.live.drain();
        },
        stop: async () => registry.commands.answerNow(),
      }),
    });
    const started = has('registry') ? await registry.gettingStarted() : null;
    return {
      ...addresses,
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

/** The registry's database: the one that is configured, or one of our own. */
function postgres(config: Config, directory: DataDirectory, logger: Logger, more: number): Component<EmbeddedPostgres> {
  const url = config.registry.MILLRACE_POSTGRES_URL;
  if (url === undefined) {
    const connectionsMax = POSTGRES_CONNECTIONS_MAX + more;
    const buffersMib = config.registry.MILLRACE_POSTGRES_BUFFERS_MIB;
    return embeddedPostgres({ directory: directory.file('postgres'), connectionsMax, buffersMib, logger });
  }
  // What a server of somebody else's does shows in the registry's own health.
  const value = { url, health: () => null };
  return { name: 'postgres', start: async () => ({ value, drain: async () => {}, stop: async () => {} }) };
}
