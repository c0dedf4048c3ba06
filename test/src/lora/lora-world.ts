import { randomUUID } from 'node:crypto';
import { eventually, type Rest } from '../millrace.ts';
import { newDevEui, type Sensor } from './lora-events.ts';
import { BROKER_PASSWORD, BROKER_USER } from './mosquitto.ts';

export interface Reading {
  readonly name: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: string;
  readonly unit?: string;
  readonly time: number;
  readonly value?: number;
  readonly string_value?: string;
  readonly bool_value?: boolean;
}

/** A channel that stands for an application, and a device in it. */
export interface Application extends Sensor {
  readonly channel: string;
  readonly thing: string;
}

export async function newApplication(admin: Rest, more: { readonly device?: false } = {}): Promise<Application> {
  const application = randomUUID();
  const devEui = newDevEui();
  const { id: channel } = await admin.json<{ id: string }>('POST', '/channels', {
    name: `application ${application}`,
    metadata: { lora: { app_id: application } },
  });
  const thing = more.device === false ? '' : await newDevice(admin, channel, devEui);
  return { application, devEui, channel, thing };
}

export async function newDevice(admin: Rest, channel: string, devEui: string, more: object = {}): Promise<string> {
  const name = `sensor ${devEui}`;
  const { id } = await admin.json<{ id: string }>('POST', '/things', { name, external_id: devEui, ...more });
  await admin.json('POST', '/connect', { channel_ids: [channel], thing_ids: [id] });
  return id;
}

/** A network server at a broker. */
export async function newServer(admin: Rest, url: string, more: object = {}, mqtt: object = {}): Promise<string> {
  const { id } = await admin.json<{ id: string }>('POST', '/networkservers', {
    name: `server ${randomUUID()}`,
    kind: 'chirpstack-v4',
    mqtt: { url, username: BROKER_USER, password: BROKER_PASSWORD, ...mqtt },
    ...more,
  });
  return id;
}

/** Waits until the node says in its metrics that it is connected with so many brokers. */
export async function untilConnected(url: string, authorization: string, count: number): Promise<void> {
  await eventually(`${count} brokers connected`, 60_000, async () => {
    const text = await (await fetch(`${url}/metrics`, { headers: { authorization } })).text();
    const connected = /millrace_lora_servers\{state="connected"\} (\d+)/.exec(text)?.[1];
    if (Number(connected) !== count) throw new Error(`${connected ?? 'none'} of ${count}`);
    return true;
  });
}

export const readingsOf = async (rest: Rest, channel: string, query = ''): Promise<readonly Reading[]> =>
  (await rest.json<{ messages: Reading[] }>('GET', `/channels/${channel}/messages?limit=1000${query}`)).messages;

/** Waits until these readings are there.  @returns all of the channel */
export const untilReadings = (
  rest: Rest,
  channel: string,
  names: readonly string[],
  query = '',
): Promise<readonly Reading[]> =>
  eventually(`readings ${names.join(', ')}`, 60_000, async () => {
    const readings = await readingsOf(rest, channel, query);
    const found = new Set(readings.map(({ name }) => name));
    const missing = names.filter((name) => !found.has(name));
    if (missing.length > 0) throw new Error(`missing ${missing.join(', ')} of ${[...found].join(', ')}`);
    return readings;
  });

export interface DeadLetter {
  readonly reason: string;
  readonly detail: string;
  readonly channel: string;
}
export const deadLetters = async (rest: Rest): Promise<readonly DeadLetter[]> =>
  (await rest.json<{ dead_letters: DeadLetter[] }>('GET', '/dead-letters?limit=1000')).dead_letters;

export const untilDead = (rest: Rest, what: (letter: DeadLetter) => boolean): Promise<DeadLetter> =>
  eventually('the dead letter', 60_000, async () => {
    const all = await deadLetters(rest);
    const found = all.find(what);
    if (found === undefined) throw new Error(JSON.stringify(all).slice(0, 2_000));
    return found;
  });
