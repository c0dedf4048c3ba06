import type { ChannelRecord, ThingRecord } from './directory.ts';

/** LoRaWAN: network servers that an organisation has, and who is who there. */

export const LORA_KINDS = ['chirpstack-v4', 'chirpstack-v3', 'tts-v3'] as const;
export type LoraKind = (typeof LORA_KINDS)[number];

/** A network server's broker that every ingress node takes events from, and how downlinks get there. */
export interface NetworkServer {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly kind: LoraKind;
  readonly enabled: boolean;
  readonly version: number;
  /** null: it sends its events by HTTP. */
  readonly mqtt: NetworkServerMqtt | null;
  /** Where downlinks are enqueued by HTTP; null: by MQTT. */
  readonly http: { readonly url: string; readonly token: string } | null;
  /** What becomes of devices that nobody has registered. */
  readonly provisioning: LoraProvisioning | null;
}
export interface NetworkServerMqtt {
  /** `mqtt://host:1883`, `mqtts://…`, `ws://…`, `wss://…` */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly clientId: string;
  /** Topic filter of the events; the kind's own if "". */
  readonly topic: string;
  /** Group of a shared subscription ($share), so that several nodes split the load; "" for none. */
  readonly share: string;
  readonly qos: 0 | 1 | 2;
  readonly format: 'json' | 'protobuf';
  /** PEM; "" for the system's authorities, and for no client certificate. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}
export interface LoraProvisioning {
  /** Things are made in this group. */
  readonly group: string | null;
  /** Connected to the channel of their application with publish; also subscribe, if set. */
  readonly subscribe: boolean;
  /** At most so many things a day. */
  readonly thingsPerDayMax: number;
}

/** Turns bytes of a device into an object and back. */
export interface CodecRecord {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly version: number;
  readonly kind: 'javascript' | 'cayenne-lpp';
  /** Defines `decodeUplink({ bytes, fPort, variables })` and, for downlinks, `encodeDownlink({ data, fPort, variables })`. */
  readonly script: string;
}

/** @throws RegistryError REGISTRY_UNREACHABLE (retry later)
 *  @holds answers may be memoised until `onChange` tells of the organisation */
export interface LoraDirectory {
  servers(): Promise<readonly NetworkServer[]>;
  /** A thing by DevEUI: its external id, or `metadata.lora.dev_eui`; in any case of letters.
   *  @param devEui 16 hex digits, in lower case */
  device(org: string, devEui: string): Promise<ThingRecord | null>;
  /** A channel by the application's id there: `metadata.lora.app_id`. */
  application(org: string, applicationId: string): Promise<ChannelRecord | null>;
  /** Things that have a DevEUI and may be reached by a channel; at most `limit`. */
  devicesOf(
    channel: string,
    limit: number,
  ): Promise<readonly { readonly thing: ThingRecord; readonly devEui: string }[]>;
  devEuiOf(thing: ThingRecord): string | null;
  /** The codec of a device: the one that its thing's `metadata.lora.codec` names (id or name), else the one that lists
   *  its device profile (id or name, as the network server says); null if none. */
  codec(org: string, thing: ThingRecord | null, deviceProfile: readonly string[]): Promise<CodecRecord | null>;
  /** Makes a thing for an unknown device as its server's `provisioning` says, connected to the channel.
   *  @returns null when the day's number is reached */
  provision(server: NetworkServer, device: LoraDevice, channel: ChannelRecord): Promise<ThingRecord | null>;
  /** A server, a codec, a thing's or a channel's metadata changed. */
  onChange(
    listener: (change: { readonly kind: 'servers' | 'devices'; readonly org: string | null }) => void,
  ): () => void;
}
export interface LoraDevice {
  readonly devEui: string;
  readonly name: string;
  readonly applicationId: string;
  readonly applicationName: string;
  readonly deviceProfile: string;
}
