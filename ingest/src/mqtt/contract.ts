import type { Principal, RequestContext, SessionKey } from '@millrace/core';

/** Where a connection and its session meet. The connection knows sockets, packets and who is at the other end; the
 *  session knows subscriptions, packet ids and what the client still has to acknowledge. */

export type MqttQos = 0 | 1 | 2;
/** Return code of SUBACK for a filter that is not granted.  @source MQTT 3.1.1 §3.9.3 */
export const SUBSCRIBE_FAILED = 128;

export type CloseReason =
  | 'taken_over'
  | 'revoked'
  | 'forbidden'
  | 'malformed'
  | 'protocol'
  | 'keep_alive'
  | 'slow'
  | 'too_large'
  | 'session_lost'
  | 'draining'
  | 'fault';

/** What a session needs of the connection that it is attached to. */
export interface Outlet {
  readonly principal: Principal;
  readonly context: RequestContext;
  /** Bytes that the client has not taken yet. */
  readonly unsentBytes: number;
  /** Writes one packet: its first bytes, and its payload if that is a buffer of its own. Packets that are written in one
   *  turn of the event loop leave together. */
  write(head: Buffer, payload?: Buffer): void;
  close(reason: CloseReason): void;
}

export interface SessionOpening {
  readonly key: SessionKey;
  /** Ends with the connection; what was kept under its key is removed. */
  readonly clean: boolean;
  readonly outlet: Outlet;
}

/** A QoS 2 publish with DUP=1, as it came now. */
export interface Retransmission {
  readonly partition: number;
  readonly channel: string;
  readonly subtopic: string;
  readonly payload: Uint8Array;
}

/** @holds all calls from the event loop, none throws */
export interface Session {
  /** CONNACK is written: what is unacknowledged is sent again, then what was missed, then what comes. */
  begin(): void;
  /** @returns for each filter the granted QoS or SUBSCRIBE_FAILED, in order. Rejects when the registry or log can't be
   *  asked. Nothing is delivered for a new filter before `granted` is called: SUBACK comes first */
  subscribe(filters: readonly { readonly topic: string; readonly qos: MqttQos }[]): Promise<readonly number[]>;
  /** SUBACK is written: retained messages follow. @param results as `subscribe` gave them */
  granted(filters: readonly { readonly topic: string; readonly qos: MqttQos }[], results: readonly number[]): void;
  unsubscribe(topics: readonly string[]): void;
  onPuback(packetId: number): void;
  /** Answers PUBREL, now or once it is safe to. */
  onPubrec(packetId: number): void;
  onPubcomp(packetId: number): void;
  /** An inbound QoS 2 publish. `known`: it is on the log already, or on its way (then PUBREC is answered when that is
   *  done); `full`: too many are open.
   *  @param again given when the publish has DUP=1: a node that was killed may have appended it. The log must be asked
   *         then at times: ask again once the promise has settled. It rejects with a LogError (retry later) */
  receive(packetId: number, again?: Retransmission): 'new' | 'known' | 'full' | Promise<void>;
  /** What a new one is known by on the log (the envelope's dedup key), so that it is found there after a crash. */
  dedupKey(packetId: number): string | undefined;
  /** It could not be appended: as if it had never come. */
  forget(packetId: number): void;
  /** PUBREL came. */
  release(packetId: number): void;
  /** The client has taken what was written. */
  drained(): void;
  /** The connection is over. */
  leave(): void;
}

export interface Sessions {
  /** Takes or makes a session and ends the connection that held it before. Nothing is delivered before `begin`.
   *  Rejects with a retryable error when a session that must be kept can't be (registry away). */
  open(opening: SessionOpening): Promise<{ readonly session: Session; readonly present: boolean }>;
  readonly count: { readonly connected: number; readonly offline: number };
  /** Writes what is not written yet. */
  flush(deadlineMs: number): Promise<void>;
  stop(): void;
}
