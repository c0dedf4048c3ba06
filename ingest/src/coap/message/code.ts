/** A code of class and detail: `c(2, 5)` is 2.05.  @source RFC 7252 §3 */
export const c = (codeClass: number, detail: number): number => (codeClass << 5) | detail;

/** `2.05` */
export const codeText = (code: number): string => `${code >> 5}.${String(code & 31).padStart(2, '0')}`;

/** @source RFC 7252 §12.1.1, RFC 8132 */
export const Method = { Get: 1, Post: 2, Put: 3, Delete: 4, Fetch: 5, Patch: 6, IPatch: 7 } as const;

/** @source RFC 7252 §12.1.2, RFC 7959 §2.9, RFC 8132 §4, RFC 8516 */
export const Code = {
  Empty: 0,
  Created: c(2, 1),
  Deleted: c(2, 2),
  Valid: c(2, 3),
  Changed: c(2, 4),
  Content: c(2, 5),
  Continue: c(2, 31),
  BadRequest: c(4, 0),
  Unauthorized: c(4, 1),
  BadOption: c(4, 2),
  Forbidden: c(4, 3),
  NotFound: c(4, 4),
  MethodNotAllowed: c(4, 5),
  NotAcceptable: c(4, 6),
  RequestEntityIncomplete: c(4, 8),
  Conflict: c(4, 9),
  PreconditionFailed: c(4, 12),
  RequestEntityTooLarge: c(4, 13),
  UnsupportedContentFormat: c(4, 15),
  UnprocessableEntity: c(4, 22),
  TooManyRequests: c(4, 29),
  InternalServerError: c(5, 0),
  NotImplemented: c(5, 1),
  BadGateway: c(5, 2),
  ServiceUnavailable: c(5, 3),
  GatewayTimeout: c(5, 4),
  ProxyingNotSupported: c(5, 5),
} as const;

/** @source RFC 7252 §4.3 */
export const Type = { Con: 0, Non: 1, Ack: 2, Rst: 3 } as const;
