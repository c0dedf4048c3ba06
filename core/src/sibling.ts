/** The URL of a file beside the caller, with the caller's own extension (.ts from source, .js when built).
 *  `tsc` does not rewrite `new URL('./x.ts', …)`. */
export const siblingUrl = (caller: string, stem: string): string =>
  new URL(stem + caller.slice(caller.lastIndexOf('.')), caller).href;
