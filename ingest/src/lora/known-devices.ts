import type {
  ChannelRecord,
  CodecRecord,
  LoraApplication,
  LoraDirectory,
  NetworkServer,
  ThingRecord,
} from '@millrace/core';

/** Who is unknown may be made known at any moment, perhaps by a change that nobody told us of. */
const NEGATIVE_MS = 5_000;
/** Changes are told; this mends what was not. */
const POSITIVE_MS = 300_000;

/** Organisations whose changes are remembered; beyond it all answers are forgotten. */
const ORGS_MAX = 10_000;

interface Entry {
  /** How many changes had been told when it was asked for. */
  readonly changes: number;
  readonly asked: Promise<unknown>;
  untilMs: number;
}

/** What the registry says about devices, applications and codecs, kept until it changes.
 *  @holds at most `max` answers, the oldest are forgotten; an answer that was asked for before a change is not kept */
export class KnownDevices {
  readonly #directory: LoraDirectory;
  readonly #max: number;
  readonly #nowMs: () => number;
  readonly #entries = new Map<string, Entry>();
  /** Of each organisation the last change. */
  readonly #changed = new Map<string, number>();
  #changes = 0;
  readonly #unsubscribe: () => void;

  constructor(directory: LoraDirectory, max: number, nowMs: () => number = performance.now.bind(performance)) {
    this.#directory = directory;
    this.#max = max;
    this.#nowMs = nowMs;
    this.#unsubscribe = directory.onChange(({ org }) => this.#void(org));
  }

  stop(): void {
    this.#unsubscribe();
    this.#entries.clear();
  }

  device(org: string, devEui: string): Promise<ThingRecord | null> {
    return this.#known(`device ${org} ${devEui}`, org, () => this.#directory.device(org, devEui));
  }

  application(
    org: string,
    applicationId: string,
    server: Pick<NetworkServer, 'id' | 'name'> | undefined,
  ): Promise<ChannelRecord | null> {
    const key = `application ${org} ${server?.id ?? ''} ${applicationId}`;
    return this.#known(key, org, () => this.#directory.application(org, applicationId, server));
  }

  /** The application that a channel stands for. */
  applicationOf(org: string, channel: string): Promise<LoraApplication | null> {
    return this.#known(`channel ${org} ${channel}`, org, () => this.#directory.applicationOf(channel));
  }

  codec(thing: ThingRecord, deviceProfile: readonly string[], channel: string): Promise<CodecRecord | null> {
    const key = `codec ${thing.org} ${thing.id} ${channel} ${deviceProfile.join('\n')}`;
    return this.#known(key, thing.org, () => this.#directory.codec(thing.org, thing, deviceProfile, channel));
  }

  #known<T>(key: string, org: string, ask: () => Promise<T | null>): Promise<T | null> {
    const kept = this.#entries.get(key);
    const isCurrent = kept !== undefined && kept.changes >= (this.#changed.get(org) ?? 0);
    if (isCurrent && kept.untilMs > this.#nowMs()) return kept.asked as Promise<T | null>;
    this.#entries.delete(key);
    const asked = ask();
    const entry: Entry = { changes: this.#changes, asked, untilMs: Number.POSITIVE_INFINITY };
    this.#entries.set(key, entry);
    const forget = (): void => {
      if (this.#entries.get(key) === entry) this.#entries.delete(key);
    };
    asked.then((answer) => {
      entry.untilMs = this.#nowMs() + (answer === null ? NEGATIVE_MS : POSITIVE_MS);
    }, forget);
    if (this.#entries.size > this.#max) this.#forgetOldest();
    return asked;
  }

  #forgetOldest(): void {
    let left = Math.ceil(this.#max / 16);
    for (const key of this.#entries.keys()) {
      if (left-- === 0) break;
      this.#entries.delete(key);
    }
  }

  /** Also what is being asked for: it may be from before the change. Nothing is looked through: thousands of things may
   *  be made at once. */
  #void(org: string | null): void {
    this.#changes++;
    if (org !== null && this.#changed.size < ORGS_MAX) {
      this.#changed.set(org, this.#changes);
      return;
    }
    this.#entries.clear();
    this.#changed.clear();
  }
}
