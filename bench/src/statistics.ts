/** The middle one; of an even count the mean of the middle two. NaN of none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

/** The smallest value that so large a part of them does not exceed. NaN of none.  @param part 0 to 1 */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
}

export function mean(values: readonly number[]): number {
  return values.length === 0 ? Number.NaN : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** How the last third of a series stands to its first third: 1 is flat. NaN of fewer than three values. */
export function thirdsRatio(values: readonly number[]): number {
  const third = Math.floor(values.length / 3);
  if (third === 0) return Number.NaN;
  return mean(values.slice(-third)) / mean(values.slice(0, third));
}

/** (largest − smallest) / median: how noisy the machine was. */
export function spread(values: readonly number[]): number {
  return values.length < 2 ? 0 : (Math.max(...values) - Math.min(...values)) / median(values);
}
