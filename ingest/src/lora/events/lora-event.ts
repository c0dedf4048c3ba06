/** What a network server told, whichever it is: the normal form of its events.
 *  @units timeUs: µs since 1970, null where the server did not say; frequencies in Hz, rssi in dBm, snr in dB */
export type LoraEvent = LoraOrigin &
  (UplinkEvent | JoinEvent | AckEvent | TxAckEvent | LogEvent | StatusEvent | LocationEvent | IntegrationEvent);

export const LORA_EVENTS = ['up', 'join', 'ack', 'txack', 'log', 'status', 'location', 'integration'] as const;
export type LoraEventType = (typeof LORA_EVENTS)[number];

/** Which device it is about, and when it was. */
export interface LoraOrigin {
  /** 16 hex digits, in lower case. */
  readonly devEui: string;
  readonly deviceName: string;
  /** What The Things Stack calls the device; "" elsewhere. */
  readonly deviceId: string;
  readonly applicationId: string;
  readonly applicationName: string;
  /** Of The Things Stack's cloud; "" elsewhere. */
  readonly tenant: string;
  /** Id and name of its profile there, as far as they are known. */
  readonly deviceProfile: readonly string[];
  readonly timeUs: number | null;
  /** The same when the server tells it again, unlike that of every other event of its type in an organisation. */
  readonly deduplicationId: string;
}

export interface UplinkEvent {
  readonly type: 'up';
  readonly devAddr: string;
  readonly fPort: number;
  readonly fCnt: number;
  readonly confirmed: boolean;
  /** FRMPayload, decrypted; empty if it carried only MAC commands. */
  readonly data: Uint8Array;
  /** What the server's own codec made of it; null if it has none. */
  readonly object: unknown;
  readonly radio: Radio;
}
export interface JoinEvent {
  readonly type: 'join';
  readonly devAddr: string;
}
/** A confirmed downlink was heard by its device, or not. */
export interface AckEvent {
  readonly type: 'ack';
  readonly acknowledged: boolean;
  readonly fCntDown: number;
  /** What the server knows the downlink by: ours, where we gave it one; "" if it does not say. */
  readonly queueItemId: string;
}
/** A gateway took a downlink to send it. */
export interface TxAckEvent {
  readonly type: 'txack';
  readonly fCntDown: number;
  readonly queueItemId: string;
  readonly gateway: string;
  readonly frequencyHz: number | null;
}
export interface LogEvent {
  readonly type: 'log';
  readonly level: 'INFO' | 'WARNING' | 'ERROR';
  readonly code: string;
  readonly description: string;
  /** Of the downlink that it is about, "" if of none. */
  readonly queueItemId: string;
  readonly context: Readonly<Record<string, string>>;
}
export interface StatusEvent {
  readonly type: 'status';
  readonly marginDb: number;
  readonly externalPower: boolean;
  /** null: the device does not know. */
  readonly batteryPercent: number | null;
}
export interface LocationEvent {
  readonly type: 'location';
  readonly location: Location;
}
/** What another integration of the server made. */
export interface IntegrationEvent {
  readonly type: 'integration';
  readonly name: string;
  readonly eventType: string;
  readonly object: unknown;
}

export interface Location {
  readonly latitude: number;
  readonly longitude: number;
  readonly altitude: number | null;
  readonly accuracyM: number | null;
  readonly source: string;
}

/** How an uplink was heard: by the gateway that heard it best. null is what the server did not say. */
export interface Radio {
  readonly gateway: string;
  readonly gatewayCount: number;
  readonly rssi: number | null;
  readonly snr: number | null;
  readonly location: Location | null;
  readonly frequencyHz: number | null;
  readonly spreadingFactor: number | null;
  readonly bandwidthHz: number | null;
  readonly codeRate: string;
  readonly dr: number | null;
  readonly adr: boolean | null;
}

/** One gateway's word on an uplink. */
export interface Reception {
  readonly gateway: string;
  readonly rssi: number | null;
  readonly snr: number | null;
  readonly location: Location | null;
}

/** The reception with the best signal to noise ratio; of equal ones the strongest, then the first. */
export function bestReception(all: readonly Reception[]): Reception | null {
  let best: Reception | null = null;
  for (const each of all) {
    if (best === null || compare(each.snr, best.snr) > 0) best = each;
    else if (compare(each.snr, best.snr) === 0 && compare(each.rssi, best.rssi) > 0) best = each;
  }
  return best;
}

const compare = (a: number | null, b: number | null): number =>
  (a ?? Number.NEGATIVE_INFINITY) === (b ?? Number.NEGATIVE_INFINITY)
    ? 0
    : (a ?? Number.NEGATIVE_INFINITY) - (b ?? Number.NEGATIVE_INFINITY);
