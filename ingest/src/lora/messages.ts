import type { Location, LoraEvent, Radio, UplinkEvent } from './events/lora-event.ts';

/** One message that an event becomes. */
export interface LoraMessage {
  readonly subtopic: string;
  readonly contentType: string;
  readonly payload: Uint8Array;
  /** Tells the messages of one event apart; part of the key that a repeat is known by. */
  readonly part: string;
}

/** What a codec, of ours or of the network server, made of an uplink's bytes; null: nobody decoded them. */
export type DecodedUplink = { readonly object: unknown } | null;

export const SENML_JSON = 'application/senml+json';
const utf8 = new TextEncoder();

/** The messages that an event becomes, the device's own before what the network says about it. Pure.
 *  @param messageId of the downlink that it is about, where that was a message of ours; "" if it was not */
export function messagesOf(event: LoraEvent, decoded: DecodedUplink, messageId = ''): LoraMessage[] {
  switch (event.type) {
    case 'up':
      return [...contentOf(event, decoded), radioMessage(event)];
    case 'status':
      return [senml('event/status', 'status', statusRecords(event))];
    case 'location':
      return [senml('event/location', 'location', locationRecords(event.location))];
    case 'join':
      return [json(event, { dev_addr: event.devAddr })];
    case 'ack':
      return [
        json(event, {
          acknowledged: event.acknowledged,
          f_cnt_down: event.fCntDown,
          ...about(event.queueItemId, messageId),
        }),
      ];
    case 'txack':
      return [
        json(event, {
          f_cnt_down: event.fCntDown,
          gateway: event.gateway,
          ...(event.frequencyHz === null ? {} : { frequency: event.frequencyHz }),
          ...about(event.queueItemId, messageId),
        }),
      ];
    case 'log':
      return [
        json(event, {
          level: event.level,
          code: event.code,
          description: event.description,
          ...about(event.queueItemId, messageId),
          ...(Object.keys(event.context).length === 0 ? {} : { context: event.context }),
        }),
      ];
    case 'integration':
      return [json(event, { integration: event.name, event_type: event.eventType, object: event.object })];
  }
}

/** The payload as it came over the air, for when the codec failed on it. */
export function blobOf(event: UplinkEvent): LoraMessage {
  return { ...upMessage(event, event.data), contentType: 'application/octet-stream' };
}

function contentOf(event: UplinkEvent, decoded: DecodedUplink): LoraMessage[] {
  const object = decoded === null ? event.object : decoded.object;
  if (object === null || object === undefined) return event.data.length === 0 ? [] : [blobOf(event)];
  const pack = senmlPack(object);
  const payload = utf8.encode(JSON.stringify(pack ?? object));
  return [{ ...upMessage(event, payload), contentType: pack === null ? 'application/json' : SENML_JSON }];
}

const upMessage = (event: UplinkEvent, payload: Uint8Array) => ({
  subtopic: `up/${event.fPort}`,
  payload,
  part: 'up',
});

/** An array of SenML records, or an object with nothing but one (`{ senml: […] }`, since ChirpStack's codecs give objects
 *  only); null: it is something else. */
export function senmlPack(object: unknown): readonly unknown[] | null {
  if (Array.isArray(object)) return object.length > 0 && object.every(isRecord) ? object : null;
  if (typeof object !== 'object' || object === null) return null;
  const { senml } = object as { senml?: unknown };
  return Array.isArray(senml) && Object.keys(object).length === 1 ? senmlPack(senml) : null;
}

const FIELDS = ['n', 'bn', 'v', 'vs', 'vb', 'vd', 's', 'bv', 'bs'];
const LABELS = new Set([...FIELDS, 'u', 'bu', 't', 'bt', 'ut', 'bver', 'l']);
function isRecord(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const names = Object.keys(value);
  return names.some((name) => FIELDS.includes(name)) && names.every((name) => LABELS.has(name) || name.endsWith('_'));
}

type Record_ = { readonly n: string; readonly u?: string } & (
  | { readonly v: number }
  | { readonly vs: string }
  | { readonly vb: boolean }
);

/** @source RFC 8428 §12.1; dBm is a secondary unit: RFC 8798, and RFC 9100 for the version that says so */
function senml(subtopic: string, part: string, records: readonly Record_[]): LoraMessage {
  const secondary = records.some((record) => record.u === 'dBm');
  const [first, ...rest] = records;
  const pack = secondary ? [{ bver: 26, ...first }, ...rest] : records;
  return { subtopic, part, contentType: SENML_JSON, payload: utf8.encode(JSON.stringify(pack)) };
}

const number = (n: string, v: number | null, u?: string): Record_[] =>
  v === null ? [] : [{ n, ...(u === undefined ? {} : { u }), v }];
const text = (n: string, vs: string): Record_[] => (vs === '' ? [] : [{ n, vs }]);
const truth = (n: string, vb: boolean | null): Record_[] => (vb === null ? [] : [{ n, vb }]);

function radioMessage(event: UplinkEvent): LoraMessage {
  const { radio } = event;
  return senml('radio', 'radio', radioRecords(radio, event));
}

function radioRecords(radio: Radio, event: UplinkEvent): Record_[] {
  return [
    ...number('rssi', radio.rssi, 'dBm'),
    ...number('snr', radio.snr, 'dB'),
    ...number('spreading_factor', radio.spreadingFactor),
    ...number('bandwidth', radio.bandwidthHz, 'Hz'),
    ...number('frequency', radio.frequencyHz, 'Hz'),
    ...text('code_rate', radio.codeRate),
    ...text('gateway', radio.gateway),
    ...number('gateway_count', radio.gatewayCount),
    ...(radio.location === null ? [] : placeRecords(radio.location, 'gateway_')),
    { n: 'f_cnt', v: event.fCnt },
    ...number('dr', radio.dr),
    ...truth('adr', radio.adr),
    { n: 'confirmed', vb: event.confirmed },
  ];
}

function placeRecords(location: Location, prefix: string): Record_[] {
  return [
    { n: `${prefix}latitude`, u: 'lat', v: location.latitude },
    { n: `${prefix}longitude`, u: 'lon', v: location.longitude },
    ...number(`${prefix}altitude`, location.altitude, 'm'),
  ];
}

function locationRecords(location: Location): Record_[] {
  return [
    ...placeRecords(location, ''),
    ...number('accuracy', location.accuracyM, 'm'),
    ...text('source', location.source),
  ];
}

function statusRecords(event: Extract<LoraEvent, { type: 'status' }>): Record_[] {
  return [
    { n: 'margin', u: 'dB', v: event.marginDb },
    ...number('battery', event.batteryPercent, '%EL'),
    { n: 'external_power', vb: event.externalPower },
  ];
}

const about = (queueItemId: string, messageId: string) => ({
  ...(queueItemId === '' ? {} : { queue_item_id: queueItemId }),
  ...(messageId === '' ? {} : { message_id: messageId }),
});

function json(event: LoraEvent, members: Readonly<Record<string, unknown>>): LoraMessage {
  const payload = utf8.encode(JSON.stringify({ dev_eui: event.devEui, ...members }));
  return { subtopic: `event/${event.type}`, contentType: 'application/json', payload, part: event.type };
}
