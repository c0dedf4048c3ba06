import { MillraceError } from '@millrace/core';

export type PolicyErrorCode =
  /** Too many cold look-ups or password hashes are waiting. Nothing was decided; try again later. */
  | 'POLICY_BUSY'
  | 'POLICY_CLOSED'
  /** Too many unknown credentials came from one network. Nothing was looked up; try again later. */
  | 'POLICY_GUESSED'
  /** The cluster's secret is not 32 bytes. */
  | 'SECRET_INVALID'
  /** Not made by `encrypt` under this secret and for this owner, or changed since. */
  | 'SEALED_TEXT_INVALID'
  /** No signing key was imported, so no token can be issued. */
  | 'SIGNING_KEY_MISSING'
  /** Not a private P-256 JWK. */
  | 'SIGNING_KEY_INVALID'
  | 'PASSWORD_TOO_LONG'
  /** A condition that no rule may carry; `problem` says what is wrong. */
  | 'CONDITION_INVALID';
export class PolicyError extends MillraceError<PolicyErrorCode> {}
