import type { LogError, Logger } from '@millrace/core';
import type { SegmentFiles } from './files.ts';
import type { Segment } from './segment.ts';

/** The segment that is written next, made ready in the background while the open one fills. */
export class Spare {
  ready: Segment | null;
  readonly #files: SegmentFiles;
  readonly #logger: Logger;
  readonly #told: () => void;
  #preparing: Promise<void> | null = null;
  /** Somebody waits for it. */
  #demanded = false;
  #fault: LogError | null = null;
  #warned = false;

  /** `told` is called when it is ready, or can't be made. */
  constructor(found: Segment | null, files: SegmentFiles, logger: Logger, told: () => void) {
    this.ready = found;
    this.#files = files;
    this.#logger = logger;
    this.#told = told;
  }

  /** Why the last demand could not be met; told once. */
  fault(): LogError | null {
    const fault = this.#fault;
    this.#fault = null;
    return fault;
  }

  /** Makes one of that size at least, unless there is one or one is being made. */
  prepare(sequence: number, size: number, demanded: boolean): void {
    if (demanded) this.#demanded = true;
    if (this.#preparing !== null || (this.ready !== null && this.ready.size >= size)) return;
    this.ready = null;
    this.#preparing = this.#make(sequence, size);
  }

  async #make(sequence: number, size: number): Promise<void> {
    try {
      this.ready = await this.#files.prepare(sequence, size);
      this.#warned = false;
    } catch (error) {
      if (this.#demanded) this.#fault = error as LogError;
      if (!this.#warned)
        this.#logger.warn({ err: error }, 'no room for the next segment of the log; it is tried again');
      this.#warned = true;
    }
    this.#preparing = null;
    this.#demanded = false;
    this.#told();
  }

  take(): Segment | null {
    const { ready } = this;
    this.ready = null;
    return ready;
  }

  /** Waits for what is being made. */
  async stop(): Promise<void> {
    await this.#preparing;
    this.ready?.close();
  }
}
