import type { Socket } from 'node:net';
import { type DeliveredMessage, type Position, positionText, type SubscriptionEnd } from '@millrace/core';
import { answerHead } from '../http/answer.ts';
import type { Client } from './client.ts';
import type { LiveConnection } from './connection.ts';
import type { Feed, Reader } from './feed.ts';
import type { Packet } from './latest.ts';
import type { LiveEnd, LiveMeasures } from './measures.ts';
import { messageMembers } from './message-text.ts';
import { Outbox } from './outbox.ts';

/** How long a browser waits before it connects anew.  @units ms */
const RETRY_MS = 2_000;
/** Time that a client has to take the last event and go. */
const LINGER_MS = 5_000;
/** What a client may send where nothing is expected. */
const UNASKED_BYTES_MAX = 65_536;
const PREFIX = Buffer.from('event: message\ndata: {"type":"message",');
const SUFFIX = Buffer.from('\n\n');

export interface EventStreamOptions {
  readonly client: Client;
  readonly measures: LiveMeasures;
  readonly bufferBytesMax: number;
  readonly stallMsMax: number;
  readonly heartbeatMs: number;
  /** HTTP/1.1; before it there were no chunks, and the connection's end is the body's. */
  readonly chunked: boolean;
  /** Header lines of the answer. */
  readonly lines: string;
}

/** Server-sent events of one channel. The id of an event is the position after it, so that a client which comes back
 *  with `Last-Event-ID` goes on after what it has.
 *  @source WHATWG HTML, server-sent events */
export class EventStream implements LiveConnection, Reader {
  readonly drains = true;
  feed: Feed | null = null;
  readonly outbox: Outbox;
  readonly #socket: Socket;
  readonly #options: EventStreamOptions;
  #writtenMs = performance.now();
  #writtenBytes = 0;
  #over = false;

  /** @param socket paused, listened to by nobody */
  constructor(socket: Socket, options: EventStreamOptions) {
    this.#socket = socket;
    this.#options = options;
    this.outbox = new Outbox(socket, options.bufferBytesMax);
    this.outbox.onRoom = () => this.feed?.resume();
  }

  /** @param onClosed called once, when the connection is gone */
  open(onClosed: () => void): void {
    const { measures, lines, chunked } = this.#options;
    const socket = this.#socket;
    let unasked = 0;
    measures.opened();
    socket.once('close', () => {
      if (!this.#over) measures.ends('client');
      this.#over = true;
      this.feed?.close();
      measures.closed();
      onClosed();
    });
    socket.on('data', (chunk: Buffer) => {
      unasked += chunk.length;
      if (unasked > UNASKED_BYTES_MAX) socket.destroy();
    });
    socket.on('end', () => socket.destroySoon());
    const type =
      'Content-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n';
    const framing = `${chunked ? 'Transfer-Encoding: chunked\r\n' : ''}Connection: close\r\n`;
    this.outbox.write(answerHead(200, 'OK', `${type}${framing}${lines}`));
    const position = this.feed?.positionText ?? '';
    // Where it begins: a client that comes back before the first message misses nothing.
    this.#tell(`retry: ${RETRY_MS}\n${position === '' ? '' : `id: ${position}\n`}\n`);
    socket.resume();
    this.feed?.open();
  }

  packet(message: DeliveredMessage): Packet {
    const members = messageMembers(message);
    const id = `id: ${positionText({ partition: message.partition, offset: message.offset + 1 })}\n`;
    const size = id.length + PREFIX.length + members.length + SUFFIX.length;
    const { chunked } = this.#options;
    const key = chunked ? 'live/event' : 'live/event-1.0';
    let event = message.encoded.get(key);
    if (event === undefined) {
      const frame = chunked ? `${size.toString(16)}\r\n` : '';
      event = Buffer.concat([Buffer.from(frame + id), PREFIX, members, SUFFIX, Buffer.from(chunked ? '\r\n' : '')]);
      message.encoded.set(key, event);
    }
    return [event];
  }

  gap(from: Position, to: Position): void {
    const data = JSON.stringify({ type: 'gap', from: positionText(from), to: positionText(to) });
    this.#tell(`id: ${positionText(to)}\nevent: gap\ndata: ${data}\n\n`);
  }

  ended(reason: SubscriptionEnd): void {
    this.#finish('forbidden', `event: ended\ndata: ${JSON.stringify({ type: 'ended', reason })}\n\n`);
  }

  sweep(nowMs: number): void {
    if (this.#over) return;
    const { client, stallMsMax, heartbeatMs } = this.#options;
    if (client.principal.revoked) {
      void client.renew().then((renewed) => {
        if (renewed === 'refused')
          this.#finish('revoked', 'event: ended\ndata: {"type":"ended","reason":"revoked"}\n\n');
      });
    }
    const socket = this.#socket;
    if (socket.writableLength > 0 && this.outbox.stalledMs(nowMs) > stallMsMax) {
      const position = this.feed?.positionText ?? '';
      this.#finish('slow', `event: slow\ndata: ${JSON.stringify({ type: 'slow', position })}\n\n`);
    } else if (socket.bytesWritten !== this.#writtenBytes) {
      this.#writtenBytes = socket.bytesWritten;
      this.#writtenMs = nowMs;
    } else if (nowMs - this.#writtenMs >= heartbeatMs && socket.writableLength === 0) {
      this.#tell(': still here\n\n');
    }
  }

  drain(): void {
    this.#finish('draining', '');
  }
  destroy(): void {
    this.#socket.destroy();
  }

  #tell(text: string): void {
    if (this.#over) return;
    const bytes = this.#options.chunked ? `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n` : text;
    this.outbox.write(bytes);
  }

  #finish(end: LiveEnd, lastEvent: string): void {
    if (this.#over) return;
    if (lastEvent !== '') this.#tell(lastEvent);
    if (this.#options.chunked) this.outbox.write('0\r\n\r\n');
    this.#over = true;
    this.#options.measures.ends(end);
    this.feed?.close();
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
  }
}
