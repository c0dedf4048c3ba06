export interface SoakOptions {
  readonly minutes: number;
  readonly channels: number;
  /** Of the rate that the ramp found. */
  readonly share: number;
  readonly ramp: RampOptions;
  /** @units s */
  readonly sampleSeconds: number;
  readonly signal?: AbortSignal;
}

export interface RampOptions {
  /** @units messages/s */
  readonly first: number;
  readonly factor: number;
  readonly last: number;
  /** Where even the first is too much. */
  readonly least: number;
  /** @units s */
  readonly stepSeconds: number;
}

export const SOAK_FULL: SoakOptions = {
  minutes: 30,
  channels: 16,
  share: 0.7,
  ramp: { first: 250, factor: 1.5, last: 50_000, least: 20, stepSeconds: 5 },
  sampleSeconds: 5,
};

export const SOAK_QUICK: SoakOptions = {
  ...SOAK_FULL,
  minutes: 3,
  ramp: { first: 200, factor: 2, last: 12_800, least: 20, stepSeconds: 3 },
  sampleSeconds: 2,
};
