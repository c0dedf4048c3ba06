import type { Socket } from 'node:net';
import type { HandedConnections } from '@millrace/ingest';
import { type ListenerName, type LoadKind, loadKindOf } from './words.ts';

/** In a worker: gives the connections that the main process hands over to the servers that open them. */
export class TakenConnections implements HandedConnections {
  readonly ticketKeys: Buffer;
  readonly open: Record<LoadKind, number> = { http: 0, mqtt: 0 };
  readonly #servers = new Map<ListenerName, (socket: Socket) => void>();

  constructor(ticketKeys: Uint8Array) {
    this.ticketKeys = Buffer.from(ticketKeys);
  }

  take(listener: ListenerName, open: (socket: Socket) => void): void {
    this.#servers.set(listener, open);
  }

  give(listener: ListenerName, socket: Socket): void {
    const open = this.#servers.get(listener);
    if (open === undefined) {
      socket.destroy();
      return;
    }
    // As the servers make their own.
    socket.allowHalfOpen = true;
    const kind = loadKindOf(listener);
    this.open[kind]++;
    socket.once('close', () => this.open[kind]--);
    open(socket);
  }
}
