import type { ChannelProfile, PolicyRule } from '@millrace/core';
import type { RawPolicy } from '../config.ts';

/** Who wants to publish where, without an admission that holds. */
export interface Need {
  readonly subject: string;
  readonly org: string;
  readonly channel: string;
}

/** What the directory says to a need. `forbidden`: whatever the rules are, in words; otherwise null. */
export interface Grant extends Need {
  readonly forbidden: string | null;
  /** Id of the channel, where the need names it by its alias. */
  readonly channelId: string;
  /** The group that the channel is in and those above it. */
  readonly groups: readonly string[];
  readonly rules: readonly PolicyRule[];
}

/** A channel of which the worker does not know how its messages are read. */
export interface ChannelNeed {
  readonly channel: string;
  readonly org: string;
}

/** How a channel's messages are read; null: like any other's. */
export interface KnownProfile {
  readonly channel: string;
  readonly profile: ChannelProfile | null;
}

/** How far back a message may be that another one repeats: both bounds hold. */
export interface RepeatWindow {
  readonly recordsMax: number;
  readonly secondsMax: number;
}

/** One batch of the log for a worker.
 *  @shape bytes, offsets, partition, first, count: of the LogBatch  */
export interface BatchTask {
  readonly partition: number;
  readonly first: number;
  readonly last: number;
  readonly bytes: Uint8Array;
  readonly offsets: Float64Array | null;
  /** Stop before the message whose month of reception is another than the first one's. Off for a range that is fixed. */
  readonly cutAtMonth: boolean;
  /** Stands for the reception of what can't be opened, in a batch where nothing can. */
  readonly nowUs: number;
  readonly raw: RawPolicy;
  readonly directoryVersion: number;
  readonly grants: readonly Grant[];
  /** What a worker learned of profiles under another version is void. */
  readonly profilesVersion: number;
  /** What the worker asked for; it remembers it. null: no channel has a profile, and none is asked for. */
  readonly profiles: readonly KnownProfile[] | null;
  /** Keys of the messages before (RepeatTable), with room for those of the batch. null: they are not known yet, and asked
   *  for when they are needed. */
  readonly repeats: SharedArrayBuffer | null;
  readonly repeatWindow: RepeatWindow;
  /** Only put the keys into `repeats`: nothing else is wanted of the batch. */
  readonly learns: boolean;
  /** The worker writes the index of the message in hand, so that a fault has a suspect. */
  readonly inHand: Int32Array | null;
}

/** What a worker answers. */
export type BatchAnswer =
  /** @shape rows: packed by packBatch; `last`: the last offset that is in them */
  | { readonly kind: 'rows'; readonly rows: ArrayBuffer; readonly last: number; readonly messages: number }
  /** Nothing was done: run the batch again with grants for these. */
  | {
      readonly kind: 'needs';
      readonly needs: readonly Need[];
      readonly channels: readonly ChannelNeed[];
      /** It also needs `repeats`. */
      readonly repeats: boolean;
    }
  | { readonly kind: 'learned' };

export const grantKey = (subject: string, org: string, channel: string): string => `${subject}\n${org}\n${channel}`;
