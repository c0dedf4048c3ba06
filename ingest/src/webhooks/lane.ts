import type {
  Attachment,
  DeliveredMessage,
  Delivery,
  Logger,
  Position,
  Principal,
  RequestContext,
  Subscriber,
  Subscription,
  Webhook,
  WebhookOutcome,
  WebhookProgress,
  WebhookSender,
  WebhookStore,
} from '@millrace/core';
import { requestOf } from './request.ts';

export interface LaneOptions {
  readonly store: WebhookStore;
  readonly delivery: Delivery;
  readonly sender: WebhookSender;
  readonly retryMsMax: number;
  readonly giveUpMs: number;
  /** Each request that was made. */
  readonly counted: (outcome: WebhookOutcome, messages: number) => void;
  readonly givenUp: (messages: number) => void;
  readonly skipped: (messages: number) => void;
  readonly logger: Logger;
}

/** What waits for one webhook; more waits in the log. */
const QUEUE_MESSAGES_MAX = 2_000;
const QUEUE_BYTES_MAX = 2 * 1024 * 1024;
/** Of one request; a larger message goes alone. */
const BODY_BYTES_MAX = 1024 * 1024;
const RETRY_MS_MIN = 1_000;
const IDLE_MS = 1_000;
/** How often is written down that nothing matched. */
const STANDING_MS = 5_000;
const GONE = 410;

/** One webhook that this node delivers: takes what the delivery offers, sends it in order, one request at a time, and
 *  writes down how far it has come. What it does not take waits in the log, for it alone. */
export class WebhookLane implements Subscriber {
  webhook: Webhook;
  principal: Principal;
  readonly context: RequestContext;
  readonly #options: LaneOptions;
  readonly #attachment: Attachment;
  readonly #queue: DeliveredMessage[] = [];
  readonly #stopping = new AbortController();
  #queueBytes = 0;
  #isFull = false;
  #skipped = 0;
  #failures = 0;
  #failingSinceMs: number | null;
  #kept: Position | null;
  #keptAtMs = 0;
  #firstAtMs = 0;
  #wake: () => void = () => undefined;
  #running: Promise<void> = Promise.resolve();
  /** Why it has ended by itself; null: it has not. */
  over: string | null = null;

  constructor(webhook: Webhook, principal: Principal, context: RequestContext, options: LaneOptions) {
    this.webhook = webhook;
    this.principal = principal;
    this.context = context;
    this.#options = options;
    this.#failingSinceMs = webhook.failingSinceMs;
    this.#kept = webhook.position;
    this.#attachment = options.delivery.attach(this);
  }

  /** @returns why it can not be delivered; null: it is */
  async start(): Promise<string | null> {
    const { channel, subtopic, position } = this.webhook;
    const from = position === null ? 'tail' : [position];
    const subscribed = await this.#attachment.subscribe({ channel, subtopic }, null, from);
    if (subscribed.kind !== 'subscribed') {
      this.#attachment.detach();
      return subscribed.kind === 'full' ? 'this node has too many subscriptions' : subscribed.reason;
    }
    const [begin] = subscribed.from;
    if (begin !== undefined && position?.partition !== begin.partition) await this.#keep(begin);
    this.#running = this.#run().catch((error) => {
      this.#end('it failed here; it is tried again');
      if (!this.#stopping.signal.aborted)
        this.#options.logger.warn({ err: error, webhook: this.webhook.id }, 'a webhook is interrupted');
    });
    return null;
  }

  async stop(): Promise<void> {
    this.#end('stopped');
    await this.#running;
  }

  offer(message: DeliveredMessage): boolean {
    if (this.#queue.length >= QUEUE_MESSAGES_MAX || this.#queueBytes >= QUEUE_BYTES_MAX) {
      this.#isFull = true;
      return false;
    }
    if (this.#queue.length === 0) this.#firstAtMs = performance.now();
    this.#queue.push(message);
    this.#queueBytes += message.payload.length;
    if (this.#queue.length === 1 || this.#queue.length === this.#batchMessages) this.#wake();
    return true;
  }

  gap(from: Position, to: Position): void {
    this.#skipped += to.offset - from.offset;
    this.#options.skipped(to.offset - from.offset);
  }

  ended(_: Subscription, reason: string): void {
    this.#end(reason);
  }

  #end(reason: string): void {
    this.over ??= reason;
    this.#stopping.abort();
    this.#attachment.detach();
    this.#wake();
  }

  get #batchMessages(): number {
    return this.webhook.format === 'raw' ? 1 : this.webhook.batchMessages;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      if (this.webhook.replays > 0) await this.#replay();
      if (this.#queue.length === 0) {
        await this.#standing();
        await this.#pause(IDLE_MS);
        continue;
      }
      const waitMs = this.#firstAtMs + this.webhook.batchMs - performance.now();
      if (this.#queue.length < this.#batchMessages && this.#queueBytes < BODY_BYTES_MAX && waitMs > 0) {
        await this.#pause(waitMs);
        continue;
      }
      await this.#sendNext();
    }
  }

  /** Sends the next request until it is taken or given up. */
  async #sendNext(): Promise<void> {
    const { signal } = this.#stopping;
    const messages = this.#take();
    const request = requestOf(this.webhook, messages);
    const last = messages.at(-1) as DeliveredMessage;
    const after = { partition: last.partition, offset: last.offset + 1 };
    const before = { partition: last.partition, offset: messages[0]?.offset ?? last.offset };
    while (!signal.aborted) {
      const beganAtMs = Date.now();
      const outcome = await this.#options.sender.send(this.webhook, request, signal);
      if (signal.aborted) return;
      this.#options.counted(outcome, request.messages);
      if (outcome.error === null) {
        this.#failures = 0;
        this.#failingSinceMs = null;
        await this.#keep(after, { attempt: { request, outcome } });
        return;
      }
      this.#failingSinceMs ??= beganAtMs;
      if (outcome.status === GONE) {
        await this.#keep(before, { attempt: { request, outcome } });
        await this.#options.store.disable(this.webhook.id, 'It answered 410: it is gone.');
        return this.#end('gone');
      }
      const givenUp = Date.now() - this.#failingSinceMs >= this.#options.giveUpMs;
      if (givenUp) this.#options.givenUp(request.messages);
      await this.#keep(givenUp ? after : before, { attempt: { request, outcome }, givenUp });
      // Also after one that was given up: the next is no reason to hurry.
      await this.#backOff(outcome);
      if (givenUp) return;
    }
  }

  /** The messages of the next request, out of the queue. */
  #take(): DeliveredMessage[] {
    let bytes = 0;
    let count = 0;
    for (const { payload } of this.#queue) {
      if (count >= this.#batchMessages || (count > 0 && bytes + payload.length > BODY_BYTES_MAX)) break;
      bytes += payload.length;
      count++;
    }
    this.#queueBytes -= bytes;
    const taken = this.#queue.splice(0, count);
    if (this.#isFull) {
      this.#isFull = false;
      this.#attachment.resume();
    }
    return taken;
  }

  async #backOff({ retryAfterMs }: WebhookOutcome): Promise<void> {
    const { retryMsMax } = this.#options;
    const most = Math.min(retryMsMax, RETRY_MS_MIN * 2 ** Math.min(this.#failures++, 30));
    // Half of it by chance, so that many that failed together do not come back together.
    const untilMs = performance.now() + (retryAfterMs ?? most / 2 + (Math.random() * most) / 2);
    for (;;) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0 || this.#stopping.signal.aborted) return;
      await this.#pause(leftMs);
    }
  }

  async #replay(): Promise<void> {
    const { store, sender, counted } = this.#options;
    const request = await store.replay(this.webhook.id);
    this.webhook = { ...this.webhook, replays: request === null ? 0 : this.webhook.replays - 1 };
    if (request === null) return;
    const outcome = await sender.send(this.webhook, request, this.#stopping.signal);
    if (this.#stopping.signal.aborted) return;
    counted(outcome, request.messages);
    await store.replayed(this.webhook.id, request.letter, outcome);
  }

  /** Nothing waits: whatever was passed over needs not be looked at again. */
  async #standing(): Promise<void> {
    const [at] = this.#attachment.positions();
    const isSame = at === undefined || (at.partition === this.#kept?.partition && at.offset === this.#kept.offset);
    if (isSame || (this.#skipped === 0 && performance.now() - this.#keptAtMs < STANDING_MS)) return;
    // What was offered since is not behind us.
    if (this.#queue.length === 0) await this.#keep(at);
  }

  async #keep(position: Position, more: Pick<WebhookProgress, 'attempt' | 'givenUp'> = {}): Promise<void> {
    const skipped = this.#skipped;
    this.#skipped = 0;
    const failingSinceMs = this.#failingSinceMs;
    const progress = { position, failingSinceMs, skipped, ...more };
    if (!(await this.#options.store.progress(this.webhook.id, progress))) return this.#end('another node delivers it');
    this.#kept = position;
    this.#keptAtMs = performance.now();
  }

  /** Until something happens, at most so long. */
  #pause(ms: number): Promise<void> {
    if (this.#stopping.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
