import { rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { type Component, type LogEngine, LogError, type Logger } from '@millrace/core';
import { Served } from './served.ts';

export interface LogServerOptions {
  readonly engine: LogEngine;
  /** Of a Unix socket, in a directory that is nobody else's. */
  readonly path: string;
  readonly logger: Logger;
}

/** Serves a log to other processes of this machine and user.
 *  @throws LogError LOG_UNREACHABLE: the socket can't be made  @source ADR 0025 */
export function serveLog({ engine, path, logger }: LogServerOptions): Component<null> {
  return {
    name: 'log/shared',
    async start() {
      const sockets = new Set<Socket>();
      const server = createServer((socket) => {
        sockets.add(socket);
        const served = new Served(engine, socket, logger);
        socket.once('close', () => {
          sockets.delete(socket);
          served.close();
        });
      });
      rmSync(path, { force: true });
      await new Promise<void>((resolve, reject) => {
        server.once('error', (cause) => reject(new LogError('LOG_UNREACHABLE', 'never', { path }, { cause })));
        // Who may open it writes the log: it is made for nobody else, not only changed to be.
        const before = process.umask(0o177);
        try {
          server.listen(path, resolve);
        } finally {
          process.umask(before);
        }
      });
      server.removeAllListeners('error').on('error', (err) => logger.error({ err }, 'log: the socket failed'));
      return {
        value: null,
        drain: async () => {},
        async stop() {
          const closed = new Promise<void>((resolve) => server.close(() => resolve()));
          for (const socket of sockets) socket.destroy();
          await closed;
        },
      };
    },
  };
}
