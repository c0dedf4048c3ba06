import type { DeadReason } from '@millrace/core';

/** Why nothing, or not all, of a message is stored. `nothing`: it had no content that is kept. */
export type WhyNot = DeadReason | 'filtered' | 'duplicate' | 'nothing';

interface Told {
  readonly because: string;
  /** What whoever wants it stored does. */
  readonly advice: string;
}

const REASONS: Readonly<Record<WhyNot, Told>> = {
  bad_envelope: {
    because: 'The record in the log is no Millrace envelope.',
    advice: 'Find who writes to the log by themselves: docs/envelope says what a record is.',
  },
  forbidden: {
    because: 'It bears no valid admission, and the policy does not let its publisher publish here.',
    advice: 'Connect the thing with the channel, or allow it by a policy; then replay the message.',
  },
  malformed_json: {
    because: 'The payload is no well-formed JSON.',
    advice: 'Look at the payload: the place of the error is told. Mend the device, or replay it edited.',
  },
  malformed_cbor: {
    because: 'The payload is no well-formed CBOR.',
    advice: 'Publish with the content type that the payload is of.',
  },
  not_an_array: {
    because: 'A SenML pack must be an array of records.',
    advice: 'Put the record in an array, or publish plain JSON as application/json.',
  },
  empty_pack: { because: 'The SenML pack holds no record.', advice: 'Publish only when there is something to say.' },
  too_deep: { because: 'The payload is nested too deeply.', advice: 'Publish flatter JSON.' },
  too_many_records: { because: 'The payload holds too many records.', advice: 'Publish in several messages.' },
  no_reading: {
    because: 'The payload holds no value that could be stored.',
    advice: 'Give each record a value: v, vs, vb or vd.',
  },
  worker_failed: {
    because: 'Processing this message failed again and again.',
    advice: 'Replay it after an upgrade, and report it: this is a fault of the platform.',
  },
  store_refused: {
    because: 'The database does not take this message.',
    advice: 'Replay it after an upgrade, and report it: this is a fault of the platform.',
  },
  unknown_device: {
    because: 'No thing has this DevEUI: make one with it as its external id, or let the network server provision.',
    advice: 'Make the thing; what the device sends from then on is stored.',
  },
  unknown_application: {
    because: 'No channel names this application: set metadata.lora.app_id of one.',
    advice: 'Name the application in a channel; what comes from then on is stored.',
  },
  codec_failed: {
    because: 'The codec of the device could not decode the payload.',
    advice: 'Try the codec with the payload: POST /codecs/{id}/test.',
  },
  bad_event: {
    because: 'The network server sent an event that is not understood.',
    advice: 'Check the kind of the network server, and its version.',
  },
  not_an_object: { because: 'A SenML record must be an object.', advice: 'Mend the device, or replay it edited.' },
  unsupported_version: {
    because: 'The SenML version (bver) is not supported.',
    advice: 'Leave bver out.',
  },
  must_understand: {
    because: 'A field whose name ends in "_" must be understood, and is not known.',
    advice: 'Leave the field out, or name it without "_".',
  },
  missing_name: {
    because: 'The record has no name, neither of its own nor from a base name.',
    advice: 'Give it n, or bn in the first record.',
  },
  bad_name: {
    because: 'The name of the record holds characters that SenML does not allow.',
    advice: 'Use letters, digits and - : . / _ , beginning with a letter or digit.',
  },
  no_value: { because: 'The record has no value.', advice: 'Give it v, vs, vb, vd or s.' },
  many_values: { because: 'The record has more than one value.', advice: 'Make a record of each value.' },
  bad_value: {
    because: 'The value of the record is of the wrong type.',
    advice: 'v is a number, vs a text, vb true or false, vd base64url.',
  },
  bad_field: { because: 'A field of the record is of the wrong type.', advice: 'Names are texts, times are numbers.' },
  time_out_of_range: {
    because: 'The time of the record is outside of the years 1900 to 2262.',
    advice: 'Times are in seconds since 1970: ms are a thousand times too many.',
  },
  bad_time: {
    because: 'The member of the record that holds its time, by the profile of the channel, holds none.',
    advice: 'Correct the time of the profile of the channel, or the device.',
  },
  filtered: {
    because: 'The profile of its channel keeps none of its readings.',
    advice: 'Change the fields of the profile of the channel.',
  },
  duplicate: {
    because: 'It repeats an earlier message: same publisher, channel and Idempotency-Key. That one counts.',
    advice: 'Nothing, unless different messages are given one Idempotency-Key.',
  },
  nothing: {
    because: 'The message has no content that is kept.',
    advice: 'An empty payload is kept nowhere; blobs are where MILLRACE_STORE_RAW is not none.',
  },
};

export const explain = (reason: string): string => told(reason)?.because ?? reason;
export const advise = (reason: string): string => told(reason)?.advice ?? '';
const told = (reason: string): Told | undefined =>
  Object.hasOwn(REASONS, reason) ? REASONS[reason as WhyNot] : undefined;
