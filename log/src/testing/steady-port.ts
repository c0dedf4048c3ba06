import { createServer } from 'node:net';

/** Below what Linux gives out by itself (32768 and up). */
const FIRST = 15_000;
const LAST = 32_000;
const TRIES_MAX = 200;

/** A free port for a server that is stopped and started again at the same address: one that nobody is given who asks
 *  for any port while the server is away. */
export async function steadyPort(): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (await isFree(port)) return port;
  }
  throw new Error('no free port');
}

function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
