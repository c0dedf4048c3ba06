import {
  type AuditTrail,
  createLogger,
  createMetrics,
  type Denial,
  type Log,
  type Metrics,
  type Presence,
  protocolNames,
  readConfig,
} from '@millrace/core';
import { createDelivery } from '../delivery/delivery.ts';
import { HttpIngestConfig } from '../http/config.ts';
import { httpServer } from '../http/server.ts';
import { liveServer } from '../live/server.ts';
import { LiveGate } from '../live/testing/live-gate.ts';
import { MqttIngestConfig } from '../mqtt/config.ts';
import { mqttServer } from '../mqtt/server.ts';
import { MemoryRetainedStore, MemorySessionStore } from '../mqtt/session/testing/memory-stores.ts';
import { connectPacket, RawMqtt } from '../mqtt/testing/raw-mqtt.ts';
import { WsIngestConfig } from '../ws/config.ts';
import { KEY, THING } from './gate.ts';
import { MemoryLog } from './memory-log.ts';

export interface OpenNode {
  readonly url: string;
  readonly wsUrl: string;
  readonly log: MemoryLog;
  readonly gate: LiveGate;
  readonly metrics: Metrics;
  /** What was refused, as `<protocol> <action> <object>: <reason>`. */
  readonly denials: string[];
  readonly denied: Denial[];
  /** Connections of things now, as `<thing> <protocol>`. */
  readonly present: string[];
  readonly seen: string[];
  mqtt(fields?: Parameters<typeof connectPacket>[0]): Promise<RawMqtt>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** All listeners of a node on free ports, over one gate that knows a few things and one log in memory. */
export async function openNode(settings: Readonly<Record<string, string>> = {}): Promise<OpenNode> {
  const log = new MemoryLog(2);
  const gate = new LiveGate();
  const metrics = createMetrics();
  const logger = createLogger({ level: 'silent' });
  const denials: string[] = [];
  const denied: Denial[] = [];
  const present: string[] = [];
  const seen: string[] = [];
  const audit: AuditTrail = {
    denied(denial) {
      denied.push(denial);
      const { context, action, object, reason } = denial;
      denials.push(`${protocolNames[context.protocol]} ${action} ${object}: ${reason}`);
    },
  };
  const presence: Presence = {
    connected(thing, _org, protocol) {
      const entry = `${thing} ${protocolNames[protocol]}`;
      present.push(entry);
      return () => present.splice(present.indexOf(entry), 1);
    },
    seen: (thing, _org, protocol) => seen.push(`${thing} ${protocolNames[protocol]}`),
  };
  const messages = log as unknown as Log;
  const shared = { log: messages, gate, metrics, logger };
  const delivery = createDelivery({ ...shared, verify: false, limits: { patrolMs: 20 } });
  const told = { ...shared, delivery, audit, presence };
  const mqtt = await mqttServer({
    ...told,
    host: '127.0.0.1',
    config: MqttIngestConfig.parse({ MILLRACE_MQTT_PORT: '0', ...settings }),
    sessions: new MemorySessionStore(),
    retained: new MemoryRetainedStore(),
    version: 'test',
  }).start();
  const live = await liveServer({
    ...told,
    config: readConfig(WsIngestConfig, settings),
    corsOrigins: '',
    mqtt: mqtt.value,
  }).start();
  const http = await httpServer({
    host: '127.0.0.1',
    port: 0,
    config: readConfig(HttpIngestConfig, settings),
    metrics,
    logger,
    publish: told,
    natives: [live.value],
  }).start();
  const port = Number(mqtt.value.mqtt?.split(':').at(-1));
  const clients: RawMqtt[] = [];
  return {
    url: http.value.url,
    wsUrl: http.value.url.replace('http', 'ws'),
    log,
    gate,
    metrics,
    denials,
    denied,
    present,
    seen,
    async mqtt(fields) {
      const client = new RawMqtt(port);
      clients.push(client);
      client.send(connectPacket({ username: THING, password: Buffer.from(KEY), ...fields }));
      const { returnCode } = await client.next('connack');
      if (returnCode !== 0) throw new Error(`CONNACK ${returnCode}`);
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      await http.stop();
      await live.stop();
      await mqtt.stop();
      await delivery.stop();
    },
  };
}
