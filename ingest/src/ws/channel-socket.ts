import type { DeliveredMessage, Position, SubscriptionEnd } from '@millrace/core';
import type { Client } from '../live/client.ts';
import type { LiveConnection } from '../live/connection.ts';
import type { Feed, Reader } from '../live/feed.ts';
import type { Packet } from '../live/latest.ts';
import type { PublishTarget } from '../message-encoder.ts';
import {
  CHANNEL_TOO_FAST,
  type Destination,
  EMPTY_MESSAGE,
  type MessagePublisher,
  type PublishRefusal,
  type PublishWaiter,
  TOO_FAST,
} from '../message-publisher.ts';
import { payloadFrame } from './frame.ts';
import { Inbox } from './inbox.ts';
import { CLOSE, type LiveSocket } from './socket.ts';

/** How often a full log, or a client's rate, is looked at again. */
const RETRY_MS = 50;

export interface ChannelSocketOptions {
  readonly client: Client;
  readonly publisher: MessagePublisher;
  /** Where frames are published to; null where the address is a filter. */
  readonly destination: Destination | null;
  /** Each frame is answered. */
  readonly acknowledges: boolean;
  readonly inFlightMax: number;
  readonly stallMsMax: number;
}

/** The answer to one frame; sent in the order of the frames. */
interface Reply {
  text: string | null;
}

/** A WebSocket on one channel: frames in are messages, frames out are payloads. */
export class ChannelSocket implements LiveConnection, Reader {
  readonly drains = true;
  /** null: the client may only publish. Given before `open`. */
  feed: Feed | null = null;
  readonly #options: ChannelSocketOptions;
  #socket: LiveSocket | null = null;
  #inbox: Inbox<Buffer> | null = null;
  readonly #replies: Reply[] = [];
  #inFlight = 0;
  #draining = false;
  #closed = false;

  constructor(options: ChannelSocketOptions) {
    this.#options = options;
  }

  open(socket: LiveSocket): void {
    this.#socket = socket;
    const inbox = new Inbox<Buffer>(
      (frame) => this.#handle(frame),
      () => this.#inFlight < this.#options.inFlightMax && !socket.outbox.overfull,
      (on) => socket.read(on),
    );
    this.#inbox = inbox;
    socket.ws.on('message', (data: Buffer) => inbox.push(data));
    socket.outbox.onRoom = () => {
      this.feed?.resume();
      inbox.pump();
    };
    this.feed?.open();
  }

  /** The socket is gone. What it sent before is published all the same. */
  left(): void {
    this.#closed = true;
    this.feed?.close();
  }

  packet(message: DeliveredMessage): Packet {
    return [payloadFrame(message)];
  }
  /** Frames are bare payloads: there is no word for it here. It is counted. */
  gap(_from: Position, _to: Position): void {}
  ended(reason: SubscriptionEnd): void {
    if (reason === 'no_such_channel') this.#close(CLOSE.notFound, 'forbidden', 'There is no such channel any more.');
    else this.#close(CLOSE.forbidden, 'forbidden', 'You may no longer read this channel.');
  }

  sweep(nowMs: number): void {
    const { client, stallMsMax } = this.#options;
    const socket = this.#socket;
    if (socket === null || this.#closed) return;
    socket.sweep(nowMs);
    if (client.principal.revoked) {
      void client.renew().then((renewed) => {
        if (renewed === 'refused') this.#close(CLOSE.unauthenticated, 'revoked', 'The credential no longer holds.');
      });
    }
    const behind = this.feed?.waiting === true || socket.outbox.overfull;
    if (behind && socket.outbox.stalledMs(nowMs) > stallMsMax) {
      this.#close(CLOSE.slow, 'slow', this.feed?.positionText ?? '');
    }
    if (this.#draining && (this.#inbox?.idle ?? true) && this.#inFlight === 0) {
      this.#close(CLOSE.goingAway, 'draining', 'This node is going down.');
    }
  }

  drain(): void {
    this.#draining = true;
  }
  destroy(): void {
    this.#inbox?.close();
    this.#socket?.destroy();
  }

  #close(code: number, end: Parameters<LiveSocket['close']>[1], reason: string): void {
    this.#inbox?.close();
    this.feed?.close();
    this.#socket?.close(code, end, reason);
  }

  /** @returns a promise when the next frame must wait */
  #handle(payload: Buffer): Promise<void> | null {
    const { client, publisher, destination } = this.#options;
    if (destination === null) {
      this.#close(CLOSE.forbidden, 'forbidden', 'This address holds a wildcard: nothing can be published to it.');
      return null;
    }
    if (payload.length === 0) {
      this.#refuse(EMPTY_MESSAGE);
      return null;
    }
    const decided = publisher.decide(client, destination);
    if (decided instanceof Promise) return this.#persist(destination, payload, decided);
    const refusal = this.#attempt(decided, payload);
    if (refusal === null) return null;
    if (refusal === CHANNEL_TOO_FAST || (!this.#options.acknowledges && isPassing(refusal)))
      return this.#persist(destination, payload, decided);
    this.#refuse(refusal);
    return null;
  }

  /** @returns why it was not taken; null: it was */
  #attempt(decided: PublishTarget | PublishRefusal, payload: Buffer): PublishRefusal | null {
    const { client, publisher } = this.#options;
    if ('kind' in decided) return decided;
    const full = publisher.fullness(payload.length);
    if (full !== null) return full;
    const limited = publisher.limited(client, decided, payload.length);
    if (limited !== null) return limited;
    publisher.publish(decided, payload, this.#waiter());
    return null;
  }

  /** The slow way. Without acknowledgements a client can't be told to come again: it is made to wait, for a time. A
   *  channel that takes no more makes every client wait; who has left meanwhile, for a time. */
  async #persist(
    destination: Destination,
    payload: Buffer,
    first: PublishTarget | PublishRefusal | Promise<PublishTarget | PublishRefusal>,
  ): Promise<void> {
    const { client, publisher, acknowledges, stallMsMax } = this.#options;
    const end = performance.now() + stallMsMax;
    for (let decided = await first; ; decided = await publisher.decide(client, destination)) {
      const refusal = this.#attempt(decided, payload);
      if (refusal === null) return;
      const waits = refusal === CHANNEL_TOO_FAST;
      const over = performance.now() >= end && ((refusal !== TOO_FAST && !waits) || this.#closed);
      if ((acknowledges && !waits) || over || !isPassing(refusal)) {
        this.#refuse(refusal);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  #waiter(): PublishWaiter {
    const reply = this.#options.acknowledges ? this.#newReply() : null;
    this.#inFlight++;
    const settle = (text: string): void => {
      this.#inFlight--;
      if (reply !== null) this.#answer(reply, text);
      this.#inbox?.pump();
    };
    return {
      stored: (id) => settle(`{"ack":"${id}"}`),
      refused: (refusal) => {
        if (reply === null) this.#closeFor(refusal);
        settle(errorText(refusal));
      },
    };
  }

  #refuse(refusal: PublishRefusal): void {
    const { publisher, client, destination } = this.#options;
    if (destination !== null) publisher.count(refusal, client, destination);
    if (this.#options.acknowledges) this.#answer(this.#newReply(), errorText(refusal));
    else if (refusal !== EMPTY_MESSAGE) this.#closeFor(refusal);
  }

  /** Without acknowledgements the end of the socket is the only word there is. */
  #closeFor(refusal: PublishRefusal): void {
    const { status, detail } = refusal;
    if (status === 503) this.#close(CLOSE.tryAgainLater, 'overloaded', detail);
    else if (status === 401) this.#close(CLOSE.unauthenticated, 'revoked', 'The credential no longer holds.');
    else if (status === 404) this.#close(CLOSE.notFound, 'forbidden', detail);
    else if (status === 413) this.#close(CLOSE.tooLarge, 'malformed', detail);
    else if (status === 500) this.#close(CLOSE.fault, 'fault', detail);
    else this.#close(CLOSE.forbidden, 'forbidden', detail);
  }

  #newReply(): Reply {
    const reply: Reply = { text: null };
    this.#replies.push(reply);
    return reply;
  }

  #answer(reply: Reply, text: string): void {
    reply.text = text;
    const replies = this.#replies;
    for (let first = replies[0]; first !== undefined && first.text !== null; first = replies[0]) {
      this.#socket?.text(first.text);
      replies.shift();
    }
  }
}

/** Whether the same may be taken a little later. */
const isPassing = (refusal: PublishRefusal): boolean => refusal.status === 503 || refusal.status === 429;
const errorText = ({ detail, status }: PublishRefusal): string => JSON.stringify({ error: detail, status });
