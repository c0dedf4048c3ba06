import type { CoapError } from '../error.ts';
import type { CoapMessage } from '../message/message.ts';

/** Who waits for messages with a token of ours. */
export interface Call {
  /** A response, or a notification. */
  take(message: CoapMessage): void;
  fail(error: CoapError): void;
}
