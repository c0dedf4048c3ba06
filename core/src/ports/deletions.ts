/** What of an organisation's data: lists mean any of; one that is left out, any at all.
 *  @shape channels, publishers: ids  @units µs since 1970; from inclusive, to exclusive: of a reading its own time, of
 *         what else is stored when it was received */
export interface StoredSelection {
  readonly org: string;
  readonly channels?: readonly string[];
  readonly publishers?: readonly string[];
  /** Of readings only: a payload holds many. */
  readonly names?: readonly string[];
  readonly subtopics?: readonly string[];
  readonly fromUs?: bigint;
  readonly toUs?: bigint;
}

export const storedKinds = ['readings', 'payloads', 'dead_letters', 'message_log'] as const;
export type StoredKind = (typeof storedKinds)[number];

export interface Deletion extends StoredSelection {
  readonly what: readonly StoredKind[];
  /** Of each partition of the log, the first offset that it does not reach: what was accepted later stays. null: it
   *  reaches all that is stored. */
  readonly before: ReadonlyMap<number, number> | null;
}

/** Rows, by what they are; `rollups` are buckets and last values. */
export type StoredCounts = Readonly<Partial<Record<StoredKind | 'rollups', number>>>;

/** What rollups were compared with the readings that are left, and how many were not as these are.
 *  @shape span: where the differing ones lie; to be corrected again */
export interface Correction {
  readonly differing: number;
  readonly span: TimeSpan;
}
export interface TimeSpan {
  readonly fromUs?: bigint;
  readonly toUs?: bigint;
}

export interface UpkeepOptions {
  /** Names the work, so that what is done again finds what was begun. Letters, digits and dashes. */
  readonly mark: string;
  readonly signal: AbortSignal;
}

/** What may not go, within an organisation. */
export type Hold = Pick<StoredSelection, 'channels' | 'publishers' | 'fromUs' | 'toUs'>;

/** How long is kept what an organisation has. */
export interface OrgRetention {
  /** null: for ever. */
  readonly days: number | null;
  /** Of rollups and last values; never less than `days`. */
  readonly rollupDays: number | null;
  /** Channels that have their own. */
  readonly channels: ReadonlyMap<string, { readonly days: number | null; readonly rollupDays: number | null }>;
  /** What must stay, however old. */
  readonly holds: readonly Hold[];
}
export interface RetentionRules {
  readonly nowMs: number;
  /** Of what belongs to no organisation. */
  readonly days: number | null;
  /** What belongs to one that is not named stays as it is. */
  readonly orgs: ReadonlyMap<string, OrgRetention>;
}
/** What a sweep came to. */
export interface Swept {
  readonly deleted: number;
  /** Rows whose end was moved. */
  readonly moved: number;
  readonly partitions: number;
}

/** Takes away what is stored, physically, on every replica.
 *  @throws StoreError STORE_UNREACHABLE (later): do it again, with the same mark; the reason of the signal */
export interface StoreUpkeep {
  /** What a deletion reaches now. */
  count(deletion: Deletion): Promise<StoredCounts>;
  /** Deletes; resolves when no active part of any replica has the rows any more. Rollups are not corrected yet.
   *  @holds all that `before` reaches has been written: nobody redoes such a range */
  erase(deletion: Deletion, options: UpkeepOptions): Promise<void>;
  /** Makes rollups and last values anew from the readings that are left, and compares them. Readings that come meanwhile
   *  may make some differ: then it is done again, in the span that it tells.  @param span null: all that is reached */
  correct(deletion: Deletion, span: TimeSpan | null, options: UpkeepOptions): Promise<Correction>;
  /** Deletes what is kept for long enough, and moves the end of what is kept longer, or for less long, than was said when
   *  it came. Nothing that is held goes. */
  sweep(rules: RetentionRules, options: UpkeepOptions): Promise<Swept>;
}
