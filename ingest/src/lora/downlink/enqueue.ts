import type { NetworkServer } from '@millrace/core';
import { DownlinkCommand } from '../events/chirpstack-v4-messages.ts';
import { structMessage } from '../events/protobuf.ts';
import { CORRELATION_PREFIX } from '../events/tts-v3.ts';

/** A downlink on its way to one device. */
export interface Downlink {
  readonly queueItemId: string;
  readonly devEui: string;
  /** What The Things Stack calls the device; "" if that is not known. */
  readonly deviceId: string;
  readonly applicationId: string;
  /** Of The Things Stack's cloud; "" if it has none. */
  readonly tenant: string;
  readonly fPort: number;
  readonly confirmed: boolean;
  readonly flush: boolean;
  readonly content: { readonly data: Uint8Array } | { readonly object: Readonly<Record<string, unknown>> };
  readonly expiresMs: number;
}
export interface MqttEnqueue {
  readonly topic: string;
  readonly payload: Uint8Array;
}
export interface HttpEnqueue {
  readonly method: 'POST' | 'DELETE';
  readonly path: string;
  readonly body: unknown;
}

const utf8 = new TextEncoder();
const FLUSH_BY_HTTP =
  'Only the HTTP interface of ChirpStack throws away what waits: give the network server an http.url.';
/** Nor `.` and `..`, which a path would be resolved by. */
const IDENTIFIER = /^(?!\.{1,2}$)[A-Za-z0-9_.-]{0,128}$/;
const NO_IDENTIFIER = 'The application, tenant or device id is none: letters, digits, _ . and - only.';
const NO_DEVICE_ID =
  "The Things Stack knows devices by their ids: set the thing's metadata.lora.device_id, or wait for its next uplink.";

/** How a downlink is enqueued by MQTT, or why it can't be. Pure.
 *  @source ChirpStack: MQTT integration; The Things Stack: MQTT server */
export function mqttEnqueue(server: Pick<NetworkServer, 'kind' | 'mqtt'>, downlink: Downlink): MqttEnqueue | string {
  const { applicationId, devEui, deviceId, tenant } = downlink;
  if (!areIdentifiers(applicationId, deviceId, tenant)) return NO_IDENTIFIER;
  if (server.kind === 'tts-v3') {
    if (deviceId === '') return NO_DEVICE_ID;
    const application = tenant === '' ? applicationId : `${applicationId}@${tenant}`;
    const verb = downlink.flush ? 'replace' : 'push';
    return {
      topic: `v3/${application}/devices/${deviceId}/down/${verb}`,
      payload: utf8.encode(JSON.stringify(theThingsStackBody(downlink))),
    };
  }
  if (downlink.flush) return FLUSH_BY_HTTP;
  const topic = `application/${applicationId}/device/${devEui}/command/down`;
  const { fPort, confirmed } = downlink;
  if (server.kind === 'chirpstack-v3') {
    return { topic, payload: utf8.encode(JSON.stringify({ confirmed, fPort, ...contentOf(downlink) })) };
  }
  if (server.mqtt?.format === 'protobuf') return { topic, payload: protobufCommand(downlink) };
  const command = { id: downlink.queueItemId, devEui, confirmed, fPort, ...contentOf(downlink) };
  return { topic, payload: utf8.encode(JSON.stringify({ ...command, expiresAt: timeText(downlink.expiresMs) })) };
}

/** The requests that enqueue a downlink by HTTP, in order, or why it can't be. Pure.
 *  @source ChirpStack: REST interface; The Things Stack: Application Server, downlink queue */
export function httpEnqueue(kind: NetworkServer['kind'], downlink: Downlink): HttpEnqueue[] | string {
  const { applicationId, devEui, deviceId, fPort, confirmed, flush } = downlink;
  if (kind === 'tts-v3') {
    if (deviceId === '') return NO_DEVICE_ID;
    if (!areIdentifiers(applicationId, deviceId)) return NO_IDENTIFIER;
    const device = `/api/v3/as/applications/${encodeURIComponent(applicationId)}/devices/${encodeURIComponent(deviceId)}`;
    return [
      { method: 'POST', path: `${device}/down/${flush ? 'replace' : 'push'}`, body: theThingsStackBody(downlink) },
    ];
  }
  const path = `/api/devices/${devEui}/queue`;
  const before: HttpEnqueue[] = flush ? [{ method: 'DELETE', path, body: null }] : [];
  if (kind === 'chirpstack-v3') {
    const { content } = downlink;
    const item = 'data' in content ? { data: base64(content.data) } : { jsonObject: JSON.stringify(content.object) };
    return [...before, { method: 'POST', path, body: { deviceQueueItem: { confirmed, fPort, ...item } } }];
  }
  const item = { id: downlink.queueItemId, confirmed, fPort, ...contentOf(downlink) };
  const queueItem = { ...item, expiresAt: timeText(downlink.expiresMs) };
  return [...before, { method: 'POST', path, body: { queueItem } }];
}

/** They come from metadata and events, and lead to no other topic or path. */
const areIdentifiers = (...ids: readonly string[]): boolean => ids.every((id) => IDENTIFIER.test(id));

function theThingsStackBody(downlink: Downlink): unknown {
  const { content, fPort, confirmed, queueItemId } = downlink;
  const payload = 'data' in content ? { frm_payload: base64(content.data) } : { decoded_payload: content.object };
  const correlation_ids = [`${CORRELATION_PREFIX}${queueItemId}`];
  return { downlinks: [{ f_port: fPort, ...payload, confirmed, priority: 'NORMAL', correlation_ids }] };
}

const contentOf = ({ content }: Downlink): { data: string } | { object: object } =>
  'data' in content ? { data: base64(content.data) } : { object: content.object };

function protobufCommand(downlink: Downlink): Uint8Array {
  const { queueItemId, devEui, confirmed, fPort, content, expiresMs } = downlink;
  return DownlinkCommand.toBinary(
    DownlinkCommand.create({
      id: queueItemId,
      devEui,
      confirmed,
      fPort,
      ...('data' in content ? { data: content.data } : { object: structMessage(content.object) }),
      expiresAt: { seconds: String(Math.floor(expiresMs / 1_000)), nanos: 0 },
    }),
  );
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const timeText = (ms: number): string => new Date(ms).toISOString();
