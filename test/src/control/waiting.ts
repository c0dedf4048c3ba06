/** Waits for something to come to pass; patient enough for a slow machine. */
export async function eventually(what: () => boolean | Promise<boolean>, msMax = 30_000): Promise<void> {
  for (const end = Date.now() + msMax; !(await what()); ) {
    if (Date.now() > end) throw new Error(`it did not come to pass within ${msMax} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
