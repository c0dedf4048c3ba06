import type { ChannelProfile, Directory } from '@millrace/core';
import type { ChannelNeed, KnownProfile } from '../batch/task.ts';
import { isEmptyProfile } from '../profile/reading-profile.ts';

/** Channels that are asked for at the same time, by all lanes together. */
const CONCURRENT_MAX = 16;
/** Channels of which is kept what their profile is. */
const CHANNELS_MAX = 100_000;

/** @shape version: under which the profiles hold */
export interface ToldProfiles {
  readonly version: number;
  readonly profiles: readonly KnownProfile[];
}

/** What is known of the channels' profiles, for all lanes: each channel is asked for once, and again after it changed.
 *  @holds `version` is another one as soon as something that was told no longer holds */
export class Profiles {
  version = 1;
  readonly #directory: Directory;
  /** null: it has none. */
  readonly #known = new Map<string, ChannelProfile | null>();
  /** What is being asked for. */
  readonly #asked = new Map<string, Promise<ChannelProfile | null>>();
  readonly #waiting: (() => void)[] = [];
  readonly #unsubscribe: () => void;
  #free = CONCURRENT_MAX;

  constructor(directory: Directory) {
    this.#directory = directory;
    this.#unsubscribe = directory.onChange(({ entity, id, voids }) => {
      // What an organisation says of its channels is a part of their profiles.
      if (voids.includes('*') || entity === 'org') {
        this.#forgetAll();
        return;
      }
      for (const each of voids) this.#forget(each);
      if (entity === 'channel') this.#forget(id);
    });
  }

  /** @throws RegistryError REGISTRY_UNREACHABLE (retry later), once all that could be asked is known */
  async resolve(needs: readonly ChannelNeed[]): Promise<ToldProfiles> {
    // What changes from here on makes another version, so nothing that is read too early can be kept under it.
    const { version } = this;
    const settled = await Promise.allSettled(
      needs.map(async ({ channel, org }) => {
        const known = this.#known.get(channel);
        return { channel, profile: known === undefined ? await this.#ask(channel, org) : known };
      }),
    );
    const profiles = settled.map((each) => {
      if (each.status === 'rejected') throw each.reason;
      return each.value;
    });
    return { version, profiles };
  }

  stop(): void {
    this.#unsubscribe();
  }

  #ask(channel: string, org: string): Promise<ChannelProfile | null> {
    let asked = this.#asked.get(channel);
    if (asked === undefined) {
      const asking: Promise<ChannelProfile | null> = this.#read(channel, org).then(
        (profile) => {
          // Not so if it changed meanwhile: then what was read holds for this batch only.
          if (this.#asked.get(channel) === asking) {
            this.#asked.delete(channel);
            this.#keep(channel, profile);
          }
          return profile;
        },
        (error: unknown) => {
          if (this.#asked.get(channel) === asking) this.#asked.delete(channel);
          throw error;
        },
      );
      this.#asked.set(channel, asking);
      asked = asking;
    }
    return asked;
  }

  async #read(channel: string, org: string): Promise<ChannelProfile | null> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      const record = await this.#directory.channel(channel, org);
      return record === null || isEmptyProfile(record.profile) ? null : record.profile;
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }

  #keep(channel: string, profile: ChannelProfile | null): void {
    if (this.#known.size >= CHANNELS_MAX) this.#forgetAll();
    this.#known.set(channel, profile);
  }

  #forget(channel: string): void {
    const wasKnown = this.#known.delete(channel);
    if (this.#asked.delete(channel) || wasKnown) this.version++;
  }

  #forgetAll(): void {
    this.#known.clear();
    this.#asked.clear();
    this.version++;
  }
}
