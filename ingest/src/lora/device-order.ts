/** Runs the work of each device in the order in which it was given, and that of different devices at the same time.
 *  @holds forgets a device as soon as it has no work; what bounds the work bounds this */
export class DeviceOrder {
  readonly #last = new Map<string, Promise<unknown>>();

  get size(): number {
    return this.#last.size;
  }

  run<T>(device: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(device);
    const result = before === undefined ? work() : before.then(work, work);
    this.#last.set(device, result);
    const over = (): void => {
      if (this.#last.get(device) === result) this.#last.delete(device);
    };
    result.then(over, over);
    return result;
  }
}
