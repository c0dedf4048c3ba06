/** How `road --lora` measures. */
export interface LoraRoadOptions {
  /** Interleaved rounds: each measures the floor and the product once. */
  readonly rounds: number;
  /** Uplinks in a burst. */
  readonly events: number;
  readonly devices: number;
  /** false: the floor alone. */
  readonly product: boolean;
  readonly signal?: AbortSignal;
}
export const LORA_FULL: LoraRoadOptions = { rounds: 3, events: 100_000, devices: 500, product: true };
export const LORA_QUICK: LoraRoadOptions = { ...LORA_FULL, rounds: 1, events: 40_000 };
