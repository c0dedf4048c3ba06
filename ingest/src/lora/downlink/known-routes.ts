import type { LoraEvent } from '../events/lora-event.ts';

/** What a device's events told about the way back to it. */
export interface KnownRoute {
  /** Id of the network server; "" where its events come by HTTP and do not say. */
  readonly server: string;
  readonly applicationId: string;
  readonly deviceId: string;
  readonly tenant: string;
}

/** The way that each device was heard of last.
 *  @holds at most `max` devices, the first are forgotten: then what the registry says must do */
export class KnownRoutes {
  readonly #routes = new Map<string, KnownRoute>();
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  learn(thing: string, server: string, { applicationId, deviceId, tenant }: LoraEvent): void {
    const known = this.#routes.get(thing);
    if (known?.server === server && known.applicationId === applicationId && known.deviceId === deviceId) return;
    this.#routes.delete(thing);
    if (this.#routes.size >= this.#max) {
      const [first] = this.#routes.keys();
      if (first !== undefined) this.#routes.delete(first);
    }
    this.#routes.set(thing, { server, applicationId, deviceId, tenant });
  }

  of(thing: string): KnownRoute | undefined {
    return this.#routes.get(thing);
  }
}
