import type { Socket } from 'node:net';
import { TrustedProxies } from '../http/proxies.ts';
import { type ProxiedClient, readProxyHeader } from './proxy-protocol.ts';

export interface ProxyDoorOptions {
  /** Addresses and networks of the proxies. */
  readonly proxies: string;
  /** Whether clients come by TLS where the proxy does not say so. */
  readonly tls: boolean;
  /** The header must be there within this time.  @units ms */
  readonly headerMsMax: number;
  /** Connections that may be without their header at once; further ones are closed. */
  readonly waitingMax: number;
  /** A connection was closed for want of a header. */
  readonly onRefused: () => void;
}

/** Where connections come in that a proxy passes on: it waits for the proxy's header and lets in what follows.
 *  @holds a header is read from the proxies alone, and from them always: nobody can say by one who they are, and no
 *         proxy's client can */
export class ProxyDoor {
  readonly #options: ProxyDoorOptions;
  readonly #proxies: TrustedProxies;
  /** By their proxy's connection, as it is seen from both sides of TLS. */
  readonly #clients = new Map<string, ProxiedClient>();
  readonly #waiting = new Set<Socket>();

  constructor(options: ProxyDoorOptions) {
    this.#options = options;
    this.#proxies = new TrustedProxies(options.proxies);
  }

  /** @param enter is given the socket when nothing of the proxy's is left in it */
  open(socket: Socket, enter: (socket: Socket) => void): void {
    if (!this.#proxies.trusts(plain(socket.remoteAddress))) {
      enter(socket);
      return;
    }
    const { headerMsMax, waitingMax } = this.#options;
    if (this.#waiting.size >= waitingMax) {
      this.#refuse(socket);
      return;
    }
    let begun: Buffer = Buffer.alloc(0);
    const leave = (): void => {
      clearTimeout(timer);
      this.#waiting.delete(socket);
      socket.off('data', read);
      socket.off('end', refuse);
      socket.off('error', refuse);
      socket.off('close', leave);
    };
    const refuse = (): void => {
      leave();
      this.#refuse(socket);
    };
    const read = (chunk: Buffer): void => {
      begun = begun.length === 0 ? chunk : Buffer.concat([begun, chunk]);
      const header = readProxyHeader(begun);
      if (header.kind === 'more') return;
      if (header.kind === 'bad') {
        refuse();
        return;
      }
      leave();
      socket.pause();
      const key = keyOf(socket);
      this.#clients.set(key, header.client);
      socket.once('close', () => {
        // The proxy may have connected anew from the same port meanwhile.
        if (this.#clients.get(key) === header.client) this.#clients.delete(key);
      });
      if (header.size < begun.length) socket.unshift(begun.subarray(header.size));
      enter(socket);
      // TLS takes what is left by itself; it reads below the socket.
      if (socket.listenerCount('data') > 0) socket.resume();
    };
    const timer = setTimeout(refuse, headerMsMax);
    this.#waiting.add(socket);
    socket.on('data', read);
    socket.on('end', refuse);
    socket.on('error', refuse);
    socket.on('close', leave);
  }

  /** Whom a socket, or TLS over it, speaks for. */
  clientOf(socket: Socket, tls: boolean): { readonly remoteAddress: string; readonly tls: boolean } {
    const client = this.#clients.get(keyOf(socket));
    const peer = plain(socket.remoteAddress);
    if (client === undefined) return { remoteAddress: peer, tls };
    return { remoteAddress: client.remoteAddress ?? peer, tls: tls || (client.tls ?? this.#options.tls) };
  }

  /** Closes what is without its header still. */
  stop(): void {
    for (const socket of [...this.#waiting]) socket.destroy();
  }

  #refuse(socket: Socket): void {
    this.#options.onRefused();
    socket.on('error', () => {});
    socket.destroy();
  }
}

/** An IPv4 client of a dual-stack listener is known by its IPv4 address, as policies name it. */
export const plain = (address: string | undefined): string => (address ?? '').replace(/^::ffff:(?=\d+\.)/i, '');

const keyOf = ({ remoteAddress, remotePort, localAddress, localPort }: Socket): string =>
  `${remoteAddress} ${remotePort} ${localAddress} ${localPort}`;
