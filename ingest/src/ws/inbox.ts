/** What a socket received, handled in order, one after the other: while one is being decided the next waits, and the
 *  socket is not read.
 *  @holds what was read with the frame that is being handled waits here too: at most one read of the socket */
export class Inbox<Item> {
  readonly #handle: (item: Item) => Promise<void> | null;
  readonly #mayGoOn: () => boolean;
  readonly #read: (on: boolean) => void;
  #waiting: Item[] = [];
  #at = 0;
  #busy = false;
  #pumping = false;
  #reading = true;
  #closed = false;

  /** @param handle must not throw; a promise (which must not reject) is waited for
   *  @param mayGoOn whether the next may be handled; after it has turned true, `pump` is called
   *  @param read starts and stops the reading of the socket */
  constructor(handle: (item: Item) => Promise<void> | null, mayGoOn: () => boolean, read: (on: boolean) => void) {
    this.#handle = handle;
    this.#mayGoOn = mayGoOn;
    this.#read = read;
  }

  /** Nothing waits, and nothing is being handled. */
  get idle(): boolean {
    return !this.#busy && this.#at >= this.#waiting.length;
  }

  push(item: Item): void {
    if (this.#closed) return;
    this.#waiting.push(item);
    this.pump();
  }

  /** Forgets what waits and takes nothing more. */
  close(): void {
    this.#closed = true;
    this.#waiting = [];
    this.#at = 0;
  }

  pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#busy && this.#at < this.#waiting.length && this.#mayGoOn()) {
      const item = this.#waiting[this.#at] as Item;
      this.#at++;
      const handled = this.#handle(item);
      if (handled === null) continue;
      this.#busy = true;
      void handled.finally(() => {
        this.#busy = false;
        this.pump();
      });
    }
    this.#pumping = false;
    if (this.#at >= this.#waiting.length && this.#at > 0) {
      this.#waiting = [];
      this.#at = 0;
    }
    const reading = this.idle && (this.#closed || this.#mayGoOn());
    if (reading !== this.#reading) {
      this.#reading = reading;
      this.#read(reading);
    }
  }
}
