import type { Broker } from './brokers/broker.ts';
import type { BridgeLoad } from './load/run.ts';
import { settledMemory } from './measurement.ts';

export interface OfflinePlan {
  readonly sessions: number;
  readonly channels: number;
  /** Over all channels. */
  readonly messages: number;
  readonly payloadSize: number;
  readonly memorySeconds: number;
}

const IN_FLIGHT = 20;

/** Sessions subscribe and leave, messages are published, sessions come back: what do they cost meanwhile, and how long
 *  until all have what they missed? */
export async function measureOffline(
  broker: Broker,
  load: BridgeLoad,
  plan: OfflinePlan,
  add: (figure: string, unit: string, value: number) => void,
  progress: (line: string) => void,
): Promise<void> {
  const { sessions, payloadSize } = plan;
  const filters = broker.publishers.map(({ topic }) => topic);
  const messagesEach = Math.floor(plan.messages / filters.length);
  const parking = { endpoint: broker.endpoint, identity: broker.subscriber, sessions, filters };
  const publishing = {
    endpoint: broker.endpoint,
    publishers: broker.publishers,
    qos: 1,
    inFlight: IN_FLIGHT,
    payloadSize,
    warmUpSeconds: 0,
    seconds: 0,
  } as const;
  // The log and the code of publishing are warm before memory is compared.
  await load.publish({ ...publishing, messagesEach });
  const before = await settledMemory(broker, plan.memorySeconds);
  await load.park(parking);
  const parked = await settledMemory(broker, plan.memorySeconds);
  await load.publish({ ...publishing, messagesEach });
  const published = await settledMemory(broker, plan.memorySeconds);
  const found = await load.comeBack({ ...parking, messagesEach });
  const base = 'offline';
  add(`${base}/sessions`, 'sessions', sessions);
  add(`${base}/messages`, 'messages', messagesEach * filters.length);
  if (before !== null && parked !== null && published !== null) {
    add(`${base}/sessions_anonymous`, 'MiB', parked.anonymous - before.anonymous);
    add(`${base}/messages_anonymous`, 'MiB', published.anonymous - parked.anonymous);
    add(`${base}/messages_pss`, 'MiB', published.pss - parked.pss);
  }
  add(`${base}/return_seconds`, 's', found.seconds);
  add(`${base}/deliveries_per_second`, 'deliveries/s', found.received / Math.max(found.seconds, 0.001));
  add(`${base}/missing`, 'deliveries', found.missing);
  progress(
    `${sessions.toLocaleString('en-US')} sessions were away for ${(messagesEach * filters.length).toLocaleString('en-US')} messages: all back with ${found.received.toLocaleString('en-US')} deliveries in ${found.seconds.toFixed(1)} s${found.missing > 0 ? `, ${found.missing} MISSING` : ''}`,
  );
}
