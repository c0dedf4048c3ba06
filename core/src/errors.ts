/** Whether the same call may succeed if it is made again. Decided where the error is thrown. */
export type Retry = 'now' | 'later' | 'never';

/** Facts beside the code: numbers, names and positions, never secrets. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean | null | undefined>>;

/** The one error class of the platform; each room derives its own with a closed set of codes. */
export class MillraceError<Code extends string = string> extends Error {
  readonly code: Code;
  readonly retry: Retry;
  readonly facts: ErrorFacts;

  constructor(code: Code, retry: Retry, facts: ErrorFacts = {}, options?: ErrorOptions) {
    const told = Object.entries(facts).map(([name, value]) => `${name}=${String(value)}`);
    super(told.length === 0 ? code : `${code} (${told.join(', ')})`, options);
    this.name = new.target.name;
    this.code = code;
    this.retry = retry;
    this.facts = facts;
  }
}
