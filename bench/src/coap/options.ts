/** How `road --coap` measures. */
export interface CoapRoadOptions {
  /** Interleaved rounds: each measures the floor and the product once. */
  readonly rounds: number;
  readonly seconds: number;
  /** Devices: each its own socket, one confirmable request in flight. */
  readonly clients: number;
  readonly channels: number;
  readonly observers: number;
  /** Notifications a second that are due to all observers together. */
  readonly notificationsPerSecond: number;
  /** Minutes of full load under which memory must stay flat; 0 leaves it out. */
  readonly soakMinutes: number;
  /** false: the floor alone. */
  readonly product: boolean;
  readonly signal?: AbortSignal;
}

export const COAP_FULL: CoapRoadOptions = {
  rounds: 3,
  seconds: 8,
  clients: 128,
  channels: 32,
  observers: 1_000,
  notificationsPerSecond: 20_000,
  soakMinutes: 0,
  product: true,
};
export const COAP_QUICK: CoapRoadOptions = { ...COAP_FULL, rounds: 1, seconds: 5 };
