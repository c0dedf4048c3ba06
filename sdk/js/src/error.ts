/** What the platform answers instead of a success. @source RFC 9457 */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** What is wrong, for a person. */
  readonly detail: string;
  /** The same, as the classic dialect names it. */
  readonly error?: string;
  readonly [more: string]: unknown;
}

/** The platform refused: `status` and `problem` say why. */
export class MillraceApiError extends Error {
  override readonly name = 'MillraceApiError';
  readonly status: number;
  readonly problem: Problem;
  /** Whether the same request can succeed later. */
  readonly retryable: boolean;
  /** How long the platform asked to wait; null if it did not. @units ms */
  readonly retryAfterMs: number | null;
  /** As `GET /things`. */
  readonly request: string;

  constructor(problem: Problem, request: string, retryAfterMs: number | null = null) {
    super(problem.detail === '' ? `${problem.status} ${problem.title}` : problem.detail);
    this.status = problem.status;
    this.problem = problem;
    this.request = request;
    this.retryAfterMs = retryAfterMs;
    this.retryable = [408, 429, 502, 503, 504].includes(problem.status);
  }
}

export type ConnectionErrorCode =
  /** Nothing answers at the address. */
  | 'UNREACHABLE'
  /** It did not answer in time. */
  | 'TIMEOUT'
  /** The connection was closed before the answer came. */
  | 'CLOSED'
  /** A package that this needs is not installed. */
  | 'PACKAGE_MISSING'
  /** What answers is no Millrace node, or of another version. */
  | 'UNINTELLIGIBLE';

/** No answer came: whether the request was carried out is not known. */
export class MillraceConnectionError extends Error {
  override readonly name = 'MillraceConnectionError';
  readonly code: ConnectionErrorCode;
  readonly url: string;
  readonly retryable: boolean;

  constructor(code: ConnectionErrorCode, url: string, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.code = code;
    this.url = url;
    this.retryable = code !== 'PACKAGE_MISSING' && code !== 'UNINTELLIGIBLE';
  }
}

/** A subscription is over for good: it may no longer be read, or the channel is gone. */
export class MillraceSubscriptionEnded extends Error {
  override readonly name = 'MillraceSubscriptionEnded';
  /** As `not_allowed`, `no_such_channel`, `channel_disabled`. */
  readonly reason: string;

  constructor(reason: string) {
    super(`The subscription has ended: ${reason.replaceAll('_', ' ')}.`);
    this.reason = reason;
  }
}

/** The problem of an answer, whatever its body is. */
export async function problemOf(response: Response): Promise<Problem> {
  const { status, statusText } = response;
  const text = await response.text().catch(() => '');
  try {
    const body = JSON.parse(text) as Partial<Problem>;
    if (body !== null && typeof body === 'object') {
      const detail = body.detail ?? (body as { error_description?: string }).error_description ?? body.error ?? '';
      return { ...body, type: body.type ?? 'about:blank', title: body.title ?? statusText, status, detail };
    }
  } catch {
    // A proxy's page, or nothing.
  }
  return { type: 'about:blank', title: statusText, status, detail: '' };
}

/** Retry-After as ms; null without one.  @param nowMs ms since 1970  @source RFC 9110 §10.2.3 */
export function retryAfterMs(value: string | null, nowMs: number): number | null {
  if (value === null || value.trim() === '') return null;
  const seconds = Number(value);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1_000);
  const date = Date.parse(value);
  return Number.isNaN(date) ? null : Math.max(0, date - nowMs);
}
