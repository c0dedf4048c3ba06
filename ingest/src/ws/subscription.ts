import type { DeliveredMessage, Position, SubscriptionEnd } from '@millrace/core';
import { positionText } from '@millrace/core';
import type { Feed, Reader } from '../live/feed.ts';
import type { Packet } from '../live/latest.ts';
import { messageMembers } from '../live/message-text.ts';
import { frameHead, TEXT } from './frame.ts';
import type { LiveSocket } from './socket.ts';

/** One subscription of a socket at `/ws`: tells the client what comes, under the id that the client gave it. */
export class SocketSubscription implements Reader {
  readonly id: string;
  feed: Feed | null = null;
  readonly #socket: LiveSocket;
  readonly #prefix: Buffer;
  readonly #onEnded: (subscription: SocketSubscription) => void;

  constructor(id: string, socket: LiveSocket, onEnded: (subscription: SocketSubscription) => void) {
    this.id = id;
    this.#socket = socket;
    this.#prefix = Buffer.from(`{"type":"message","subscription":${JSON.stringify(id)},`);
    this.#onEnded = onEnded;
  }

  /** Its own first bytes, then what all subscribers share. */
  packet(message: DeliveredMessage): Packet {
    const prefix = this.#prefix;
    const members = messageMembers(message);
    const { buffer, at } = frameHead(TEXT, prefix.length + members.length, prefix.length);
    prefix.copy(buffer, at);
    return [buffer, members];
  }

  gap(from: Position, to: Position): void {
    this.#tell({ type: 'gap', subscription: this.id, from: positionText(from), to: positionText(to) });
  }

  ended(reason: SubscriptionEnd): void {
    this.#tell({ type: 'ended', subscription: this.id, reason });
    this.#onEnded(this);
  }

  #tell(message: Record<string, unknown>): void {
    this.#socket.text(JSON.stringify(message));
  }
}
