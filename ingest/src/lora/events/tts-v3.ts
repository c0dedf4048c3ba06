import { bestReception, type LoraEvent, type LoraOrigin, type Radio } from './lora-event.ts';
import { EventFault, locationOf, type Members } from './members.ts';

const COUNTER_MAX = 0xff_ff_ff_ff;
/** Begins the correlation id that a downlink of ours bears. */
export const CORRELATION_PREFIX = 'millrace:';

/** One event of The Things Stack v3. What it is stands in its members, so topic and path need not be known.
 *  @param digest identifies the event by its bytes, for those that bear no id
 *  @throws EventFault  @source The Things Stack: data formats */
export function theThingsStackEvent(event: Members, digest: string): LoraEvent {
  const uplink = event.child('uplink_message');
  const origin = originOf(event, uplink, digest);
  if (uplink !== null) {
    return {
      ...origin,
      type: 'up',
      devAddr: event.child('end_device_ids')?.hex('dev_addr', 4) ?? '',
      fPort: uplink.integer('f_port', 255),
      fCnt: uplink.integer('f_cnt', COUNTER_MAX),
      confirmed: uplink.boolean('confirmed'),
      data: uplink.bytes('frm_payload'),
      object: uplink.value('decoded_payload'),
      radio: radioOf(uplink),
    };
  }
  if (event.has('join_accept')) {
    return { ...origin, type: 'join', devAddr: event.child('end_device_ids')?.hex('dev_addr', 4) ?? '' };
  }
  for (const [name, acknowledged] of ACKNOWLEDGEMENTS) {
    const downlink = event.child(name);
    if (downlink === null) continue;
    const fCntDown = downlink.integer('f_cnt', COUNTER_MAX);
    return { ...origin, type: 'ack', acknowledged, fCntDown, queueItemId: ours(downlink, event) };
  }
  const sent = event.child('downlink_sent');
  if (sent !== null) {
    return {
      ...origin,
      type: 'txack',
      fCntDown: sent.integer('f_cnt', COUNTER_MAX),
      queueItemId: ours(sent, event),
      gateway: '',
      frequencyHz: null,
    };
  }
  return otherEvent(event, origin);
}

const ACKNOWLEDGEMENTS = [
  ['downlink_ack', true],
  ['downlink_nack', false],
] as const;

function otherEvent(event: Members, origin: LoraOrigin): LoraEvent {
  const failed = event.child('downlink_failed');
  if (failed !== null) {
    const error = failed.child('error');
    const description = error?.text('message_format') || 'The downlink failed.';
    return {
      ...origin,
      type: 'log',
      level: 'ERROR',
      code: 'DOWNLINK_FAILED',
      description,
      queueItemId: ours(failed.child('downlink') ?? failed, event),
      context: { namespace: error?.text('namespace') ?? '', name: error?.text('name') ?? '' },
    };
  }
  const queued = event.child('downlink_queued');
  if (queued !== null) {
    const about = { level: 'INFO', code: 'DOWNLINK_QUEUED', description: 'The downlink is queued.' } as const;
    return { ...origin, type: 'log', ...about, queueItemId: ours(queued, event), context: {} };
  }
  const solved = event.child('location_solved');
  if (solved !== null) {
    const location = locationOf(solved.child('location'));
    if (location === null) throw new EventFault('location_solved has no location.');
    return { ...origin, type: 'location', location };
  }
  const service = event.child('service_data');
  if (service !== null) {
    const object = service.value('data');
    return { ...origin, type: 'integration', name: service.text('service'), eventType: 'service_data', object };
  }
  throw new EventFault(
    'The event is none that is known: it has no uplink_message, join_accept, downlink_… or the like.',
  );
}

function originOf(event: Members, uplink: Members | null, digest: string): LoraOrigin {
  const device = event.child('end_device_ids');
  if (device === null) throw new EventFault('The event has no end_device_ids.');
  const devEui = device.hex('dev_eui', 8);
  const applicationId = device.child('application_ids')?.text('application_id') ?? '';
  if (devEui === '') throw new EventFault('end_device_ids has no dev_eui: give the device one in The Things Stack.');
  if (applicationId === '') throw new EventFault('end_device_ids has no application_ids.application_id.');
  const version = uplink?.child('version_ids') ?? null;
  const model = version?.text('model_id') ?? '';
  return {
    devEui,
    deviceName: device.text('device_id'),
    deviceId: device.text('device_id'),
    applicationId,
    applicationName: applicationId,
    tenant: uplink?.child('network_ids')?.text('tenant_id') ?? '',
    deviceProfile: model === '' ? [] : [`${version?.text('brand_id') ?? ''}/${model}`, model],
    timeUs: uplink?.timeUs('received_at') ?? event.timeUs('received_at'),
    deduplicationId: deduplicationId(event) ?? digest,
  };
}

/** The id that the network gave the uplink when it was received, which a repeat of the event bears too. */
function deduplicationId(event: Members): string | null {
  const ids = event.texts('correlation_ids');
  const uplink = event.child('uplink_message');
  if (uplink === null) return null;
  const of = (prefix: string) => ids.find((id) => id.startsWith(prefix));
  const id = of('as:up:') ?? of('ns:uplink:') ?? of('gs:uplink:');
  return id === undefined ? null : `${id.slice(0, 256)}/${uplink.number('f_cnt')}`;
}

/** Our id of the downlink that an event is about; "" if it is none of ours. */
function ours(downlink: Members, event: Members): string {
  const all = [...downlink.texts('correlation_ids'), ...event.texts('correlation_ids')];
  return all.find((id) => id.startsWith(CORRELATION_PREFIX))?.slice(CORRELATION_PREFIX.length, 64) ?? '';
}

function radioOf(uplink: Members): Radio {
  const receptions = uplink.children('rx_metadata').map((each) => {
    const gateway = each.child('gateway_ids');
    return {
      gateway: gateway?.text('eui').toLowerCase() || (gateway?.text('gateway_id') ?? ''),
      rssi: each.numberOrNull('rssi') ?? each.numberOrNull('channel_rssi'),
      snr: each.numberOrNull('snr'),
      location: locationOf(each.child('location')),
    };
  });
  const best = bestReception(receptions);
  const settings = uplink.child('settings');
  const lora = settings?.child('data_rate')?.child('lora') ?? null;
  return {
    gateway: best?.gateway ?? '',
    gatewayCount: receptions.length,
    rssi: best?.rssi ?? null,
    snr: best?.snr ?? null,
    location: best?.location ?? null,
    frequencyHz: settings?.numberOrNull('frequency') ?? null,
    spreadingFactor: lora?.numberOrNull('spreading_factor') ?? null,
    bandwidthHz: lora?.numberOrNull('bandwidth') ?? null,
    codeRate: lora?.text('coding_rate') ?? '',
    dr: settings?.numberOrNull('data_rate_index') ?? null,
    adr: null,
  };
}
