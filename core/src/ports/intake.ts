import type { Protocol } from '../envelope/envelope.ts';
import type { Position } from './delivery.ts';

/** A message that is put on the log by the platform itself: an import, a replay. */
export interface IntakeMessage {
  readonly org: string;
  /** Id. */
  readonly channel: string;
  readonly subtopic: string;
  /** In whose name. */
  readonly publisher: string;
  readonly contentType: string;
  readonly payload: Uint8Array;
  /** A message with the key of an earlier one of the same publisher and channel is not stored again (ADR 0020). */
  readonly dedupKey: string;
  /** What relative times count from, if not from now.  @units µs since 1970 */
  readonly timeUs?: number;
  /** UUIDv7 that was chosen beforehand, so that who was cut short can look for it; a new one if absent. */
  readonly id?: string;
  /** By which it first came, where it is sent anew; HTTP if absent. */
  readonly protocol?: Protocol;
}

/** Puts messages on the log as if their publisher had sent them. It asks nobody whether the publisher may: who calls it
 *  has asked whether *they* may do this in its name.
 *  @holds resolves when it is durable  @throws LogError LOG_FULL, LOG_UNREACHABLE (later), LOG_RECORD_TOO_LARGE (never) */
export interface MessageIntake {
  append(message: IntakeMessage): Promise<Position & { readonly id: string }>;
}
