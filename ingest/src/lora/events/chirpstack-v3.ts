import { statusOf, toldLocation } from './chirpstack.ts';
import { ERROR_TYPES, LOCATION_SOURCES } from './chirpstack-v3-messages.ts';
import { bestReception, type LoraEvent, type LoraOrigin, type Radio } from './lora-event.ts';
import { EventFault, locationOf, type Members } from './members.ts';

const COUNTER_MAX = 0xff_ff_ff_ff;

/** One event of ChirpStack v3 (the LoRa App Server), of its protobuf form or of either of its JSON forms: that of
 *  protobuf (`devEUI` in Base64, `objectJSON`) and the older one (`devEUI` in hex, `object`).
 *  @param digest identifies the event by its bytes, for those that bear no id
 *  @throws EventFault  @source ChirpStack v3: integrations, event types */
export function chirpStackV3Event(type: string, event: Members, digest: string): LoraEvent {
  const origin = originOf(event, digest);
  switch (type) {
    case 'up':
      return {
        ...origin,
        deduplicationId: uplinkId(event) ?? digest,
        type,
        devAddr: event.hex('devAddr', 4),
        fPort: event.integer('fPort', 255),
        fCnt: event.integer('fCnt', COUNTER_MAX),
        confirmed: event.boolean('confirmedUplink'),
        data: event.bytes('data'),
        object: objectOf(event),
        radio: radioOf(event),
      };
    case 'join':
      return { ...origin, type, devAddr: event.hex('devAddr', 4) };
    case 'ack':
      return {
        ...origin,
        type,
        acknowledged: event.boolean('acknowledged'),
        fCntDown: event.integer('fCnt', COUNTER_MAX),
        queueItemId: '',
      };
    case 'txack':
      return {
        ...origin,
        type,
        fCntDown: event.integer('fCnt', COUNTER_MAX),
        queueItemId: '',
        gateway: event.hex('gatewayID', 8),
        frequencyHz: event.child('txInfo')?.numberOrNull('frequency') ?? null,
      };
    case 'error':
      return {
        ...origin,
        type: 'log',
        level: 'ERROR',
        code: event.oneOf('type', ERROR_TYPES),
        description: event.text('error'),
        queueItemId: '',
        context: {},
      };
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
        object: objectOf(event),
      };
    default:
      throw new EventFault('ChirpStack v3 has no event of this name.');
  }
}

function originOf(event: Members, digest: string): LoraOrigin {
  const devEui = event.hex('devEUI', 8);
  const applicationId = event.text('applicationID');
  if (devEui === '') throw new EventFault('The event has no devEUI.');
  if (applicationId === '' || applicationId === '0') throw new EventFault('The event has no applicationID.');
  const first = event.children('rxInfo')[0];
  return {
    devEui,
    deviceName: event.text('deviceName'),
    deviceId: '',
    applicationId,
    applicationName: event.text('applicationName'),
    tenant: '',
    deviceProfile: [event.text('deviceProfileID'), event.text('deviceProfileName')].filter((name) => name !== ''),
    timeUs: event.timeUs('publishedAt') ?? first?.timeUs('time') ?? null,
    deduplicationId: digest,
  };
}

/** Each gateway's reception has an id of its own: of those of one uplink the least stands for it. */
function uplinkId(event: Members): string | null {
  const ids = event
    .children('rxInfo')
    .map((each) => each.hex('uplinkID', 16))
    .filter((id) => id !== '' && !/^0+$/.test(id))
    .sort();
  return ids[0] ?? null;
}

const objectOf = (event: Members): unknown => event.jsonText('objectJSON') ?? event.value('object');

function radioOf(event: Members): Radio {
  const receptions = event.children('rxInfo').map((each) => ({
    gateway: each.hex('gatewayID', 8),
    rssi: each.number('rssi'),
    snr: each.number('loRaSNR'),
    location: locationOf(each.child('location'), LOCATION_SOURCES),
  }));
  const best = bestReception(receptions);
  const sent = event.child('txInfo');
  const lora = sent?.child('loRaModulationInfo') ?? null;
  return {
    gateway: best?.gateway ?? '',
    gatewayCount: receptions.length,
    rssi: best?.rssi ?? null,
    snr: best?.snr ?? null,
    location: best?.location ?? null,
    frequencyHz: sent?.numberOrNull('frequency') ?? null,
    spreadingFactor: lora?.numberOrNull('spreadingFactor') ?? null,
    // v3 says kHz.
    bandwidthHz: lora === null ? null : lora.number('bandwidth') * 1_000,
    codeRate: lora?.text('codeRate') ?? '',
    dr: event.numberOrNull('dr') ?? sent?.numberOrNull('dr') ?? 0,
    adr: event.boolean('adr'),
  };
}
