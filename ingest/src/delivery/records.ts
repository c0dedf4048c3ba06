import { type DeliveredMessage, EnvelopeReader, type LogBatch, type Protocol, uuidText } from '@millrace/core';

// hot

/** Goes through the records of a batch, one after the other; what only becomes a dead letter is passed over.
 *  @holds `reader` is open on the current record if `wellFormed` */
export class RecordWalk {
  readonly reader = new EnvelopeReader();
  offset = -1;
  wellFormed = false;
  #batch: LogBatch | null = null;
  #from = 0;
  #index = 0;
  #at = 0;

  /** @param from where to begin in it: what is before is not looked at */
  begin(batch: LogBatch, from: number): void {
    this.#batch = batch;
    this.#from = from;
    this.#index = 0;
    this.#at = 0;
  }

  next(): boolean {
    const batch = this.#batch;
    if (batch === null) return false;
    const { bytes, offsets, first, count } = batch;
    while (this.#index < count) {
      const at = this.#at;
      const start = at + 4;
      const end =
        start +
        (((bytes[at] as number) |
          ((bytes[at + 1] as number) << 8) |
          ((bytes[at + 2] as number) << 16) |
          ((bytes[at + 3] as number) << 24)) >>>
          0);
      this.offset = offsets === null ? first + this.#index : (offsets[this.#index] as number);
      this.#index++;
      this.#at = end;
      if (this.offset < this.#from) continue;
      this.wellFormed = this.reader.open(bytes, start, end);
      if (this.wellFormed && this.reader.isDeadLetter) continue;
      return true;
    }
    return false;
  }
}

/** What subscribers get: read out of the envelope once for all of them. */
export class RecordMessage implements DeliveredMessage {
  readonly partition: number;
  readonly offset: number;
  readonly id: string;
  readonly org: string;
  readonly channel: string;
  readonly subtopic: string;
  readonly publisher: string;
  readonly protocol: Protocol;
  readonly contentType: string;
  readonly receivedUs: number;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly payload: Buffer;
  #encoded: Map<string, Buffer> | null = null;

  constructor(partition: number, offset: number, reader: EnvelopeReader) {
    this.partition = partition;
    this.offset = offset;
    this.id = uuidText(reader.id);
    this.org = reader.org;
    this.channel = reader.channel;
    this.subtopic = reader.subtopic;
    this.publisher = reader.publisher;
    this.protocol = reader.protocol;
    this.contentType = reader.contentType;
    this.receivedUs = reader.receivedUs;
    this.qos = reader.qos;
    this.retain = reader.retain;
    this.payload = reader.payload;
  }

  get encoded(): Map<string, Buffer> {
    this.#encoded ??= new Map();
    return this.#encoded;
  }
}
