import { MillraceError } from '@millrace/core';

export type BenchErrorCode =
  /** A floor, the generator or the product ended, or did not tell that it is ready. */
  | 'CHILD_FAILED'
  /** The product's REST answered something else than it must. */
  | 'SETUP_FAILED'
  /** Acknowledged readings did not show up in the store in time. */
  | 'DRAIN_TIMEOUT'
  /** SIGINT or SIGTERM. */
  | 'INTERRUPTED'
  /** The command line. */
  | 'USAGE';
export class BenchError extends MillraceError<BenchErrorCode> {}
