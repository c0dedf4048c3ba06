import type { KnownProfile } from '../batch/task.ts';
import { type FieldFilter, ReadingProfile } from './reading-profile.ts';

// hot

/** Channels that are remembered. */
const CHANNELS_MAX = 100_000;

/** What a worker knows of how channels are read. */
export class KnownProfiles {
  /** null: read like any other's. */
  readonly #known = new Map<string, ReadingProfile | null>();
  #version = -1;
  /** Of all profiles. */
  readonly #filters: FieldFilter[] = [];
  #none = false;
  /** The channel that was looked up last: batches come in runs. */
  #lastChannel: string | null = null;
  #last: ReadingProfile | null | undefined = undefined;

  /** Before each batch.
   *  @param told null: no channel has a profile, and none is to be asked for */
  learn(version: number, told: readonly KnownProfile[] | null): void {
    const known = this.#known;
    this.#none = told === null;
    this.#lastChannel = null;
    if (this.#version !== version || known.size > CHANNELS_MAX) {
      known.clear();
      this.#filters.length = 0;
    }
    this.#version = version;
    for (const { channel, profile } of told ?? []) {
      if (known.has(channel)) continue;
      const read = profile === null ? null : new ReadingProfile(profile);
      known.set(channel, read);
      if (read !== null && read.fields !== null) this.#filters.push(read.fields);
    }
    for (const filter of this.#filters) filter.restart();
  }

  /** undefined: it must be asked for. */
  of(channel: string): ReadingProfile | null | undefined {
    if (this.#none) return null;
    if (channel !== this.#lastChannel) {
      this.#lastChannel = channel;
      this.#last = this.#known.get(channel);
    }
    return this.#last;
  }
}
