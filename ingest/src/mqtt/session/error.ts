import { MillraceError } from '@millrace/core';

export type SessionErrorCode =
  /** The session must be kept, and the registry does not answer. */
  | 'SESSION_NOT_SAVED'
  /** Another connection has taken it. */
  | 'SESSION_TAKEN';
export class SessionError extends MillraceError<SessionErrorCode> {}
