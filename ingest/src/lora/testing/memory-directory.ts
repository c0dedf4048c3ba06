import type {
  ChannelRecord,
  CodecRecord,
  LoraApplication,
  LoraDevice,
  LoraDirectory,
  LoraMember,
  LoraReach,
  NetworkServer,
  NetworkServerReport,
  ThingRecord,
} from '@millrace/core';
import { ORG } from '../../testing/gate.ts';

type Change = Parameters<Parameters<LoraDirectory['onChange']>[0]>[0];

/** Who is who, in memory. Things are named `many-…` and channels `chan-…`, as the gate of the tests knows them.
 *  Call `changed` when you change something. */
export class MemoryDirectory implements LoraDirectory {
  readonly things = new Map<string, ThingRecord>();
  readonly channels = new Map<string, ChannelRecord>();
  readonly codecs = new Map<string, CodecRecord>();
  readonly listed = new Map<string, NetworkServer>();
  readonly reports = new Map<string, NetworkServerReport>();
  readonly provisioned: LoraDevice[] = [];
  /** What asking throws. */
  failure: Error | null = null;
  asked = 0;
  readonly #listeners = new Set<(change: Change) => void>();

  /** @returns the thing's id */
  addThing(devEui: string, metadata: object = {}): string {
    const id = `many-${devEui}`;
    const lora = { dev_eui: devEui, ...metadata };
    this.things.set(devEui, {
      kind: 'thing',
      id,
      org: ORG,
      type: 'device',
      enabled: true,
      metadata: { lora },
      epoch: 0,
    });
    this.changed('devices');
    return id;
  }

  addChannel(applicationId: string, id = `chan-${applicationId}`): string {
    const usual = { enabled: true, alias: null, contentType: null, groups: [], profile: {}, limits: {} } as const;
    this.channels.set(applicationId, { id, org: ORG, ...usual });
    this.changed('devices');
    return id;
  }

  addServer(server: NetworkServer): void {
    this.listed.set(server.id, server);
    this.changed('servers');
  }

  changed(kind: Change['kind'], org: string | null = ORG): void {
    for (const listener of this.#listeners) listener({ kind, org, id: null });
  }

  async servers(): Promise<readonly NetworkServer[]> {
    this.#ask();
    return [...this.listed.values()];
  }
  async device(org: string, devEui: string): Promise<ThingRecord | null> {
    this.#ask();
    return org === ORG ? (this.things.get(devEui) ?? null) : null;
  }
  async application(org: string, applicationId: string): Promise<ChannelRecord | null> {
    this.#ask();
    return org === ORG ? (this.channels.get(applicationId) ?? null) : null;
  }
  async applicationOf(channel: string): Promise<LoraApplication | null> {
    this.#ask();
    return this.#applications().find((each) => each.channel === channel) ?? null;
  }
  async devicesOf(_channel: string, limit: number): Promise<readonly LoraMember[]> {
    this.#ask();
    const all = [...this.things].map(([devEui, thing]) => ({ thing, devEui, subscribe: true }));
    return all.slice(0, limit);
  }
  async reach(thing: string): Promise<LoraReach | null> {
    this.#ask();
    const found = [...this.things].find(([, { id }]) => id === thing);
    if (found === undefined) return null;
    const lora = found[1].metadata.lora as { device_id?: string };
    return {
      thing: found[1],
      devEui: found[0],
      deviceId: lora.device_id ?? null,
      applications: this.#applications(),
    };
  }
  async codec(_org: string, thing: ThingRecord | null): Promise<CodecRecord | null> {
    this.#ask();
    const lora = thing?.metadata.lora as { codec?: string } | undefined;
    return this.codecs.get(lora?.codec ?? '') ?? null;
  }
  async provision(_server: NetworkServer, device: LoraDevice): Promise<ThingRecord | null> {
    this.#ask();
    this.provisioned.push(device);
    this.addThing(device.devEui);
    return this.things.get(device.devEui) ?? null;
  }
  report(server: string, report: NetworkServerReport): void {
    this.reports.set(server, report);
  }
  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #applications(): LoraApplication[] {
    return [...this.channels].map(([applicationId, { id, org }]) => ({
      org,
      channel: id,
      applicationId,
      server: null,
    }));
  }

  #ask(): void {
    this.asked++;
    if (this.failure !== null) throw this.failure;
  }
}

/** A network server at a broker, with what is usual. */
export function brokered(id: string, url: string, mqtt: object = {}, more: object = {}): NetworkServer {
  return {
    id,
    org: ORG,
    name: id,
    kind: 'chirpstack-v4',
    enabled: true,
    version: 1,
    mqtt: {
      url,
      username: '',
      password: '',
      clientId: '',
      topic: '',
      share: 'millrace',
      qos: 1,
      format: 'json',
      ca: '',
      certificate: '',
      key: '',
      ...mqtt,
    },
    http: null,
    provisioning: null,
    ...more,
  };
}
