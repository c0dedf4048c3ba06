import type { Socket } from 'node:net';

/** Connections that another process has accepted, and hands to this one.  @source ADR 0025 */
export interface HandedConnections {
  /** Encrypts the tickets of TLS sessions: the same in all processes, so that a client resumes with any of them.
   *  @units 48 bytes */
  readonly ticketKeys: Buffer;
  /** Called once for each listener, when it is ready to open what comes. */
  take(listener: 'http' | 'mqtt' | 'mqtts', open: (socket: Socket) => void): void;
}
