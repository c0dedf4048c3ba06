/** How `bench fill` and `bench ask` work. */
export interface AskingOptions {
  /** Some of them are left out as gaps: 2.7 %. */
  readonly readings: number;
  /** A data directory that was filled, or is to be; null: one for this run, removed afterwards. */
  readonly directory: string | null;
  /** Starts of the node, and of the bare engine, in turn: each asks every question once cold, then warm. */
  readonly rounds: number;
  /** Times that a question is asked warm in a round: as often as fits. */
  readonly repeatsMax: number;
  readonly repeatMsMax: number;
  readonly signal?: AbortSignal;
}
export const ASKING_FULL: AskingOptions = {
  readings: 100_000_000,
  directory: null,
  rounds: 3,
  repeatsMax: 50,
  repeatMsMax: 10_000,
};
export const ASKING_QUICK: AskingOptions = {
  ...ASKING_FULL,
  readings: 2_000_000,
  rounds: 1,
  repeatsMax: 20,
  repeatMsMax: 2_000,
};
