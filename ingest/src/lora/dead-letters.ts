import {
  appendOne,
  DEAD_LETTER_HEADER,
  type DeadReason,
  EnvelopeEncoder,
  type Gate,
  type Log,
  Protocol,
  partitionOf,
  uuidText,
  writeUuidV7,
} from '@millrace/core';
import type { WallClock } from '../clock.ts';

const utf8 = new TextEncoder();
const DETAIL_CHARACTERS_MAX = 1_024;
/** Room that an envelope's own fields take beside the payload, at most. */
const ENVELOPE_BYTES_MAX = 8_192;

/** What could not be made a message, and why. */
export interface DeadLetter {
  readonly org: string;
  /** The channel's id; the network server's, or its caller's, where no channel is known. */
  readonly channel: string;
  /** The thing's id; where none is known the same as the channel's. */
  readonly publisher: string;
  readonly subtopic: string;
  readonly reason: DeadReason;
  /** A sentence that says what to do. */
  readonly detail: string;
  readonly payload: Uint8Array;
  readonly contentType: string;
  /** Known again by it. */
  readonly dedupKey?: string;
}

/** Appends what the processors shall make a dead letter of: an envelope that says so in a header, under our own seal. */
export class DeadLetters {
  readonly #log: Log;
  readonly #gate: Gate;
  readonly #clock: WallClock;
  readonly #encoder = new EnvelopeEncoder();

  constructor(log: Log, gate: Gate, clock: WallClock) {
    this.#log = log;
    this.#gate = gate;
    this.#clock = clock;
  }

  /** @returns the message's id, once it is durable  @throws LogError */
  async write(letter: DeadLetter): Promise<string> {
    const { org, channel, publisher, subtopic, reason, contentType, dedupKey } = letter;
    const nowUs = this.#clock.nowUs();
    const id = new Uint8Array(16);
    writeUuidV7(id, 0, Math.floor(nowUs / 1_000));
    const payload = letter.payload.subarray(0, this.#log.recordBytesMax - ENVELOPE_BYTES_MAX);
    const mac = new Uint8Array(16);
    this.#gate.sealer.seal({ id, org, channel, subtopic, publisher, version: 0, receivedUs: nowUs, payload }, mac);
    const record = this.#encoder.encode({
      id,
      org,
      channel,
      subtopic,
      publisher,
      protocol: Protocol.lora,
      contentType,
      receivedUs: nowUs,
      payload,
      dedupKey,
      headers: [[DEAD_LETTER_HEADER, `${reason} ${letter.detail.slice(0, DETAIL_CHARACTERS_MAX)}`]],
      admission: { version: 0, mac },
    });
    await appendOne(this.#log, partitionOf(utf8.encode(channel), this.#log.partitionCount), channel, record);
    return uuidText(id);
  }
}
