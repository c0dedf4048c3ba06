/** How a command can end. The same table is in `millrace --help` and docs/cli.md. */
export const EXIT_CODES = {
  0: 'done',
  1: 'refused, or it failed',
  2: 'the command line is wrong',
  3: 'not logged in, or the credential is unknown',
  4: 'there is no such thing',
  5: 'conflict: it exists already, is still needed, or was changed meanwhile',
  6: 'the server does not answer',
} as const;
export type ExitCode = keyof typeof EXIT_CODES;

/** What the person at the terminal can mend. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exitCode: ExitCode;
  /** What to do. */
  readonly advice: string | null;

  constructor(exitCode: ExitCode, problem: string, advice: string | null = null) {
    super(problem);
    this.exitCode = exitCode;
    this.advice = advice;
  }
}

const STATUS_CODES: Readonly<Record<number, ExitCode>> = { 401: 3, 404: 4, 409: 5, 412: 5 };
const ADVICE: Readonly<Record<number, string>> = {
  401: 'Log in: millrace login',
  412: 'It was changed meanwhile: look again, then repeat.',
  429: 'Wait a little, then repeat.',
  503: 'Wait a little, then repeat; millrace doctor says what is wrong on the machine of the node.',
};

/** Any error as what to tell and how to end. Never a stack: told by name, so that the client need not be loaded. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const { name, message = String(error) } = error as { name?: string; message?: string };
  if (name === 'MillraceApiError') {
    const { status } = error as unknown as { status: number };
    // The server speaks of its own interface.
    const isNeeded = message.includes(', or add ?cascade=true');
    const told = message.replace(', or add ?cascade=true', '');
    return new Failure(STATUS_CODES[status] ?? 1, told, isNeeded ? 'Or add --cascade.' : (ADVICE[status] ?? null));
  }
  if (name === 'MillraceConnectionError') {
    const { code } = error as unknown as { code: string };
    return code === 'PACKAGE_MISSING' || code === 'UNINTELLIGIBLE'
      ? new Failure(1, message)
      : new Failure(6, message, 'Is the node running (millrace start)? Another server: --url, or millrace login.');
  }
  if (name === 'AbortError') return new Failure(1, 'Stopped.');
  return new Failure(1, message.split('\n')[0] ?? message);
}

export function tell({ message, advice }: Failure): string {
  return `millrace: ${message}\n${advice === null ? '' : `  ${advice}\n`}`;
}
