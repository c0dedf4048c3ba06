/** The options that the parent gave, and the end of this process with its parent. */
export function childOptions<Options>(): Options {
  process.once('disconnect', () => process.exit(0));
  return JSON.parse(process.argv[2] ?? '{}') as Options;
}

/** Tells the parent that it is ready, or its result. */
export function tell(message: unknown): void {
  process.send?.(message);
}
