import { MillraceConnectionError } from '../error.ts';

/** What is used of a WebSocket, the browser's or that of the package `ws`. */
export interface Socket {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: 'open' | 'message' | 'close' | 'error', listener: (event: SocketEvent) => void): void;
}
export interface SocketEvent {
  readonly data?: unknown;
  readonly code?: number;
  readonly reason?: string;
}
export type SocketClass = new (url: string) => Socket;

/** The platform's own WebSocket, else the package `ws`: Node has none of its own before 22. */
export async function socketClass(url: string): Promise<SocketClass> {
  const own = (globalThis as { WebSocket?: SocketClass }).WebSocket;
  if (own !== undefined) return own;
  // No literal: bundlers for browsers leave it alone.
  const name = 'ws';
  try {
    const { WebSocket } = (await import(/* @vite-ignore */ /* webpackIgnore: true */ name)) as {
      WebSocket: SocketClass;
    };
    return WebSocket;
  } catch (cause) {
    const detail = 'This version of Node has no WebSocket: npm install ws, or use Node 22.';
    throw new MillraceConnectionError('PACKAGE_MISSING', url, detail, { cause });
  }
}

export const socketUrl = (url: string, path: string): string => `${url.replace(/^http/, 'ws')}${path}`;
