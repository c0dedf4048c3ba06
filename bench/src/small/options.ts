/** How `bench small` measures. */
export interface SmallOptions {
  /** Of the product: small, or none to measure the usual settings. */
  readonly profile: 'small' | 'usual';
  readonly messagesPerSecond: number;
  /** Every so many-th message has ten readings, the others one. */
  readonly tenEvery: number;
  readonly seconds: number;
  readonly channels: number;
  /** Between two queries. */
  readonly querySeconds: number;
  readonly signal?: AbortSignal;
}
export const SMALL_FULL: SmallOptions = {
  profile: 'small',
  messagesPerSecond: 500,
  tenEvery: 10,
  seconds: 180,
  channels: 20,
  querySeconds: 5,
};
export const SMALL_QUICK: SmallOptions = { ...SMALL_FULL, seconds: 60 };
