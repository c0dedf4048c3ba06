import { randomBytes } from 'node:crypto';
import type { IPublishPacket } from 'mqtt-packet';
import { afterEach } from 'vitest';
import type { Identity } from '../clients/client.ts';
import { type ConnectOptions, RawMqtt, textOf } from '../clients/raw-mqtt.ts';

/** A broker under test, and who may do everything on one channel of it. */
export interface Broker {
  readonly mqtt: string;
  readonly identity: Identity;
  /** The topic of the channel. */
  readonly root: string;
}

const open: RawMqtt[] = [];

/** Ends the connections of each test after it. Call it once in a file. */
export function endConnections(): void {
  afterEach(async () => {
    await Promise.all(open.splice(0).map((client) => client.cut()));
  });
}

export const uniqueId = (name: string): string => `${name}-${randomBytes(6).toString('hex')}`;

/** A topic of this test alone. */
export const ownTopic = (broker: Broker): string => `${broker.root}/${randomBytes(6).toString('hex')}`;

export async function connected(broker: Broker, options: ConnectOptions = {}): Promise<RawMqtt> {
  return (await reconnected(broker, options)).client;
}

export async function reconnected(
  broker: Broker,
  options: ConnectOptions = {},
): Promise<{ client: RawMqtt; present: boolean }> {
  const told = await RawMqtt.connect(broker, broker.identity, options);
  open.push(told.client);
  return told;
}

export async function opened(broker: Broker): Promise<RawMqtt> {
  const client = await RawMqtt.open(broker);
  open.push(client);
  return client;
}

/** Waits until so many messages are there. */
export async function messages(client: RawMqtt, count: number): Promise<IPublishPacket[]> {
  await client.until(`${count} messages`, () => client.messages.length >= count);
  return client.messages;
}

/** All messages until the one with this text, without it. */
export async function messagesBefore(client: RawMqtt, last: string): Promise<IPublishPacket[]> {
  await client.until(`the message ${last}`, () => client.messages.some((packet) => textOf(packet) === last));
  return client.messages.filter((packet) => textOf(packet) !== last);
}
