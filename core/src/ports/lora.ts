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

/** @throws RegistryError REGISTRY_UNREACHABLE (retry later), from each method that asks
 *  @holds answers may be memoised until `onChange` tells of the organisation; one that was asked for before a change was
 *         told may be from before it, and must not be kept */
export interface LoraDirectory {
  /** Also those that are disabled, as all of an organisation that is frozen: `enabled` says so. */
  servers(): Promise<readonly NetworkServer[]>;
  /** A thing by DevEUI: its external id, or `metadata.lora.dev_eui`; in any case of letters, bytes apart by `-` or `:` or
   *  not. Of several the oldest.
   *  @param devEui 16 hex digits, in lower case */
  device(org: string, devEui: string): Promise<ThingRecord | null>;
  /** A channel by the application's id there: `metadata.lora.app_id`; of several the oldest.
   *  @param server where the application is: a channel whose `metadata.lora.server` (id or name) is it comes first, and
   *         one of another server does not count */
  application(
    org: string,
    applicationId: string,
    server?: Pick<NetworkServer, 'id' | 'name'>,
  ): Promise<ChannelRecord | null>;
  /** The application of a channel; null if it is none's. */
  applicationOf(channel: string): Promise<LoraApplication | null>;
  /** Things that have a DevEUI and are connected with a channel, the oldest first; at most `limit`. */
  devicesOf(channel: string, limit: number): Promise<readonly LoraMember[]>;
  /** How a thing is reached; null if it is none or has no DevEUI. */
  reach(thing: string): Promise<LoraReach | null>;
  /** The codec of a device: the one that its thing's `metadata.lora.codec` names (id or name), else the oldest one that
   *  lists its device profile (id or name, as the network server says), else the one that the channel's
   *  `metadata.lora.codec` names; null if none, or if what is named is not there. */
  codec(
    org: string,
    thing: ThingRecord | null,
    deviceProfile: readonly string[],
    channel?: string | null,
  ): Promise<CodecRecord | null>;
  /** Makes a thing for an unknown device as its server's `provisioning` says, connected to the channel. Where another
   *  node was quicker, gives what it made.
   *  @returns null when the day's number is reached, when the server does not (any more) provision, or when its group or
   *           the channel is gone; the log says which */
  provision(server: NetworkServer, device: LoraDevice, channel: ChannelRecord): Promise<ThingRecord | null>;
  /** How this node's connection with a server is, for people who ask for it. Cheap, never waits, never throws: written
   *  down every few seconds. Told whenever the state changes, and, with `lastEventMs`, as often as one likes. What a node
   *  that stops has said is forgotten. */
  report(server: string, report: NetworkServerReport): void;
  /** A server, a codec, a thing's or a channel's metadata, or a connection changed; a local change is told before it is
   *  answered to its author, another node's within a second.
   *  @param change id of what changed; null, and org null: everything may have */
  onChange(
    listener: (change: {
      readonly kind: 'servers' | 'devices';
      readonly org: string | null;
      readonly id: string | null;
    }) => void,
  ): () => void;
}

export const NETWORK_SERVER_STATES = ['connecting', 'connected', 'disconnected', 'refused'] as const;
export interface NetworkServerReport {
  /** `refused`: it does not let us in, so that somebody must do something. */
  readonly state: (typeof NETWORK_SERVER_STATES)[number];
  /** A sentence for people, never a secret; "" for none. */
  readonly detail: string;
  /** Of the last event, in ms since 1970; null: none yet, as far as this report knows. */
  readonly lastEventMs: number | null;
}
/** A channel that stands for an application of a network server. */
export interface LoraApplication {
  readonly org: string;
  readonly channel: string;
  readonly applicationId: string;
  /** Id or name of the network server, where `metadata.lora.server` says so. */
  readonly server: string | null;
}
export interface LoraMember {
  readonly thing: ThingRecord;
  readonly devEui: string;
  /** Whether its connection lets it have messages of the channel. */
  readonly subscribe: boolean;
}
export interface LoraReach {
  readonly thing: ThingRecord;
  /** 16 hex digits, in lower case. */
  readonly devEui: string;
  /** What The Things Stack calls it, where `metadata.lora.device_id` says so. */
  readonly deviceId: string | null;
  /** Of the channels that it is connected with; what its `metadata.lora.app_id` names comes first, then the oldest
   *  connections. */
  readonly applications: readonly LoraApplication[];
}
export interface LoraDevice {
  readonly devEui: string;
  readonly name: string;
  readonly applicationId: string;
  readonly applicationName: string;
  readonly deviceProfile: string;
}
