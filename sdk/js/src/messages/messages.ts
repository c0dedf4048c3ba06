import { everyItem } from '../pages.ts';
import type { BodyOf, Json, Page, QueryOf, Schema } from '../schema.ts';
import type { Session } from '../session.ts';
import { type CallOptions, type Query, segment, type Transport } from '../transport.ts';
import { eventStreamFeed } from './event-stream.ts';
import { follow } from './follow.ts';
import { LivePublisher, liveFeed } from './live.ts';
import { encode, type LiveMessage, type Payload, type PublishOptions, type SubscribeOptions } from './message.ts';
import { type MqttOptions, MqttPublisher, mqttFeed } from './mqtt.ts';

export type Reading = Schema<'Reading'>;
export type ReadingsQuery = QueryOf<'/channels/{id}/messages'>;

/** Messages in and out. */
export class Messages {
  readonly #transport: Transport;
  readonly #session: Session;
  readonly #mqtt: MqttOptions;
  readonly #live: LivePublisher;
  readonly #broker: MqttPublisher;

  constructor(transport: Transport, session: Session, mqtt: MqttOptions) {
    this.#transport = transport;
    this.#session = session;
    this.#mqtt = mqtt;
    this.#live = new LivePublisher(transport, session);
    this.#broker = new MqttPublisher(transport, session, mqtt);
  }

  /** Publishes one message; done once it is durable.
   *  @param channel id or alias  @returns the message's id; null by MQTT, which tells none */
  async publish(channel: string, payload: Payload, options: PublishOptions = {}): Promise<string | null> {
    switch (options.protocol ?? 'http') {
      case 'ws':
        return this.#live.publish(channel, payload, options);
      case 'mqtt':
        await this.#broker.publish(channel, payload, options);
        return null;
      case 'http':
        return this.#byHttp(channel, payload, options);
    }
  }

  async #byHttp(channel: string, payload: Payload, options: PublishOptions): Promise<string> {
    const { subtopic, idempotencyKey, signal, timeoutMs } = options;
    const { bytes, contentType } = encode(payload, options.contentType);
    const key = idempotencyKey === true ? crypto.randomUUID() : idempotencyKey;
    const { id } = await this.#transport.call<{ id: string }>('POST', messagesPath(channel, subtopic), {
      anyOrg: true,
      bytes,
      headers: {
        ...(contentType === undefined ? {} : { 'content-type': contentType }),
        ...(key === undefined ? {} : { 'idempotency-key': key }),
      },
      ...(signal === undefined ? {} : { signal }),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    });
    return id;
  }

  /** Messages as they come, as long as the loop runs: through lost connections, without gap or repeat while the log
   *  keeps them (by MQTT: what comes while the connection is lost, is lost).
   *  @param channel id or alias
   *  @throws MillraceSubscriptionEnded when it may no longer be read; MillraceApiError when it may not at all */
  subscribe(channel: string, options: SubscribeOptions = {}): AsyncGenerator<LiveMessage, void, undefined> {
    switch (options.protocol ?? 'ws') {
      case 'ws':
        return follow(liveFeed(this.#transport, this.#session, channel, options), options);
      case 'sse':
        return follow(eventStreamFeed(this.#transport, channel, options), options);
      case 'mqtt':
        return follow(mqttFeed(this.#transport, this.#session, channel, options, this.#mqtt), options);
    }
  }

  /** One page of a channel's readings, newest first unless told otherwise. */
  page(channel: string, query?: ReadingsQuery, options: CallOptions = {}): Promise<Page<'messages', Reading>> {
    return this.#transport.call('GET', messagesPath(channel), { ...options, query: query as Query | undefined });
  }

  /** Every reading that the query covers, page after page. */
  readings(
    channel: string,
    query: ReadingsQuery = {},
    options: CallOptions = {},
  ): AsyncGenerator<Reading, void, undefined> {
    return everyItem(query as Query, 'messages', async (page) => {
      // The total may be an estimate: only the pages themselves tell the end.
      const { total: _estimate, ...rest } = await this.page(channel, page as ReadingsQuery, options);
      return rest;
    });
  }

  /** What became of a message. */
  fate(id: string, options: CallOptions = {}): Promise<Schema<'Fate'>> {
    return this.#transport.call('GET', `/messages/${segment(id)}`, options);
  }

  /** How a channel is: rates, lag, what is lost and why, who publishes; `findings` says it in plain words.
   *  @param channel id or alias */
  health(channel: string, options: CallOptions = {}): Promise<Schema<'ChannelHealth'>> {
    return this.#transport.call('GET', `/channels/${segment(channel)}/health`, options);
  }

  /** What could not be processed, the newest first; the open ones unless `state` says otherwise. */
  deadLetters(query: Query = {}, options: CallOptions = {}): AsyncGenerator<Json, void, undefined> {
    return everyItem(query, 'dead_letters', (page) =>
      this.#transport.call('GET', '/dead-letters', { ...options, query: page }),
    );
  }

  /** @param id as the list gives it: of the message, with `.<index>` of a record */
  deadLetter(id: string, options: CallOptions = {}): Promise<Schema<'InspectedDeadLetter'>> {
    return this.#transport.call('GET', `/dead-letters/${segment(id)}`, options);
  }

  /** Publishes what a dead letter holds anew, edited if an edit is given. The very same again does nothing. */
  replay(
    id: string,
    edit: BodyOf<'/dead-letters/{id}/replay', 'post'> = {},
    options: CallOptions = {},
  ): Promise<Schema<'Replay'>> {
    return this.#transport.call('POST', `/dead-letters/${segment(id)}/replay`, { ...options, body: edit });
  }

  /** Has all open dead letters replayed that the filter covers.  @returns the job that does it */
  replayAll(filter: Query = {}, options: CallOptions = {}): Promise<Schema<'Job'>> {
    return this.#transport.call('POST', '/dead-letters/replay', { ...options, body: { filter } });
  }

  /** How many open dead letters a filter covers. */
  matchingDeadLetters(filter: Query = {}, options: CallOptions = {}): Promise<Schema<'MatchingDeadLetters'>> {
    return this.#transport.call('POST', '/dead-letters/replay', { ...options, body: { filter, dry_run: true } });
  }

  /** Puts dead letters aside that nobody will replay. */
  discard(
    which: { readonly ids: readonly string[] } | { readonly filter: Query },
    options: CallOptions = {},
  ): Promise<Schema<'Discarded'>> {
    return this.#transport.call('POST', '/dead-letters/discard', { ...options, body: which });
  }

  /** Ends the connections that publishing opened. */
  async close(): Promise<void> {
    await Promise.all([this.#live.close(), this.#broker.close()]);
  }
}

const messagesPath = (channel: string, subtopic?: string): string =>
  [
    `/channels/${segment(channel)}/messages`,
    ...(subtopic ?? '')
      .split('/')
      .filter((part) => part !== '')
      .map(segment),
  ].join('/');
