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
  /** Removes what is kept under these keys, whoever holds it, unless it was opened since.
   *  @param removals with the ms that have passed since the removal was due */
  remove(removals: readonly { readonly key: SessionKey; readonly ageMs: number }[]): Promise<void>;
  /** Calls back when another node has taken a session: whoever holds an older generation lets go of it at once. */
  onTaken(listener: (key: SessionKey, generation: number) => void): () => void;
}

/** What is published for a client when its node dies. */
export interface KeptWill {
  /** As the client sent it. */
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly payload: Buffer;
  /** Of the owner, when it connected: a changed key silences it. */
  readonly epoch: number;
  /** What the client had shown, where that carries only a part of its owner's rights. */
  readonly token: string | null;
  readonly remoteAddress: string;
  readonly tls: boolean;
  readonly mutualTls: boolean;
}

/** One connection of a client. */
export interface ClientConnection {
  readonly key: SessionKey;
  /** UUID. */
  readonly connection: string;
}
export interface ClientClaim extends ClientConnection {
  /** ms since its CONNECT. */
  readonly ageMs: number;
  readonly will: KeptWill | null;
}
export interface DueWill extends ClientConnection {
  readonly will: KeptWill;
}

/** What befalls a node among others. Called from the event loop; must not throw. */
export interface NodeEvents {
  /** There are others now who serve clients. */
  joined(): void;
  /** Somebody else has the client's last connection, or may have: it must be claimed again. */
  taken(key: SessionKey, connection: string): void;
  /** This node was taken for dead: others have published its wills and have its groups. */
  buried(): void;
  /** Wills of a node that has died, given to this one. They are given to another if this one dies before it has released
   *  them. */
  due(wills: readonly DueWill[]): void;
}

/** Which node each client is connected with: of two connections of one client the later stays, on whatever nodes.
 *  @throws RegistryError REGISTRY_UNREACHABLE (retry later), from each method that asks */
export interface ClientStore {
  /** This node serves clients, under a lease. What can't be asked now is asked later. @throws never */
  join(events: NodeEvents): Promise<void>;
  /** It serves none any more. @throws never */
  leave(): Promise<void>;
  /** No other node serves clients, as far as is known: nobody has to be told who is connected here. */
  readonly alone: boolean;
  /** @returns connections that are over, since the client has come to another node later */
  claim(claims: readonly ClientClaim[]): Promise<readonly string[]>;
  /** These connections have ended, and nothing is to be said for them any more. */
  release(connections: readonly ClientConnection[]): Promise<void>;
}

/** A group of `$share` as a node has it. */
export interface ShareGroupReport {
  /** Of owner and filter. */
  readonly key: string;
  /** On this node; 0: the group is over here. */
  readonly members: number;
  /** With no member left anywhere: a member will come back and go on. */
  readonly kept: boolean;
  /** Partitions that its filter reads, and where to begin in each that nobody has read. */
  readonly starts: readonly Position[];
  /** What this node reads for it, and up to where everything is acknowledged. */
  readonly held: readonly Position[];
  /** What it read, and has stopped to read. */
  readonly released: readonly Position[];
}
export interface ShareGroupShare {
  readonly key: string;
  /** What this node reads for it from now on, beyond what it held: from where. */
  readonly taken: readonly Position[];
  /** Partitions that this node held and has not any more. */
  readonly lost: readonly number[];
  /** How many it has beyond its part: it is to stop reading these and release them. */
  readonly excess: number;
}

/** Shares the partitions of groups among the nodes that have members of them, by their numbers.
 *  @throws RegistryError REGISTRY_UNREACHABLE (retry later) */
export interface ShareGroupStore {
  /** @returns one a report that has members, in order */
  share(reports: readonly ShareGroupReport[]): Promise<readonly ShareGroupShare[]>;
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
