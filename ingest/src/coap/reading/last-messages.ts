import {
  type DeliveredMessage,
  type Delivery,
  type Log,
  type MessageFate,
  type MessageOrigin,
  type Position,
  parseUuid,
  partitionOf,
  type Reading,
  type ReadingsStore,
} from '@millrace/core';
import { IngestError } from '../../error.ts';
import { Generations } from '../generations.ts';
import { senmlJson } from './senml.ts';
import { addressKey, PartitionTail, type TailView } from './tail.ts';
import type { Turns } from './turns.ts';

/** A message as it is given to who reads it. Immutable. */
export interface ReadMessage {
  readonly etag: Buffer;
  readonly contentType: string;
  readonly payload: Buffer;
}

/** The last message of an address, and where in the log whatever follows it begins. */
export interface LastMessage {
  readonly message: ReadMessage | null;
  readonly follows: Position;
}

export interface LastMessagesOptions {
  readonly log: Log;
  readonly delivery: Delivery;
  readonly store: ReadingsStore;
  readonly processorsGroup: string;
  /** A thousand devices that observe anew after a restart shall not shut everybody else out of the store. */
  readonly turns: Turns;
}

interface Remembered {
  /** What the store said. */
  readonly fate: MessageFate | null;
  /** Nothing was published there since, up to this offset. */
  asOf: number;
}

/** What the store is being asked. Whoever comes meanwhile may wait for the same answer, as far as it reaches. */
interface Asking {
  readonly fate: Promise<MessageFate | null>;
  readonly asOf: number;
}

const REMEMBERED_MAX = 16_384;
const MESSAGES_MAX = 4_096;
const MESSAGES_BYTES_MAX = 16 * 1_024 * 1_024;
/** Readings of which a message that the log has forgotten is put together again. */
const READINGS_MAX = 1_000;

const utf8 = new TextEncoder();

/** Finds the last message of a channel and subtopic: on the log where the processors have not come to yet, else by the
 *  store. What was published and acknowledged before is always found, on whichever node. */
export class LastMessages {
  readonly #options: LastMessagesOptions;
  readonly #tails = new Map<number, PartitionTail>();
  readonly #remembered = new Generations<string, Remembered>({ entries: REMEMBERED_MAX });
  /** By whom the store is being asked about. */
  readonly #asking = new Map<string, Asking>();
  readonly #messages = new Generations<string, ReadMessage>(
    { entries: MESSAGES_MAX, bytes: MESSAGES_BYTES_MAX },
    (key, message) => key.length + message.payload.length + 200,
  );

  constructor(options: LastMessagesOptions) {
    this.#options = options;
  }

  /** Where whatever is published from now on begins.  @throws LogError (retry later) */
  async end(channel: string): Promise<Position> {
    const partition = this.#partitionOf(channel);
    const { next } = await this.#options.log.extent(partition);
    return { partition, offset: next };
  }

  /** @param who asks: an id  @throws LogError, StoreError (retry later); IngestError COAP_BACKLOG, COAP_READERS_FULL */
  async last(of: MessageOrigin, who: string): Promise<LastMessage> {
    const partition = this.#partitionOf(of.channel);
    const view = await this.#tailOf(partition).view();
    const follows = { partition, offset: view.to };
    const offset = view.last.get(addressKey(of.channel, of.subtopic));
    if (offset !== undefined) {
      const message = await this.#onLog(of, { partition, offset });
      if (message !== null) return { message, follows };
    }
    const fate = await this.#stored(of, view, who);
    return { message: fate === null ? null : await this.#restored(of, fate, who), follows };
  }

  async #stored(of: MessageOrigin, view: TailView, who: string): Promise<MessageFate | null> {
    const key = `${of.org}\n${addressKey(of.channel, of.subtopic)}`;
    const known = this.#remembered.get(key);
    // Of what came since, the view would know.
    if (known !== undefined && known.asOf >= view.from) {
      known.asOf = view.to;
      return known.fate;
    }
    if (view.from > view.committed)
      throw new IngestError('COAP_BACKLOG', 'later', { waiting: view.to - view.committed });
    const running = this.#asking.get(key);
    if (running !== undefined && running.asOf >= view.from) return running.fate;
    const { store, turns } = this.#options;
    const asking: Asking = { fate: turns.take(who, () => store.lastMessage(of)), asOf: view.to };
    this.#asking.set(key, asking);
    try {
      const fate = await asking.fate;
      this.#remembered.set(key, { fate, asOf: asking.asOf });
      return fate;
    } finally {
      if (this.#asking.get(key) === asking) this.#asking.delete(key);
    }
  }

  async #onLog({ org, channel, subtopic }: MessageOrigin, position: Position): Promise<ReadMessage | null> {
    const key = `${position.partition}-${position.offset}`;
    const known = this.#messages.get(key);
    if (known !== undefined) return known;
    const found = await this.#options.delivery.at(position);
    // Whoever else writes to the log may name any channel: what bears no admission is nobody's message.
    if (found === null || found.org !== org || found.channel !== channel || found.subtopic !== subtopic) return null;
    const message = readMessage(found);
    this.#messages.set(key, { ...message, payload: Buffer.from(message.payload) });
    return message;
  }

  async #restored(of: MessageOrigin, fate: MessageFate, who: string): Promise<ReadMessage | null> {
    const position = { partition: fate.partition, offset: fate.offset };
    const kept = fate.reason === 'forbidden' ? null : await this.#onLog(of, position);
    if (kept !== null) return kept;
    const { id, contentType } = fate;
    const { store, turns } = this.#options;
    if (fate.stored === 'payload') {
      const payload = await turns.take(who, () => store.payload(id));
      if (payload === null) return null;
      return { etag: etagOf(id), contentType, payload: Buffer.from(payload.bytes) };
    }
    return fate.stored === 'readings' ? turns.take(who, () => this.#fromReadings(of, fate)) : null;
  }

  /** The log has forgotten it: what is left of it are its readings, those that share the newest time. */
  async #fromReadings(of: MessageOrigin, { id, publisher }: MessageFate): Promise<ReadMessage | null> {
    const page = await this.#options.store.readings({
      ...of,
      publisher,
      offset: 0,
      limit: READINGS_MAX,
      order: 'time',
      direction: 'desc',
      total: 'estimate',
    });
    const [newest] = page.readings;
    if (newest === undefined) return null;
    const together = page.readings.filter((reading: Reading) => reading.timeNs === newest.timeNs);
    return { etag: etagOf(id), contentType: 'application/senml+json', payload: senmlJson(together) };
  }

  #tailOf(partition: number): PartitionTail {
    const known = this.#tails.get(partition);
    if (known !== undefined) return known;
    const { log, processorsGroup } = this.#options;
    const tail = new PartitionTail(log, processorsGroup, partition);
    this.#tails.set(partition, tail);
    return tail;
  }

  #partitionOf(channel: string): number {
    return partitionOf(utf8.encode(channel), this.#options.log.partitionCount);
  }
}

export const readMessage = ({ id, contentType, payload }: DeliveredMessage): ReadMessage => ({
  etag: etagOf(id),
  contentType,
  payload,
});

/** The random half of a message's id: as much as an ETag holds. */
const etagOf = (id: string): Buffer => Buffer.from(parseUuid(id) ?? new Uint8Array(16)).subarray(8);
