import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { lookup } from 'node:dns';
import { readFileSync, readlinkSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Logger } from '@millrace/core';
import { IngestError } from '../error.ts';

// hot

/** Where a socket comes from: bound by us, or opened and bound by a parent. */
export type SocketSource =
  | { readonly kind: 'bind'; readonly host: string; readonly port: number }
  | { readonly kind: 'inherited'; readonly fd: number };

export interface UdpSocketOptions {
  readonly source: SocketSource;
  readonly receiveBufferBytes: number;
  readonly sendQueueBytesMax: number;
  readonly logger: Logger;
  /** @holds the datagram may be kept */
  readonly onDatagram: (datagram: Buffer, from: RemoteInfo) => void;
}

/** Datagrams of a socket. Counts are plain numbers. */
export interface UdpCounts {
  received: number;
  sent: number;
  receivedBytes: number;
  sentBytes: number;
  /** Not sent: the kernel takes no more, or there is no way. */
  unsent: number;
  /** Dropped unread: source port 0. */
  unanswerable: number;
  errors: number;
}

const ERRORS_LOGGED_MS = 10_000;

/** A UDP socket that no datagram and no error of the network ends. */
export class UdpSocket {
  readonly counts: UdpCounts = {
    received: 0,
    sent: 0,
    receivedBytes: 0,
    sentBytes: 0,
    unsent: 0,
    unanswerable: 0,
    errors: 0,
  };
  readonly #options: UdpSocketOptions;
  readonly #socket: Socket;
  #loggedMs = Number.NEGATIVE_INFINITY;
  #open = false;

  private constructor(options: UdpSocketOptions) {
    this.#options = options;
    const { source } = options;
    const six = source.kind === 'bind' ? source.host.includes(':') : inheritsIPv6(source.fd);
    this.#socket = createSocket({ type: six ? 'udp6' : 'udp4', lookup: addressOf });
  }

  /** @throws IngestError COAP_PORT_IN_USE, COAP_LISTEN_FAILED */
  static async open(options: UdpSocketOptions): Promise<UdpSocket> {
    const socket = new UdpSocket(options);
    await socket.#bind();
    return socket;
  }

  /** `<host>:<port>` */
  get address(): string {
    const { address, family, port } = this.#socket.address();
    return `${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** @throws never: what cannot be sent is lost, as datagrams are */
  readonly send = (datagram: Buffer, port: number, address: string): void => {
    const { counts } = this;
    if (!this.#open || this.#socket.getSendQueueSize() > this.#options.sendQueueBytesMax) {
      counts.unsent++;
      return;
    }
    try {
      this.#socket.send(datagram, port, address);
      counts.sent++;
      counts.sentBytes += datagram.length;
    } catch {
      counts.unsent++;
    }
  };

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.close();
  }

  #bind(): Promise<void> {
    const { source, logger, onDatagram } = this.#options;
    const socket = this.#socket;
    const { kind: _kind, ...facts } = source;
    return new Promise((resolve, reject) => {
      socket.once('error', (cause: NodeJS.ErrnoException) => {
        const code = cause.code === 'EADDRINUSE' ? 'COAP_PORT_IN_USE' : 'COAP_LISTEN_FAILED';
        reject(new IngestError(code, 'later', facts, { cause }));
      });
      socket.once('listening', () => {
        socket.removeAllListeners('error').on('error', (error) => this.#failed(error));
        this.#open = true;
        this.#widen();
        resolve();
      });
      socket.on('message', (datagram, from) => {
        const { counts } = this;
        counts.received++;
        counts.receivedBytes += datagram.length;
        // There is nobody to answer, and sending there throws.
        if (from.port === 0) counts.unanswerable++;
        else onDatagram(datagram, from);
      });
      try {
        if (source.kind === 'inherited') socket.bind({ fd: source.fd });
        else socket.bind({ address: source.host, port: source.port });
      } catch (cause) {
        // Nobody will hand over another one.
        const problem = 'MILLRACE_COAP_FD (or LISTEN_FDS) names no UDP socket';
        reject(new IngestError('COAP_LISTEN_FAILED', 'never', { ...facts, problem }, { cause }));
      }
      logger.debug({ source: source.kind }, 'coap: opening a socket');
    });
  }

  #widen(): void {
    const { receiveBufferBytes: wanted, logger } = this.#options;
    // Linux tells twice what it was asked for: the other half is its own.
    const sizeNow = (): number => this.#socket.getRecvBufferSize() / (process.platform === 'linux' ? 2 : 1);
    try {
      // A service manager may give more than the kernel lets us ask for: asking again would take it away.
      if (sizeNow() >= wanted) return;
      this.#socket.setRecvBufferSize(wanted);
      const given = sizeNow();
      if (given < wanted) {
        const hint = `sysctl -w net.core.rmem_max=${wanted}`;
        logger.warn({ wanted, given, hint }, 'coap: the kernel gave a smaller receive buffer: bursts may be lost');
      }
    } catch (error) {
      logger.warn({ err: error }, 'coap: the receive buffer could not be set');
    }
  }

  #failed(error: Error): void {
    this.counts.errors++;
    const nowMs = performance.now();
    if (nowMs - this.#loggedMs < ERRORS_LOGGED_MS) return;
    this.#loggedMs = nowMs;
    this.#options.logger.warn({ err: error, errors: this.counts.errors }, 'coap: the socket told of an error');
  }
}

/** Addresses of datagrams are none to be looked up: without this each `send` waits a turn. */
const addressOf: typeof lookup = ((
  host: string,
  options: unknown,
  callback: (error: Error | null, address: string, family: number) => void,
): void => {
  const family = isIP(host);
  if (family !== 0) callback(null, host, family);
  else lookup(host, options as { family: number }, callback);
}) as typeof lookup;

/** Whether a socket that a parent opened is of IPv6: the kernel lists them by inode. */
function inheritsIPv6(fd: number): boolean {
  try {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
    if (inode === undefined) return false;
    return readFileSync('/proc/self/net/udp6', 'utf8')
      .split('\n')
      .some((line) => line.trim().split(/\s+/)[9] === inode);
  } catch {
    return false;
  }
}
