import type { Qos } from './packets.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}
export interface Identity {
  readonly username: string;
  readonly password: string;
}
/** Who publishes where. */
export interface Publisher extends Identity {
  readonly topic: string;
}

/** What the load generator is to do, in a process of its own. */
export type BridgePlan = PublishPlan | DeliverPlan | ConnectPlan | HoldPlan | ParkPlan | ReturnPlan;

/** Closed loop: each connection publishes again as soon as a publish is acknowledged. For QoS 0, which nothing
 *  acknowledges, a PINGREQ follows each window, and the next window its answer. */
export interface PublishPlan {
  readonly kind: 'publish';
  readonly endpoint: Endpoint;
  readonly publishers: readonly Publisher[];
  readonly qos: Qos;
  /** Publishes of one connection that wait for their acknowledgement. */
  readonly inFlight: number;
  readonly payloadSize: number;
  /** Not counted.  @units s */
  readonly warmUpSeconds: number;
  readonly seconds: number;
  /** So many publishes of each connection instead of a time. */
  readonly messagesEach?: number;
}
export interface PublishFigures {
  readonly publishes: number;
  /** The warm-up too. */
  readonly publishesInAll: number;
  readonly publishesPerSecond: number;
  /** From the publish to its acknowledgement.  @units ms */
  readonly latency: Quantiles;
  readonly lost: number;
  readonly generatorCores: number;
}

/** Open loop: so many publishes a second are due, over all publishers in turn, and reach every subscriber. */
export interface DeliverPlan {
  readonly kind: 'deliver';
  readonly endpoint: Endpoint;
  readonly publishers: readonly Publisher[];
  readonly subscribers: number;
  readonly subscriber: Identity;
  readonly filter: string;
  readonly qos: Qos;
  readonly messagesPerSecond: number;
  readonly payloadSize: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
}
export interface DeliverFigures {
  readonly offered: number;
  readonly deliveriesPerSecond: number;
  /** From when a message was due until a subscriber had it.  @units ms */
  readonly latency: Quantiles;
  /** Deliveries that did not come. */
  readonly missing: number;
  /** Deliveries beyond one for each message and subscriber. */
  readonly surplus: number;
  readonly generatorLate: Quantiles;
  readonly generatorCores: number;
}

/** Closed loop: connect, CONNACK, DISCONNECT, again. TLS handshakes are whole: no session is resumed. */
export interface ConnectPlan {
  readonly kind: 'connect';
  readonly endpoint: Endpoint;
  readonly identities: readonly Identity[];
  readonly concurrent: number;
  readonly warmUpSeconds: number;
  readonly seconds: number;
}
export interface ConnectFigures {
  readonly connects: number;
  /** The warm-up too. */
  readonly connectsInAll: number;
  readonly connectsPerSecond: number;
  readonly latency: Quantiles;
  readonly failed: number;
  readonly generatorCores: number;
}

/** Opens connections and holds them until the parent ends it. */
export interface HoldPlan {
  readonly kind: 'hold';
  readonly endpoint: Endpoint;
  readonly identities: readonly Identity[];
  readonly connections: number;
}
export interface HoldFigures {
  readonly held: number;
  /** Why there are not more. */
  readonly problem: string | null;
}

/** Persistent sessions that subscribe and leave. */
export interface ParkPlan {
  readonly kind: 'park';
  readonly endpoint: Endpoint;
  readonly identity: Identity;
  readonly sessions: number;
  /** Session n subscribes to filter n modulo their count. */
  readonly filters: readonly string[];
}
export interface ParkFigures {
  readonly seconds: number;
}

/** All of them come back at once and take what they missed. */
export interface ReturnPlan extends Omit<ParkPlan, 'kind'> {
  readonly kind: 'return';
  readonly messagesEach: number;
}
export interface ReturnFigures {
  /** From the first CONNECT until the last session had all. */
  readonly seconds: number;
  readonly received: number;
  readonly missing: number;
  readonly generatorCores: number;
}

export interface Quantiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}
