import type { ProvisionedTarget } from '../../product.ts';

/** Confirmable POSTs in a closed loop: each client sends as soon as it has its answer. */
export interface PublishPlan {
  readonly port: number;
  readonly targets: readonly ProvisionedTarget[];
  readonly clients: number;
  readonly seconds: number;
  /** DTLS with a pre-shared key, one session a client; identity and key are those of the target's thing. */
  readonly secure: boolean;
}
/** @units rates a second, latency in ms from the request to its answer */
export interface PublishFigures {
  readonly answered: number;
  readonly perSecond: number;
  /** Answers by code other than 2.04. */
  readonly refused: Readonly<Record<string, number>>;
  /** Requests without an answer in two seconds, sent again. */
  readonly repeated: number;
  readonly latency: { readonly p50: number; readonly p99: number; readonly max: number };
  /** CPU seconds of the generator, for each second. */
  readonly generatorCores: number;
}

/** DTLS handshakes with a pre-shared key, so many at once, each of a session that is thrown away. */
export interface HandshakePlan {
  readonly port: number;
  readonly targets: readonly ProvisionedTarget[];
  readonly clients: number;
  readonly seconds: number;
}
export interface HandshakeFigures {
  readonly done: number;
  readonly perSecond: number;
  readonly failed: number;
  readonly generatorCores: number;
}

/** Observers of one channel, and a publisher over HTTP that gives them what is due. */
export interface ObservePlan {
  readonly port: number;
  readonly http: string;
  readonly target: ProvisionedTarget;
  readonly observers: number;
  /** Messages a second; each goes to all observers. */
  readonly messagesPerSecond: number;
  readonly seconds: number;
}
/** @units delay in ms from when a message was published to when an observer had it */
export interface ObserveFigures {
  readonly published: number;
  readonly delivered: number;
  /** Notifications that came again. */
  readonly duplicates: number;
  readonly missing: number;
  readonly deliveredPerSecond: number;
  readonly delay: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly generatorCores: number;
}
export type CoapPlan =
  | ({ readonly kind: 'publish' } & PublishPlan)
  | ({ readonly kind: 'observe' } & ObservePlan)
  | ({ readonly kind: 'handshakes' } & HandshakePlan);
