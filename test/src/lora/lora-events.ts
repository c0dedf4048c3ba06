import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';

const FOLDER = new URL('../../lora/', import.meta.url);

/** An event in the shape that a network server's documentation shows. */
export const eventFile = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as Record<string, unknown>;

export interface Sensor {
  readonly devEui: string;
  readonly application: string;
}

/** One of ChirpStack v4 for a device, new unless the members say otherwise. */
export function chirpStackEvent(
  name: string,
  { devEui, application }: Sensor,
  members: Readonly<Record<string, unknown>> = {},
): Buffer {
  const event = eventFile(`chirpstack-v4/${name}`);
  const deviceInfo = { ...(event.deviceInfo as object), devEui, applicationId: application };
  const own = name === 'txack' || name === 'log' ? {} : { deduplicationId: randomUUID() };
  return Buffer.from(JSON.stringify({ ...event, ...own, time: new Date().toISOString(), deviceInfo, ...members }));
}

/** One of The Things Stack. */
export function thingsStackEvent(
  name: string,
  { devEui, application }: Sensor,
  members: Readonly<Record<string, unknown>> = {},
): Buffer {
  const event = eventFile(`tts-v3/${name}`);
  const application_ids = { application_id: application };
  const end_device_ids = { ...(event.end_device_ids as object), dev_eui: devEui.toUpperCase(), application_ids };
  const correlation_ids = [`as:up:${randomUUID()}`];
  return Buffer.from(JSON.stringify({ ...event, correlation_ids, end_device_ids, ...members }));
}

export const eventTopicOf = ({ devEui, application }: Sensor, name: string): string =>
  `application/${application}/device/${devEui}/event/${name}`;

/** A DevEUI that nobody else has. */
export const newDevEui = (): string => randomUUID().replaceAll('-', '').slice(0, 16);
