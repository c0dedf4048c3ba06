import type { AuditTrail, Delivery, Gate, Logger, RetainedStore } from '@millrace/core';
import type { EarlierPublishes } from './earlier-publishes.ts';
import type { Packets } from './publish-packet.ts';
import type { SessionRecord } from './record.ts';
import type { ClientSession } from './session.ts';
import type { ShareGroups } from './share-group.ts';
import type { SystemTopics } from './system-topics.ts';
import type { SessionTally } from './tally.ts';
import type { Turnstile } from './turnstile.ts';

export interface SessionLimits {
  /** Messages sent to a client and not acknowledged. */
  readonly inFlightMax: number;
  /** Bytes that a client has not taken, beyond which nothing more is written to it. */
  readonly unsentBytesMax: number;
  readonly subscriptionsMax: number;
  readonly receivedMax: number;
  readonly retainedMax: number;
}

/** What the sessions of a node share. */
export interface Node {
  readonly delivery: Delivery;
  readonly gate: Gate;
  readonly audit: AuditTrail | undefined;
  readonly retained: RetainedStore | null;
  readonly lookups: Turnstile;
  readonly packets: Packets;
  readonly groups: ShareGroups;
  /** null: the log is not at hand. */
  readonly earlier: EarlierPublishes | null;
  readonly system: SystemTopics;
  readonly limits: SessionLimits;
  readonly tally: SessionTally;
  readonly logger: Logger;
  /** null: no session outlives its connection. */
  readonly write: { readonly away: boolean } | null;
  /** Sessions that wait for their sockets, or the store. */
  readonly waiting: Set<ClientSession>;
  /** Messages that wait for their packet ids to be durable. */
  deferred: number;
  /** Payloads of retained messages that are looked up and not sent yet. */
  retainedBytes: number;
  subscriptions: number;
  nowMs(): number;
  /** A change of a record that somebody waits for. @returns its mark */
  urge(record: SessionRecord): number;
  /** A change of a record that is written some time. @returns its mark */
  touch(record: SessionRecord): number;
  /** The connection is over. */
  left(session: ClientSession): void;
  /** What was kept of a session that has left must be corrected. */
  amend(record: SessionRecord): void;
  /** Somebody else holds the session's record now. */
  abandon(session: ClientSession): void;
}
