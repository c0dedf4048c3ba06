import { createLogger, createMetrics, type Log, type Metrics } from '@millrace/core';
import { createDelivery } from '../../delivery/delivery.ts';
import { CHANNEL, KEY, TestGate, THING } from '../../testing/gate.ts';
import { MemoryLog } from '../../testing/memory-log.ts';
import { MqttIngestConfig } from '../config.ts';
import { type MqttAddress, mqttServer } from '../server.ts';
import { MemoryRetainedStore, MemorySessionStore } from '../session/testing/memory-stores.ts';
import { connectPacket, RawMqtt } from './raw-mqtt.ts';

export const TOPIC = `channels/${CHANNEL}/messages`;

export interface OpenMqtt {
  readonly port: number;
  readonly address: MqttAddress;
  readonly log: MemoryLog;
  readonly gate: TestGate;
  readonly retained: MemoryRetainedStore;
  readonly metrics: Metrics;
  /** A connection that has been let in. */
  client(fields?: Parameters<typeof connectPacket>[0]): Promise<RawMqtt>;
  count(name: string, labels: Readonly<Record<string, string>>): Promise<number>;
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** The MQTT listener with a log and stores in memory. */
export async function openMqtt(settings: Readonly<Record<string, string>> = {}): Promise<OpenMqtt> {
  const log = new MemoryLog(2);
  const gate = new TestGate();
  const metrics = createMetrics();
  const logger = createLogger({ level: 'silent' });
  const retained = new MemoryRetainedStore();
  const shared = { log: log as unknown as Log, gate, metrics, logger };
  const delivery = createDelivery({ ...shared, verify: false, limits: { patrolMs: 20 } });
  const started = await mqttServer({
    ...shared,
    host: '127.0.0.1',
    config: MqttIngestConfig.parse({ MILLRACE_MQTT_PORT: '0', ...settings }),
    delivery,
    sessions: new MemorySessionStore(),
    retained,
    version: 'test',
  }).start();
  const port = Number((started.value.mqtt ?? started.value.mqtts ?? '').split(':').at(-1));
  const clients: RawMqtt[] = [];
  return {
    port,
    address: started.value,
    log,
    gate,
    retained,
    metrics,
    async client(fields) {
      const client = new RawMqtt(port);
      clients.push(client);
      client.send(connectPacket({ username: THING, password: Buffer.from(KEY), ...fields }));
      const { returnCode } = await client.next('connack');
      if (returnCode !== 0) throw new Error(`CONNACK ${returnCode}`);
      return client;
    },
    async count(name, labels) {
      const metric = await metrics.registry.getSingleMetric(name)?.get();
      const found = metric?.values.find((value) =>
        Object.entries(labels).every(([label, text]) => value.labels[label] === text),
      );
      return found?.value ?? 0;
    },
    drain: () => started.drain(2_000),
    async close() {
      for (const client of clients) client.destroy();
      await started.stop();
      await delivery.stop();
    },
  };
}
