import type {
  CodecRunner,
  Gate,
  HttpPeer,
  Log,
  Logger,
  MessageIntake,
  Metrics,
  Principal,
  Questions,
  ReadingsStore,
  RequestContext,
  SnapshotSource,
  StoreUpkeep,
  TenantSql,
  UserRecord,
  WebhookSender,
} from '@millrace/core';
import type { Throttle } from '../people/throttle.ts';
import type { Registry } from '../registry.ts';
import type { OpenApiDocument } from './docs-page.ts';
import type { OneByOne } from './one-by-one.ts';

/** Something whose health counts. */
export interface HealthCheck {
  readonly name: string;
  /** null when healthy, else what is wrong and what to do. */
  check(): string | null | Promise<string | null>;
}

/** What the handlers of the control plane stand on. */
export interface Plane {
  readonly registry: Registry;
  readonly gate: Gate;
  readonly store: ReadingsStore;
  /** Runs what users write; null: this node has none. */
  readonly sql: TenantSql | null;
  /** What is asked of many series. */
  readonly questions: Questions;
  /** Of the readings, for backup; null: this node has none. */
  readonly snapshots: SnapshotSource | null;
  /** Takes away what is stored; null: this node stores nothing. */
  readonly upkeep: StoreUpkeep | null;
  /** Where messages wait that are not stored yet. */
  readonly log: Log | null;
  /** Puts messages on that log; null where there is none. */
  readonly intake: MessageIntake | null;
  readonly processorsGroup: string;
  readonly selfRegister: boolean;
  readonly healthChecks: readonly HealthCheck[];
  readonly version: string;
  /** The OpenAPI document. */
  document(): OpenApiDocument;
  readonly metrics: Metrics;
  readonly logger: Logger;
  /** Of wrong passwords, by account and address. */
  readonly throttle: Throttle;
  /** Of looks into the log for messages that are not stored yet. */
  readonly scans: OneByOne;
  /** Of self-registrations, by address. */
  readonly registrations: Throttle;
  /** Of tickets, by subject. */
  readonly ticketing: Throttle;
  /** Runs codecs for who tries them; null: this node has none. */
  readonly codecs: CodecRunner | null;
  /** Of tries of codecs, by subject. */
  readonly codecTesting: Throttle;
  /** Sends to webhooks for who tries them; null: this node sends none. */
  readonly webhooks: { readonly sender: WebhookSender } | null;
  /** Of tries of webhooks, by subject. */
  readonly webhookTesting: Throttle;
}

/** One request that has passed all checks of its shape. */
export interface Call<Query, Body> {
  readonly request: Request;
  readonly peer: HttpPeer;
  readonly context: RequestContext;
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly body: Body;
  /** @throws Refusal 401 */
  principal(): Promise<Principal>;
  /** Of a route for people only.  @throws Refusal 401, 403 */
  user(): Promise<UserRecord>;
}
