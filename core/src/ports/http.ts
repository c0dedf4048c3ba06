import type { Credential } from './gate.ts';

/** Who sends a request: the client itself, also where a trusted proxy passes it on. */
export interface HttpPeer {
  readonly remoteAddress: string;
  readonly tls: boolean;
  /** What it proved in the handshake to hold the key of, if it did. */
  readonly certificate?: Extract<Credential, { kind: 'certificate' }> | null;
}
/** A request beyond the data plane, answered in the web's own terms by the control plane's app. */
export type HttpHandler = (request: Request, peer: HttpPeer) => Response | Promise<Response>;

/** RFC 9457 with the classic `error` member beside it. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly error: string;
}

const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  406: 'Not Acceptable',
  408: 'Request Timeout',
  409: 'Conflict',
  412: 'Precondition Failed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  426: 'Upgrade Required',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  505: 'HTTP Version Not Supported',
};

/** The body of a problem. @param detail what happened and what to do about it, for a person */
export function problem(status: number, detail: string): Problem {
  return { type: 'about:blank', title: TITLES[status] ?? 'Error', status, detail, error: detail };
}

export const statusLine = (status: number): string => `${status} ${TITLES[status] ?? 'OK'}`;
