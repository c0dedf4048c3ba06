import { hostname } from 'node:os';
import type {
  AuditTrail,
  CodecRunner,
  Commands,
  Component,
  Gate,
  Log,
  Logger,
  LoraDirectory,
  Metrics,
  Presence,
  Started,
} from '@millrace/core';
import type { NativeHandler } from '../http/native.ts';
import type { LoraConfig } from './config.ts';
import { DownlinkCarrier } from './downlink/carrier.ts';
import { settleDownlink } from './downlink/correlation.ts';
import { KnownRoutes } from './downlink/known-routes.ts';
import { DownlinkMessages } from './downlink/messages.ts';
import { DownlinkRoad } from './downlink/road.ts';
import { SentDownlinks } from './downlink/sent-downlinks.ts';
import { HttpIntegration } from './http-integration.ts';
import { Intake } from './intake.ts';
import { KnownDevices } from './known-devices.ts';
import { LoraMeasures } from './measures.ts';
import { NetworkServers } from './network-servers.ts';

export interface LoraServerOptions {
  readonly config: LoraConfig;
  /** Whether brokers and APIs may have private addresses where the configuration leaves it open. */
  readonly loopback: boolean;
  /** Tells this node from others on its host. */
  readonly instance: string;
  readonly log: Log;
  readonly gate: Gate;
  readonly directory: LoraDirectory;
  readonly commands: Commands;
  /** null: payloads are decoded by the network servers only. */
  readonly codecs: CodecRunner | null;
  /** Hears of devices that may not publish. */
  readonly audit?: AuditTrail | undefined;
  /** Hears of devices that are heard. */
  readonly presence?: Presence | undefined;
  readonly metrics: Metrics;
  readonly logger: Logger;
}
export interface LoraIngress {
  /** Serves `/lora/…`. */
  readonly native: NativeHandler;
}

/** LoRaWAN: events of network servers in, by their brokers and by HTTP; downlinks out.
 *  Draining, it takes no further events and lets those under way be acknowledged. */
export function loraServer(options: LoraServerOptions): Component<LoraIngress> {
  return {
    name: 'ingest/lora',
    async start(): Promise<Started<LoraIngress>> {
      const { config, directory, commands, codecs, gate, log, logger, loopback } = options;
      const privateAddresses =
        config.MILLRACE_LORA_PRIVATE_ADDRESSES === undefined
          ? loopback
          : config.MILLRACE_LORA_PRIVATE_ADDRESSES === 'on';
      const measures = new LoraMeasures(options.metrics);
      const routes = new KnownRoutes(config.MILLRACE_LORA_KNOWN_DEVICES_MAX);
      const sent = new SentDownlinks();
      const intake = new Intake({
        ...options,
        events: {
          about: (org, event) => sent.about(org, event),
          taken(source, event, thing, about) {
            routes.learn(thing, source.server?.id ?? '', event);
            if (about !== null) void settleDownlink(commands, event, thing, about, logger);
          },
        },
      });
      const node = `${config.MILLRACE_LORA_NODE || hostname().replaceAll(/[^\w.-]/g, '')}-${options.instance}`;
      const known = new KnownDevices(directory, config.MILLRACE_LORA_KNOWN_DEVICES_MAX);
      const messages = new DownlinkMessages({
        gate,
        directory,
        known,
        commands,
        measures,
        logger,
        deadLetters: intake.deadLetters,
        expirySeconds: config.MILLRACE_LORA_DOWNLINK_EXPIRY_S,
      });
      const road = new DownlinkRoad({ log, messages, logger });
      const servers: NetworkServers = new NetworkServers(
        { config, intake, directory, measures, logger, node, privateAddresses },
        () => {
          road.want(servers.all.some(({ mqtt, http }) => mqtt !== null || http !== null));
          carrier.look();
        },
      );
      const carrier = new DownlinkCarrier({
        commands,
        directory,
        codecs,
        servers,
        routes,
        sent,
        measures,
        logger,
        privateAddresses,
      });
      const native = new HttpIntegration({
        gate,
        intake,
        measures,
        logger,
        servers,
        eventsMax: config.MILLRACE_LORA_HTTP_EVENTS_MAX,
        eventBytesMax: config.MILLRACE_LORA_EVENT_BYTES_MAX,
      });
      return {
        value: { native },
        async drain(deadlineMs) {
          await Promise.all([servers.drain(deadlineMs), carrier.drain(), native.drain(deadlineMs)]);
        },
        async stop() {
          carrier.stop();
          await Promise.all([servers.stop(), road.stop()]);
          known.stop();
          intake.stop();
        },
      };
    },
  };
}

/** In the place of `loraServer` where LoRaWAN is off and no other node reads this log: a group that has once looked for
 *  downlinks goes on passing over what comes, or the log would keep all of it from then on. */
export function loraOff(parts: Pick<LoraServerOptions, 'log' | 'logger'>): Component<null> {
  return {
    name: 'ingest/lora-off',
    async start(): Promise<Started<null>> {
      const { log, logger } = parts;
      const road = new DownlinkRoad({ log, logger, messages: { take: async () => false } });
      road.want(false);
      return { value: null, drain: async () => {}, stop: () => road.stop() };
    },
  };
}
