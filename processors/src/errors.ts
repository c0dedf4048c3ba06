import { MillraceError } from '@millrace/core';

export type ProcessorsErrorCode =
  /** The worker thread threw, exited or ran out of memory while it had the batch. */
  | 'WORKER_FAILED'
  /** The worker thread did not answer in time and was ended. */
  | 'WORKER_HUNG'
  /** More codecs wait to be run than may. */
  | 'CODECS_BUSY'
  /** The metadata of a commit is not a plan of ours. */
  | 'INTENT_UNREADABLE';
export class ProcessorsError extends MillraceError<ProcessorsErrorCode> {}
