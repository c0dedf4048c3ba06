/** What waits for a reader: filled by a socket, emptied by an async iterator. Bounded by who fills it. */
export class Queue<One> {
  #items: One[] = [];
  #ended: { error: unknown } | null = null;
  #wake: (() => void) | null = null;

  get size(): number {
    return this.#items.length;
  }

  push(item: One): void {
    this.#items.push(item);
    this.#wakeUp();
  }

  /** After what waits; only the first end counts.  @param error null: without one */
  end(error: unknown): void {
    this.#ended ??= { error };
    this.#wakeUp();
  }

  /** The next item; null at the end.  @throws what it ended with */
  async take(): Promise<One | null> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) return item;
      if (this.#ended !== null) {
        if (this.#ended.error !== null) throw this.#ended.error;
        return null;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #wakeUp(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
