/** What the doctor says of one thing. */
export type Verdict = { readonly verdict: 'ok' | 'warn' | 'fail'; readonly found: string; readonly advice?: string };

export const ok = (found: string): Verdict => ({ verdict: 'ok', found });
export const warn = (found: string, advice: string): Verdict => ({ verdict: 'warn', found, advice });
export const fail = (found: string, advice: string): Verdict => ({ verdict: 'fail', found, advice });
