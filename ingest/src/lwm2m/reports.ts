import type { Presence } from '@millrace/core';
import { Protocol } from '@millrace/core';
import type { MessagePublisher, PublishRefusal } from '../message-publisher.ts';
import type { Lwm2mCounts, ReportSource } from './counts.ts';
import type { Definitions } from './definitions/definitions.ts';
import { isMeasured, SENSOR_UNITS_RESOURCE } from './definitions/sensor-unit.ts';
import type { Device } from './device.ts';
import { pathText } from './path.ts';
import { type Lwm2mValue, ObjectLink } from './value.ts';

/** Keys of servers are nobody's reading: Security, and OSCORE.  */
const SECRET_OBJECTS: ReadonlySet<number> = new Set([0, 21]);
/** What devices write there; SenML knows a symbol for it. */
const SAID_UNITS: Readonly<Record<string, string>> = {
  C: 'Cel',
  '°C': 'Cel',
  Celsius: 'Cel',
  celsius: 'Cel',
  'degrees Celsius': 'Cel',
  Percent: '%',
  percent: '%',
};
const SAID_UNIT = /^[\x21-\x7e°]{1,16}$/;

export interface ReportsOptions {
  readonly publisher: MessagePublisher;
  readonly definitions: Definitions;
  readonly counts: Lwm2mCounts;
  readonly presence?: Presence | undefined;
  readonly reportsMax: number;
}

/** Why a report was not taken. */
export type Unpublished = PublishRefusal | 'no_channel' | 'shed';

/** Publishes what devices report, each report as one message of its thing. */
export class Reports {
  readonly #options: ReportsOptions;
  #underWay = 0;

  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /** @returns once it is durable: null, or why it is not  @throws never */
  async publish(device: Device, values: readonly Lwm2mValue[], source: ReportSource): Promise<Unpublished | null> {
    const { publisher, counts, reportsMax } = this.#options;
    const records = this.#records(device, values);
    if (records.length === 0) {
      counts.reported(source, 'empty');
      return null;
    }
    const { destination, client } = device;
    if (destination === null) {
      counts.reported(source, 'no_channel');
      return 'no_channel';
    }
    if (this.#underWay >= reportsMax) {
      counts.reported(source, 'shed');
      return 'shed';
    }
    this.#underWay++;
    try {
      const payload = Buffer.from(JSON.stringify(records), 'utf8');
      const target = await publisher.decide(client, destination);
      let refusal: PublishRefusal | null;
      if ('kind' in target) {
        refusal = target;
        publisher.count(refusal, client, destination);
      } else {
        refusal = publisher.fullness(payload.length) ?? publisher.limited(client, target, payload.length);
        if (refusal !== null) publisher.count(refusal, client, destination);
        else {
          refusal = await new Promise<PublishRefusal | null>((resolve) =>
            publisher.publish(target, payload, { stored: () => resolve(null), refused: resolve }),
          );
        }
      }
      counts.reported(source, refusal === null ? 'published' : 'refused', refusal === null ? records.length : 0);
      return refusal;
    } finally {
      this.#underWay--;
    }
  }

  /** A device was heard of. */
  seen(device: Device, nowMs: number): void {
    const { thing, org } = device.registration;
    this.#options.presence?.seen(thing, org, Protocol.coap, device.peer.address, nowMs);
  }

  unitOf(device: Device, path: readonly number[]): string {
    const [object, instance, resource] = path as [number, number, number];
    const said = isMeasured(object, resource) ? device.saidUnit(`/${object}/${instance}`) : '';
    return said === '' ? this.#options.definitions.unitOf(object, resource) : said;
  }

  /** Records of SenML. A device's own word about a sensor's unit counts from the report on that has it. */
  #records(device: Device, values: readonly Lwm2mValue[]): Record<string, unknown>[] {
    for (const { path, value } of values) {
      if (path[2] !== SENSOR_UNITS_RESOURCE || typeof value !== 'string' || !SAID_UNIT.test(value)) continue;
      device.sayUnit(pathText(path.slice(0, 2)), SAID_UNITS[value] ?? value);
    }
    const records: Record<string, unknown>[] = [];
    for (const { path, value, time } of values) {
      if (SECRET_OBJECTS.has(path[0] as number)) continue;
      const record: Record<string, unknown> = { n: pathText(path) };
      const unit = typeof value === 'number' ? this.unitOf(device, path) : '';
      if (unit !== '') record.u = unit;
      if (typeof value === 'number') record.v = value;
      else if (typeof value === 'boolean') record.vb = value;
      else if (Buffer.isBuffer(value)) record.vd = value.toString('base64url');
      else record.vs = value instanceof ObjectLink ? String(value) : value;
      if (time !== null) record.t = time;
      records.push(record);
    }
    return records;
  }
}
