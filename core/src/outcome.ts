/** Why a message was left out on purpose, without a dead letter. `not_kept`: a raw payload where none is to be kept;
 *  `empty`: no payload at all, as what clears a retained message has; `filtered`: its channel keeps none of its
 *  readings. */
export const DROP_REASONS = ['duplicate', 'not_kept', 'empty', 'filtered'] as const;
export type DropReason = (typeof DROP_REASONS)[number];

/** Why a message (or one record of it) could not be processed. Closed: it is a metric label and a column. */
export const DEAD_REASONS = [
  // the whole message
  'bad_envelope',
  'forbidden',
  'malformed_json',
  'malformed_cbor',
  'not_an_array',
  'empty_pack',
  'too_deep',
  'too_many_records',
  'no_reading',
  'worker_failed',
  'store_refused',
  // told by the ingress: it could not be made a message (envelope header DEAD_LETTER_HEADER)
  'unknown_device',
  'unknown_application',
  'codec_failed',
  'bad_event',
  // one record
  'not_an_object',
  'unsupported_version',
  'must_understand',
  'missing_name',
  'bad_name',
  'no_value',
  'many_values',
  'bad_value',
  'bad_field',
  'time_out_of_range',
  'bad_time',
] as const;
export type DeadReason = (typeof DEAD_REASONS)[number];

/** Expected refusals are values; only faults throw. */
export type Outcome<T> =
  | { readonly kind: 'ok'; readonly value: T }
  | { readonly kind: 'drop'; readonly reason: DropReason }
  | { readonly kind: 'dead'; readonly reason: DeadReason; readonly cause?: unknown };

/** An envelope with this header is no message but what the ingress could not make one of: it becomes a dead letter.
 *  @shape value: `<DeadReason> <detail>`; the payload is what came */
export const DEAD_LETTER_HEADER = 'millrace-dead-letter';

/** How the detail of a dead record ends that is shown without the base fields of its pack: alone it means something
 *  else. */
export const DEAD_BASES_LOST = 'its base fields are not kept';
