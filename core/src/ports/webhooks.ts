import type { Position } from './delivery.ts';
import type { Scope } from './directory.ts';

/** `batch`: one JSON document for many messages. `raw`: one request a message, its payload as it came. */
export const webhookFormats = ['batch', 'raw'] as const;
export type WebhookFormat = (typeof webhookFormats)[number];

/** Where a request goes, and what shows there that it is ours.
 *  @shape secrets: base64 of the keys that it is signed with, the newest first */
export interface WebhookTarget {
  readonly url: string;
  readonly secrets: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
}

/** A request that may be made several times: its id stays the same, so that who takes it can tell.
 *  @shape headers: what tells of the body; messages: how many it carries */
export interface WebhookRequest {
  readonly id: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly messages: number;
}

/** How a request went.  @shape status: null where nobody answered; error: null where it was taken (2xx) */
export interface WebhookOutcome {
  readonly status: number | null;
  readonly ms: number;
  readonly error: string | null;
  /** What the answer asks for. */
  readonly retryAfterMs: number | null;
}

/** Makes one request; follows no redirect, and reaches no address that is not public unless it is allowed to.
 *  @throws never */
export interface WebhookSender {
  send(target: WebhookTarget, request: WebhookRequest, signal?: AbortSignal): Promise<WebhookOutcome>;
}

/** One that this node delivers. */
export interface Webhook extends WebhookTarget {
  readonly id: string;
  readonly org: string;
  readonly channel: string;
  /** As a subscription's. */
  readonly subtopic: string;
  readonly format: WebhookFormat;
  readonly batchMessages: number;
  readonly batchMs: number;
  readonly version: number;
  /** In whose name it reads; null: nobody's any more. */
  readonly maker: { readonly id: string; readonly scope: Scope | null } | null;
  /** The next record to be looked at; null: from now on. */
  readonly position: Position | null;
  /** ms since 1970 of the first try of those that have failed since the last success. */
  readonly failingSinceMs: number | null;
  /** Requests that were given up and shall be tried again. */
  readonly replays: number;
}

/** What a lane has come to since it was last written down. */
export interface WebhookProgress {
  readonly position: Position;
  readonly failingSinceMs: number | null;
  /** Messages that the log no longer kept. */
  readonly skipped: number;
  /** The request that was just made. */
  readonly attempt?: { readonly request: WebhookRequest; readonly outcome: WebhookOutcome };
  /** Whether that was given up. */
  readonly givenUp?: boolean;
}

/** What nodes that deliver know of webhooks.  @throws RegistryError REGISTRY_UNREACHABLE */
export interface WebhookStore {
  /** Takes what is enabled and nobody delivers, and holds what this node does for `leaseMs`. */
  claim(leaseMs: number): Promise<readonly Webhook[]>;
  /** @returns false if another node delivers it meanwhile, or nobody shall any more */
  progress(id: string, progress: WebhookProgress): Promise<boolean>;
  /** Why nothing is delivered though it is enabled; null: it is. */
  state(id: string, problem: string | null): Promise<void>;
  /** Turns it off, as it was asked to. */
  disable(id: string, reason: string): Promise<void>;
  /** The oldest request that shall be tried again. */
  replay(id: string): Promise<(WebhookRequest & { readonly letter: string }) | null>;
  replayed(id: string, letter: string, outcome: WebhookOutcome): Promise<void>;
  /** Lets others have what this node delivered. */
  release(): Promise<void>;
}
