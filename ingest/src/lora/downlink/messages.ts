import {
  type Commands,
  type EnvelopeReader,
  type Gate,
  type Logger,
  type LoraApplication,
  type LoraDirectory,
  MillraceError,
  uuidText,
} from '@millrace/core';
import type { DeadLetters } from '../dead-letters.ts';
import type { KnownDevices } from '../known-devices.ts';
import type { LoraMeasures } from '../measures.ts';
import { type DownlinkRequest, isDownlink, readDownlink } from './request.ts';

export interface DownlinkMessagesOptions {
  readonly gate: Gate;
  readonly directory: LoraDirectory;
  /** Answers that are kept: anybody may publish to `down/…` of any channel, at any rate. */
  readonly known: Pick<KnownDevices, 'applicationOf'>;
  readonly commands: Commands;
  readonly deadLetters: DeadLetters;
  readonly measures: LoraMeasures;
  readonly logger: Logger;
  readonly expirySeconds: number;
}

/** What no second try would mend, in a sentence. */
const REFUSED: Readonly<Record<string, string>> = {
  REGISTRY_NOT_FOUND: 'The thing is gone.',
  REGISTRY_FULL: 'Too many commands wait for the thing already.',
  REGISTRY_INVALID: 'The downlink is larger than a command may be.',
};

/** Makes commands of the messages that were published to `down/<fPort>` of a channel that stands for an application. */
export class DownlinkMessages {
  readonly #options: DownlinkMessagesOptions;

  constructor(options: DownlinkMessagesOptions) {
    this.#options = options;
  }

  /** @param message open; valid until the call's first await  @returns whether it was a downlink
   *  @throws RegistryError, LogError (retry later) */
  async take(message: EnvelopeReader): Promise<boolean> {
    const { subtopic } = message;
    if (!isDownlink(subtopic)) return false;
    const { org, channel, publisher, contentType, receivedUs } = message;
    const id = uuidText(message.id);
    const payload = Uint8Array.from(message.payload);
    const genuine = this.#isGenuine(message);
    const { known, commands, measures, logger, expirySeconds } = this.#options;
    const application = await known.applicationOf(org, channel);
    if (application === null || application.org !== org) return false;
    if (!genuine) {
      logger.warn({ message: id, channel }, 'lora: a downlink that nobody admitted is passed over');
      return false;
    }
    const bury = async (detail: string): Promise<true> => {
      measures.downlink('dead');
      const letter = { org, channel, publisher, subtopic, contentType, payload, detail, reason: 'bad_event' } as const;
      await this.#options.deadLetters.write({ ...letter, dedupKey: `lora/down/${id}` });
      return true;
    };
    const receivedMs = receivedUs / 1_000;
    const read = readDownlink(subtopic, contentType, payload, receivedMs);
    if (read.kind === 'bad') return bury(read.detail);
    const thing = await this.#deviceOf(read.request, application);
    if (typeof thing === 'string') return bury(thing);
    const expiresMs = read.request.expiresMs ?? receivedMs + expirySeconds * 1_000;
    if (expiresMs <= Date.now()) {
      measures.downlink('late');
      return true;
    }
    const command = { id, org, thing: thing.id, kind: 'lora.downlink', expiresMs } as const;
    try {
      await commands.put({ ...command, arguments: { ...read.request.arguments } });
    } catch (error) {
      if (error instanceof MillraceError && error.retry !== 'never') throw error;
      const detail = error instanceof MillraceError ? REFUSED[error.code] : undefined;
      // Tried again it would only keep back all that comes after it.
      if (detail === undefined) logger.error({ err: error, message: id }, 'lora: a downlink cannot become a command');
      return bury(detail ?? 'No command can be made of it.');
    }
    return true;
  }

  /** Whether its publisher was judged by one of our nodes. */
  #isGenuine(message: EnvelopeReader): boolean {
    const { mac, id, org, channel, subtopic, publisher, admissionVersion: version, receivedUs, payload } = message;
    if (mac === null) return false;
    return this.#options.gate.sealer.verify(
      { id, org, channel, subtopic, publisher, version, receivedUs, payload },
      mac,
    );
  }

  /** The thing, or why there is none. */
  async #deviceOf({ device }: DownlinkRequest, application: LoraApplication): Promise<{ id: string } | string> {
    const { directory } = this.#options;
    if (device === null) {
      const members = await directory.devicesOf(application.channel, MEMBERS_LOOKED_AT);
      const [only, second] = members;
      if (only === undefined) return 'No LoRaWAN device is connected with the channel.';
      if (second === undefined) return only.thing;
      return 'Several devices are connected with the channel: say which, as down/<fPort>/<thing id or DevEUI>.';
    }
    const thing = /^[0-9a-f]{16}$/.test(device) ? (await directory.device(application.org, device))?.id : device;
    const reach = thing === undefined ? null : await directory.reach(thing);
    const isMember = reach?.applications.some(({ channel }) => channel === application.channel) === true;
    if (reach === null || !isMember) return `No device ${device.slice(0, 64)} is connected with the channel.`;
    return reach.thing;
  }
}

const MEMBERS_LOOKED_AT = 2;
