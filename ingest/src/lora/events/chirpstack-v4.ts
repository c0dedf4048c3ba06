import { statusOf, toldLocation } from './chirpstack.ts';
import { CODE_RATES, LOCATION_SOURCES, LOG_CODES, LOG_LEVELS } from './chirpstack-v4-messages.ts';
import { bestReception, type LogEvent, type LoraEvent, type LoraOrigin, type Radio } from './lora-event.ts';
import { EventFault, locationOf, type Members } from './members.ts';

const COUNTER_MAX = 0xff_ff_ff_ff;

/** One event of ChirpStack v4, of its JSON or its protobuf form.
 *  @param digest identifies the event by its bytes, for those that bear no id
 *  @throws EventFault  @source ChirpStack: integrations, event types */
export function chirpStackV4Event(type: string, event: Members, digest: string): LoraEvent {
  const origin = originOf(event, digest);
  switch (type) {
    case 'up':
      return {
        ...origin,
        type,
        devAddr: event.hex('devAddr', 4),
        fPort: event.integer('fPort', 255),
        fCnt: event.integer('fCnt', COUNTER_MAX),
        confirmed: event.boolean('confirmed'),
        data: event.bytes('data'),
        object: event.value('object'),
        radio: radioOf(event),
      };
    case 'join':
      return { ...origin, type, devAddr: event.hex('devAddr', 4) };
    case 'ack':
      return {
        ...origin,
        type,
        acknowledged: event.boolean('acknowledged'),
        fCntDown: event.integer('fCntDown', COUNTER_MAX),
        queueItemId: event.text('queueItemId'),
      };
    case 'txack':
      return {
        ...origin,
        type,
        fCntDown: event.integer('fCntDown', COUNTER_MAX),
        queueItemId: event.text('queueItemId'),
        gateway: event.text('gatewayId'),
        frequencyHz: event.child('txInfo')?.numberOrNull('frequency') ?? null,
      };
    case 'log': {
      const context = event.map('context');
      return {
        ...origin,
        type,
        level: event.oneOf('level', LOG_LEVELS) as LogEvent['level'],
        code: event.oneOf('code', LOG_CODES),
        description: event.text('description'),
        queueItemId: context.queue_item_id ?? '',
        context,
      };
    }
    case 'status':
      return { ...origin, type, ...statusOf(event) };
    case 'location':
      return { ...origin, type, location: toldLocation(event, LOCATION_SOURCES) };
    case 'integration':
      return {
        ...origin,
        type,
        name: event.text('integrationName'),
        eventType: event.text('eventType'),
        object: event.value('object'),
      };
    default:
      throw new EventFault('ChirpStack has no event of this name.');
  }
}

function originOf(event: Members, digest: string): LoraOrigin {
  const device = event.child('deviceInfo');
  if (device === null) throw new EventFault('The event has no deviceInfo.');
  const devEui = device.hex('devEui', 8);
  const applicationId = device.text('applicationId');
  if (devEui === '') throw new EventFault('deviceInfo has no devEui.');
  if (applicationId === '') throw new EventFault('deviceInfo has no applicationId.');
  return {
    devEui,
    deviceName: device.text('deviceName'),
    deviceId: '',
    applicationId,
    applicationName: device.text('applicationName'),
    tenant: '',
    deviceProfile: [device.text('deviceProfileId'), device.text('deviceProfileName')].filter((name) => name !== ''),
    timeUs: event.timeUs('time'),
    deduplicationId: event.text('deduplicationId') || digest,
  };
}

function radioOf(event: Members): Radio {
  const receptions = event.children('rxInfo').map((each) => ({
    gateway: each.text('gatewayId'),
    rssi: each.number('rssi'),
    snr: each.number('snr'),
    location: locationOf(each.child('location'), LOCATION_SOURCES),
  }));
  const best = bestReception(receptions);
  const sent = event.child('txInfo');
  const lora = sent?.child('modulation')?.child('lora') ?? null;
  return {
    gateway: best?.gateway ?? '',
    gatewayCount: receptions.length,
    rssi: best?.rssi ?? null,
    snr: best?.snr ?? null,
    location: best?.location ?? null,
    frequencyHz: sent?.numberOrNull('frequency') ?? null,
    spreadingFactor: lora?.numberOrNull('spreadingFactor') ?? null,
    bandwidthHz: lora?.numberOrNull('bandwidth') ?? null,
    codeRate: lora?.oneOf('codeRate', CODE_RATES) ?? '',
    dr: event.number('dr'),
    adr: event.boolean('adr'),
  };
}
