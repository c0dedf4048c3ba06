import type { Position } from './delivery.ts';

/** Sessions that outlive their connections, and retained messages: small state, the same on every node. */

/** @holds nobody but the owner can reach a session: two owners may use one client id */
export interface SessionKey {
  /** Id of the thing or user. */
  readonly owner: string;
  readonly clientId: string;
}

/** What is kept of a session: where it stands, never the messages themselves. */
export interface SessionState {
  /** @shape topic: the filter as the client sent it; from: where it began, while the session is not beyond it; held: its
   *         channel is disabled, and it stands at `from` wherever the session stands */
  readonly subscriptions: readonly {
    readonly topic: string;
    readonly qos: 0 | 1 | 2;
    readonly from: readonly Position[];
    readonly held?: true;
  }[];
  readonly positions: readonly Position[];
  /** Sent and not acknowledged, in the order of sending; `released`: the client has it, only PUBCOMP is missing. */
  readonly inFlight: readonly (Position & {
    readonly packetId: number;
    readonly qos: 1 | 2;
    readonly topic: string;
    readonly released: boolean;
  })[];
  /** Packet ids of QoS 2 publishes that are on the log and not yet released by the client. */
  readonly received: readonly number[];
  /** How many QoS 2 publishes were received when this was written, so that after a crash it can be told which of those on
   *  the log are not covered by it.
   *  @shape uses: one for each of `received`, which publish it was; whole: written when its connection ended, so nothing
   *         came after it */
  readonly inbound?: {
    readonly generation: number;
    readonly count: number;
    readonly uses: readonly string[];
    readonly whole: boolean;
  };
  readonly nextPacketId: number;
}

export interface OpenedSession {
  /** Fences every earlier holder of the session. */
  readonly generation: number;
  /** null: there was none. */
  readonly state: SessionState | null;
}

/** @throws RegistryError REGISTRY_UNREACHABLE (retry later), from each method that asks */
export interface SessionStore {
  /** Takes the session for this connection, making it if there is none. */
  open(key: SessionKey): Promise<OpenedSession>;
  /** Writes many at once, each only where its generation still holds.
   *  @param expiresMs ms since 1970 after which it may be removed; null while it is connected
   *  @returns the keys that were fenced: somebody else holds them now */
  save(
    sessions: readonly {
      readonly key: SessionKey;
      readonly generation: number;
      readonly state: SessionState;
      readonly expiresMs: number | null;
    }[],
  ): Promise<readonly SessionKey[]>;
  /** Removes what is kept under these keys, whoever holds it. */
  remove(keys: readonly SessionKey[]): Promise<void>;
  /** Calls back when another node has taken a session: whoever holds an older generation lets go of it at once. */
  onTaken(listener: (key: SessionKey, generation: number) => void): () => void;
}

/** The last message of a topic that was published to be retained. */
export interface RetainedMessage extends Position {
  readonly id: string;
  readonly org: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly contentType: string;
  readonly receivedUs: number;
  readonly qos: 0 | 1 | 2;
  readonly payload: Buffer;
}

export interface RetainedStore {
  /** Keeps these, each unless a later one of its topic is there; an empty payload clears the topic. Durable when it
   *  resolves. Later means later in the log: a channel has one partition.
   *  @returns indexes of those that were refused since the org keeps as many as it may */
  keep(messages: readonly RetainedMessage[]): Promise<readonly number[]>;
  /** Those of a channel (id), or of all channels of the orgs that the owner belongs to where channel is null; a superset
   *  of what matches the filter may come. At most `limit`. */
  find(query: {
    readonly owner: string;
    readonly channel: string | null;
    /** The segments of the filter before its first wildcard, joined by '/'; exact: there is no wildcard. */
    readonly prefix: string;
    readonly exact: boolean;
    readonly limit: number;
  }): Promise<readonly RetainedMessage[]>;
}

/** Lets a browser open a socket without a secret in its URL. */
export interface TicketStore {
  /** A ticket for a subject, good once within `expiresMs` (of the clock). @returns the ticket, base64url */
  issue(subject: string, expiresMs: number): Promise<string>;
}
