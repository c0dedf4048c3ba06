import {
  type AuditTrail,
  type ChannelRecord,
  type CodecRunner,
  type DeadReason,
  type Gate,
  type Log,
  LogError,
  type Logger,
  type LoraDirectory,
  type Metrics,
  MillraceError,
  type Presence,
  Protocol,
  type ThingRecord,
} from '@millrace/core';
import { WallClock } from '../clock.ts';
import type { PublishTarget } from '../message-encoder.ts';
import { type PublishRefusal, REGISTRY_AWAY } from '../message-publisher.ts';
import type { LoraConfig } from './config.ts';
import { DeadLetters } from './dead-letters.ts';
import { DeviceOrder } from './device-order.ts';
import type { SentDownlink } from './downlink/sent-downlinks.ts';
import { EventPublisher } from './event-publisher.ts';
import type { Bury, EventSource, Taken, TakenEvents, Whereabouts } from './event-source.ts';
import type { LoraEvent, UplinkEvent } from './events/lora-event.ts';
import type { ReadEvent } from './events/read-event.ts';
import { KnownDevices } from './known-devices.ts';
import { blobOf, type DecodedUplink, type LoraMessage, messagesOf } from './messages.ts';
import { pause } from './pause.ts';
import { RecentEvents } from './recent-events.ts';
import { ThingClients } from './thing-clients.ts';

export interface IntakeOptions {
  readonly config: LoraConfig;
  readonly log: Log;
  readonly gate: Gate;
  readonly directory: LoraDirectory;
  readonly codecs: CodecRunner | null;
  readonly audit?: AuditTrail | undefined;
  readonly presence?: Presence | undefined;
  readonly metrics: Metrics;
  readonly logger: Logger;
  readonly events: TakenEvents;
}

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;
/** A fault of ours that comes again is the event's doing: it must not hold up all others for ever. */
const FAULTS_MAX = 3;

interface Letter {
  readonly channel: string;
  readonly publisher?: string | undefined;
  readonly reason: DeadReason;
  readonly detail: string;
  readonly bytes: Uint8Array;
  readonly dedupKey?: string;
  readonly type?: string;
}

/** Takes events, whichever way they come: who is it, may they, decode, append; answered once all is durable.
 *  @holds the events of one device keep their order */
export class Intake {
  readonly deadLetters: DeadLetters;
  readonly #options: IntakeOptions;
  readonly #publisher: EventPublisher;
  readonly #clock = new WallClock();
  readonly #known: KnownDevices;
  readonly #clients: ThingClients;
  readonly #order = new DeviceOrder();
  readonly #recent: RecentEvents<Promise<Taken>>;
  readonly #adjusting: NodeJS.Timeout;

  constructor(options: IntakeOptions) {
    const { config, log, gate, directory, metrics, logger, audit } = options;
    this.#options = options;
    this.#known = new KnownDevices(directory, config.MILLRACE_LORA_KNOWN_DEVICES_MAX);
    this.#clients = new ThingClients(gate, config.MILLRACE_LORA_KNOWN_DEVICES_MAX);
    const keptMs = config.MILLRACE_LORA_RECENT_EVENTS_S * 1_000;
    this.#recent = new RecentEvents(config.MILLRACE_LORA_RECENT_EVENTS_MAX, keptMs);
    this.deadLetters = new DeadLetters(log, gate, this.#clock);
    this.#publisher = new EventPublisher({ log, gate, clock: this.#clock, metrics, logger, audit });
    this.#adjusting = setInterval(() => this.#clock.adjust(), 1_000);
    this.#adjusting.unref();
  }

  stop(): void {
    clearInterval(this.#adjusting);
    this.#known.stop();
  }

  get nowMs(): number {
    return this.#clock.nowUs() / 1_000;
  }

  /** @param where what cannot be read is told  @throws never */
  async take(source: EventSource, read: ReadEvent, bytes: Uint8Array, where: Whereabouts): Promise<Taken> {
    const fault = { channel: where.otherwise, reason: 'bad_event', detail: 'A fault on our side.', bytes } as const;
    if (read.kind === 'bad') {
      return this.#patiently(source, fault, async () => {
        const { applicationId, otherwise } = where;
        const { server } = source;
        const known =
          applicationId === '' ? null : await this.#known.application(source.org, applicationId, server ?? undefined);
        return this.#bury(source, { ...fault, channel: known?.id ?? otherwise, detail: read.detail });
      });
    }
    const { event } = read;
    const { caller, org } = source;
    // Who asks is judged before anything is told about what was taken before.
    const behalf = caller === null ? null : await this.#callerTarget(source, event);
    if (behalf !== null && 'kind' in behalf) return behalf;
    const key = eventKey(org, event);
    for (let before = this.#recent.get(key); before !== undefined; before = this.#recent.get(key)) {
      const taken = await before;
      if (taken.kind !== 'refused') return { kind: 'repeated', id: taken.id };
      // The first one was refused: another one has its own try.
      if (this.#recent.get(key) === before) this.#recent.delete(key);
    }
    const about = this.#options.events.about(org, event);
    const work = () =>
      this.#patiently(source, fault, () => this.#process(source, event, bytes, key, { about, behalf }));
    const asked = this.#order.run(`${org} ${event.devEui}`, work);
    this.#recent.add(key, asked);
    const taken = await asked;
    if (taken.kind === 'refused' && this.#recent.get(key) === asked) this.#recent.delete(key);
    return taken;
  }

  /** What the caller may itself, where somebody shows a credential with each event. */
  async #callerTarget(source: EventSource, event: LoraEvent): Promise<PublishTarget | Taken | null> {
    const { caller, org, server } = source;
    if (caller === null) return null;
    let target: PublishTarget | PublishRefusal | null = null;
    const told = await this.#settled(async () => {
      const channel = await this.#known.application(org, event.applicationId, server ?? undefined);
      target = channel === null ? NO_CHANNEL : await this.#publisher.decideCaller(caller, channel, event);
      // Whether there is such a channel is nobody's business who may not know it.
      if ('kind' in target && target.status === 404) target = NO_CHANNEL;
      return { kind: 'refused', refusal: 'kind' in target ? target : NO_CHANNEL };
    });
    return target === null || 'kind' in target ? told : target;
  }

  async #patiently(source: EventSource, fault: Letter, work: () => Promise<Taken>): Promise<Taken> {
    const { patience } = source;
    let pauseMs = RETRY_MS_MIN;
    for (let faults = 0; ; ) {
      const taken = await this.#settled(work);
      if (taken.kind !== 'refused' || patience === null || patience.aborted) return taken;
      if (taken.refusal.status === 500 && ++faults === FAULTS_MAX)
        return this.#settled(() => this.#bury(source, fault));
      await pause(pauseMs, patience);
      pauseMs = Math.min(RETRY_MS_MAX, pauseMs * 2);
    }
  }

  async #settled(work: () => Promise<Taken>): Promise<Taken> {
    try {
      return await work();
    } catch (error) {
      const { logger } = this.#options;
      if (error instanceof LogError) {
        logger.warn({ code: error.code }, 'lora: the log takes nothing now');
        const reason = error.code === 'LOG_FULL' ? 'log_full' : 'log_unreachable';
        return {
          kind: 'refused',
          refusal: { ...REGISTRY_AWAY, reason, detail: 'The log takes nothing now: try again later.' },
        };
      }
      if (error instanceof MillraceError && error.retry !== 'never') {
        logger.warn({ code: error.code }, 'lora: the registry cannot be asked');
        return { kind: 'refused', refusal: REGISTRY_AWAY };
      }
      logger.error({ err: error }, 'lora: a fault');
      return {
        kind: 'refused',
        refusal: { kind: 'refused', status: 500, reason: 'fault', detail: 'A fault on our side.' },
      };
    }
  }

  async #process(
    source: EventSource,
    event: LoraEvent,
    bytes: Uint8Array,
    key: string,
    { about, behalf }: { readonly about: SentDownlink | null; readonly behalf: PublishTarget | null },
  ): Promise<Taken> {
    const { org, server } = source;
    const write: Bury = (reason, detail, channel, publisher) =>
      this.#bury(source, { channel, publisher, reason, detail, bytes, dedupKey: `${key}/dead`, type: event.type });
    const bury: Bury = async (...letter) => {
      const { caller } = source;
      const refusal = caller === null || behalf === null ? null : this.#publisher.limitedLetter(caller, behalf);
      return refusal === null ? write(...letter) : { kind: 'refused', refusal };
    };
    const channel = await this.#known.application(org, event.applicationId, server ?? undefined);
    if (channel === null) {
      if (server === null) return { kind: 'refused', refusal: NO_CHANNEL };
      return bury('unknown_application', unknownApplication(event), server.id);
    }
    const thing = await this.#thingOf(source, event, channel);
    if (thing === null) return bury('unknown_device', unknownDevice(source, event), channel.id);
    const client = await this.#clients.of(thing, source.peer);
    if (typeof client === 'string') {
      if (client === 'unknown') return bury('unknown_device', unknownDevice(source, event), channel.id);
      return bury('forbidden', `The thing ${thing.id} (DevEUI ${event.devEui}) is disabled.`, channel.id, thing.id);
    }
    const decoded = event.type === 'up' ? await this.#decode(event, thing, channel) : null;
    const failed = decoded?.failed ?? null;
    const messages: LoraMessage[] =
      failed !== null && event.type === 'up'
        ? [blobOf(event), ...messagesOf({ ...event, object: null, data: new Uint8Array(0) }, null)]
        : messagesOf(event, decoded?.decoded ?? null, about?.command);
    const taken = await this.#publisher.publish({ event, thing: client, channel, messages, key, behalf, bury });
    if (taken.kind !== 'stored') return taken;
    const { context, principal } = client.client;
    this.#options.presence?.seen(principal.subject.id, org, Protocol.lora, context.remoteAddress, this.nowMs);
    if (failed !== null) await write('codec_failed', failed, channel.id, thing.id);
    this.#options.events.taken(source, event, thing.id, about);
    return taken;
  }

  async #thingOf(source: EventSource, event: LoraEvent, channel: ChannelRecord): Promise<ThingRecord | null> {
    const known = await this.#known.device(source.org, event.devEui);
    const { server } = source;
    if (known !== null || server === null || server.provisioning === null) return known;
    const { devEui, deviceName, applicationId, applicationName, deviceProfile } = event;
    const device = {
      devEui,
      name: deviceName,
      applicationId,
      applicationName,
      deviceProfile: deviceProfile.at(-1) ?? '',
    };
    return this.#options.directory.provision(server, device, channel);
  }

  /** @returns null where nobody but the network server decodes */
  async #decode(
    event: UplinkEvent & LoraEvent,
    thing: ThingRecord,
    channel: ChannelRecord,
  ): Promise<{ readonly decoded: DecodedUplink; readonly failed: string | null } | null> {
    const { codecs } = this.#options;
    if (codecs === null || event.data.length === 0) return null;
    const codec = await this.#known.codec(thing, event.deviceProfile, channel.id);
    if (codec === null) return null;
    const input = { bytes: event.data, fPort: event.fPort, variables: variablesOf(thing) };
    const result = await codecs.decode(codec, input);
    return result.kind === 'decoded'
      ? { decoded: { object: result.data }, failed: null }
      : { decoded: null, failed: `The codec ${codec.name} failed: ${result.detail}` };
  }

  async #bury(source: EventSource, letter: Letter): Promise<Taken> {
    const { channel, publisher = letter.channel, reason, detail, bytes, dedupKey, type } = letter;
    const id = await this.deadLetters.write({
      org: source.org,
      channel,
      publisher,
      subtopic: type === undefined ? '' : `event/${type}`,
      reason,
      detail,
      payload: bytes,
      contentType: source.contentType,
      ...(dedupKey === undefined ? {} : { dedupKey }),
    });
    return { kind: 'dead', id, reason, detail };
  }
}

const named = (name: string): string => (name === '' ? '' : ` (${name.slice(0, 100)})`);

const NO_CHANNEL: PublishRefusal = {
  kind: 'refused',
  status: 404,
  reason: 'no_such_channel',
  detail: "No channel stands for the event's application: set a channel's metadata.lora.app_id to its id.",
};

const unknownApplication = ({ applicationId, applicationName }: LoraEvent): string =>
  `No channel stands for the application ${applicationId}${named(applicationName)}: set a channel's metadata.lora.app_id to it.`;

function unknownDevice(source: EventSource, event: LoraEvent): string {
  const why =
    source.server?.provisioning == null
      ? ''
      : ' It was not provisioned: the number of things a day is reached, or its group is gone.';
  return `No thing has the DevEUI ${event.devEui}${named(event.deviceName)}: make one with it as external_id or metadata.lora.dev_eui, and connect it to the channel.${why}`;
}

/** By which a repeat of an event is known. Its id alone would not do: who tells events of one device could keep out those
 *  of another, and learn of them. */
export const eventKey = (
  org: string,
  {
    applicationId,
    devEui,
    deduplicationId,
    type,
  }: Pick<LoraEvent, 'applicationId' | 'devEui' | 'deduplicationId' | 'type'>,
): string => `lora/${org}/${JSON.stringify([applicationId, devEui, deduplicationId])}/${type}`;

/** What a thing's `metadata.lora.variables` gives its codec. */
export function variablesOf(thing: ThingRecord): Record<string, string> {
  const lora = thing.metadata.lora as { variables?: unknown } | undefined;
  const variables = lora?.variables;
  if (typeof variables !== 'object' || variables === null) return {};
  return Object.fromEntries(
    Object.entries(variables).flatMap(([name, value]) =>
      ['string', 'number', 'boolean'].includes(typeof value) ? [[name, String(value)]] : [],
    ),
  );
}
