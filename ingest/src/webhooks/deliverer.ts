import {
  type Component,
  type Delivery,
  type Gate,
  type Logger,
  type Metrics,
  type Principal,
  Protocol,
  type RequestContext,
  type Webhook,
  type WebhookSender,
  type WebhookStore,
} from '@millrace/core';
import type { WebhooksConfig } from './config.ts';
import { type LaneOptions, WebhookLane } from './lane.ts';

export interface WebhooksOptions {
  readonly config: WebhooksConfig;
  readonly store: WebhookStore;
  readonly delivery: Delivery;
  readonly gate: Gate;
  readonly sender: WebhookSender;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

const TICK_MS = 1_000;
/** After so long without a word of it a node's webhooks are another's. */
const LEASE_MS = 6_000;
/** What can not be delivered is looked at again. */
const AGAIN_MS = 15_000;
const HOUR_MS = 3_600_000;

/** Delivers the webhooks that no other node does. Without any, nothing is read.
 *  @holds what it has taken is another's soon after it is gone: at least once, in the order of the channel */
export function webhooks(options: WebhooksOptions): Component<null> {
  return {
    name: 'ingest/webhooks',
    async start() {
      const deliverer = new Deliverer(options);
      deliverer.start();
      return { value: null, drain: () => deliverer.stop(), stop: () => deliverer.stop() };
    },
  };
}

class Deliverer {
  readonly #options: WebhooksOptions;
  readonly #laneOptions: LaneOptions;
  readonly #lanes = new Map<string, WebhookLane>();
  /** When one that could not be delivered is tried again, by webhook and version. */
  readonly #againAtMs = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | null = null;
  #heldUntilMs = 0;

  constructor(options: WebhooksOptions) {
    const { config, store, delivery, sender, metrics, logger } = options;
    this.#options = options;
    const requests = metrics.counter('millrace_webhook_requests_total', 'Requests to webhooks.', ['outcome']);
    const sent = metrics.counter('millrace_webhook_messages_total', 'Messages of webhooks.', ['outcome']);
    metrics.gauge('millrace_webhooks', 'Webhooks that this node delivers.', [], (gauge) => gauge.set(this.#lanes.size));
    this.#laneOptions = {
      store,
      delivery,
      sender,
      retryMsMax: config.MILLRACE_WEBHOOKS_RETRY_MS_MAX,
      giveUpMs: config.MILLRACE_WEBHOOKS_RETRY_HOURS * HOUR_MS,
      counted({ error }, messages) {
        requests.inc({ outcome: error === null ? 'taken' : 'failed' });
        if (error === null) sent.inc({ outcome: 'taken' }, messages);
      },
      givenUp: (messages) => sent.inc({ outcome: 'given_up' }, messages),
      skipped: (messages) => sent.inc({ outcome: 'skipped' }, messages),
      logger,
    };
  }

  start(): void {
    this.#schedule(0);
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    clearTimeout(this.#timer);
    await this.#looking;
    await Promise.all([...this.#lanes.values()].map((lane) => lane.stop()));
    this.#lanes.clear();
    // Who takes over does not need to wait; if it must, it does.
    await this.#options.store.release().catch(() => undefined);
  }

  #schedule(ms: number): void {
    if (this.#stopped !== null) return;
    this.#timer = setTimeout(() => {
      this.#looking = this.#look()
        .catch((error) => this.#options.logger.warn({ err: error }, 'webhooks can not be looked at; tries again'))
        .finally(() => this.#schedule(TICK_MS));
    }, ms);
    this.#timer.unref();
  }

  async #look(): Promise<void> {
    const askedAtMs = performance.now();
    let held: readonly Webhook[];
    try {
      held = await this.#options.store.claim(LEASE_MS);
      this.#heldUntilMs = askedAtMs + LEASE_MS;
    } catch (error) {
      // Another node may have them from here on.
      if (performance.now() >= this.#heldUntilMs) await this.#keepOnly(new Map());
      throw error;
    }
    await this.#keepOnly(new Map(held.map((webhook) => [webhook.id, webhook])));
    for (const webhook of held) if (this.#stopped === null) await this.#serve(webhook);
    for (const [key, atMs] of this.#againAtMs) if (atMs < performance.now()) this.#againAtMs.delete(key);
  }

  /** Ends what is not ours any more, was changed, or has ended by itself. */
  async #keepOnly(held: ReadonlyMap<string, Webhook>): Promise<void> {
    for (const [id, lane] of this.#lanes) {
      const webhook = held.get(id);
      if (lane.over === null && webhook?.version === lane.webhook.version) continue;
      const reason = lane.over;
      this.#lanes.delete(id);
      await lane.stop();
      // What was changed meanwhile may be well again.
      if (reason !== null && webhook?.version === lane.webhook.version) await this.#refused(webhook, reason);
    }
  }

  async #serve(webhook: Webhook): Promise<void> {
    const running = this.#lanes.get(webhook.id);
    if (running !== undefined) {
      // A key that it came by may have been revoked or changed.
      const isSame = JSON.stringify(running.webhook.maker) === JSON.stringify(webhook.maker);
      running.webhook = webhook;
      if (isSame && !running.principal.revoked) return;
      const who = await this.#principal(webhook);
      if (who !== null) {
        running.principal = who;
        return;
      }
      this.#lanes.delete(webhook.id);
      await running.stop();
      return this.#refused(webhook, NOBODY);
    }
    if (this.#againAtMs.has(keyOf(webhook))) return;
    const principal = await this.#principal(webhook);
    if (principal === null) return this.#refused(webhook, NOBODY);
    const lane = new WebhookLane(webhook, principal, contextOf(), this.#laneOptions);
    const problem = await lane.start();
    if (problem !== null) return this.#refused(webhook, problem);
    this.#lanes.set(webhook.id, lane);
    await this.#options.store.state(webhook.id, null);
  }

  async #refused(webhook: Webhook, problem: string): Promise<void> {
    this.#againAtMs.set(keyOf(webhook), performance.now() + AGAIN_MS);
    await this.#options.store.state(webhook.id, problem);
  }

  async #principal({ maker }: Webhook): Promise<Principal | null> {
    if (maker === null) return null;
    const { id, scope } = maker;
    const identified = await this.#options.gate.identify({
      kind: 'subject',
      id,
      ...(scope === null ? {} : { scope }),
    });
    return identified.kind === 'known' ? identified.principal : null;
  }
}

const NOBODY = 'who made it is nobody any more: whoever changes it takes it over';
const keyOf = ({ id, version }: Webhook): string => `${id} ${version}`;
const contextOf = (): RequestContext => ({
  protocol: Protocol.http,
  remoteAddress: '',
  tls: true,
  mutualTls: false,
  nowMs: Date.now(),
});
