import { closeSync, fsyncSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const BALLAST_BYTES = 1024 * 1024;

/** A file that holds room on the disk, to be given up when it is full: commits of offsets, and the removal of what
 *  was consumed, need a few pages to make room again. */
export class Ballast {
  readonly #path: string;
  held = false;

  constructor(directory: string) {
    this.#path = join(directory, 'ballast');
  }

  /** @returns whether there was room for it */
  take(): boolean {
    if (this.held) return true;
    try {
      const file = openSync(this.#path, 'w');
      try {
        writeSync(file, Buffer.alloc(BALLAST_BYTES, 0xba));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      this.held = true;
    } catch {
      this.release();
    }
    return this.held;
  }

  release(): void {
    this.held = false;
    try {
      unlinkSync(this.#path);
    } catch {
      // It was given up before.
    }
  }
}
