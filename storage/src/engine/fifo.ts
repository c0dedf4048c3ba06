import { execFile } from 'node:child_process';
import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A named pipe, for this user alone. */
export async function makeFifo(path: string): Promise<void> {
  await run('mkfifo', ['-m', '600', path]);
}

/** Bytes that somebody writes to a named pipe, as they come. What nobody takes is not written.
 *  @param path of the pipe, which nobody else has open
 *  @param write writes to the path until it settles; what it throws is thrown
 *  @param stop ends the writer, which does not hear that its reader left
 *  @param signal ends the iteration, also while nobody takes what is in the pipe
 *  @holds the writer has settled when the iteration is over */
export async function* throughFifo(
  path: string,
  write: () => Promise<unknown>,
  stop: () => void,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  let reader: Socket | null = null;
  let own: number | null = null;
  let written: Promise<unknown> | null = null;
  const letGo = (): void => {
    if (own !== null) closeSync(own);
    own = null;
  };
  const leave = (): void => {
    if (reader === null || reader.destroyed || written === null) return;
    left = true;
    // Who has not opened it yet would wait for a reader for ever: what is written from now on is thrown away.
    const rest = new Socket({ fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), readable: true });
    rest.on('error', () => {}).resume();
    const close = (): void => void rest.destroy();
    written.then(close, close);
    reader.destroy();
  };
  let left = false;
  let over = false;
  try {
    signal?.addEventListener('abort', leave, { once: true });
    // Without a thread that waits.
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    reader = new Socket({ fd, readable: true, writable: false });
    // A writer's end of our own, or it would be over before the writer has begun.
    own = openSync(path, constants.O_WRONLY);
    written = write().finally(letGo);
    written.catch(() => {});
    yield* reader as AsyncIterable<Uint8Array>;
    over = true;
    await written;
  } finally {
    signal?.removeEventListener('abort', leave);
    reader?.destroy();
    // What is thrown away: it keeps the pipe from ending before its writer has opened it.
    if (!left) letGo();
    if (!over) stop();
    await written?.catch(() => {});
  }
}
