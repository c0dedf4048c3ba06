/** So long a broker that did not answer is asked last about who leads what. */
const SILENT_MS = 15_000;

/** What of kafkajs's broker a consumer calls, of its version 2.2. */
interface Asked {
  isConnected(): boolean;
  heartbeat(request: object): Promise<unknown>;
  fetch(request: object): Promise<unknown>;
}

/** What kafkajs knows to pass. */
class Silent extends Error {
  override readonly name: string;
  readonly type: string | undefined;
  readonly retriable = true;

  constructor(instead: { readonly name?: string; readonly type?: string }, cause: Error) {
    super(cause.message, { cause });
    this.name = instead.name ?? cause.name;
    this.type = instead.type;
  }
}

/** Lets kafkajs turn from a broker that hangs to whoever leads or keeps the group by then. By itself it asks that broker
 *  again, as often as it may try: two minutes in which nothing is read of what the broker led, or, when it kept the
 *  group, in which the member is in none. */
export function turnFromSilence(broker: Asked): void {
  const isConnected = broker.isConnected.bind(broker);
  const [heartbeat, fetch] = [broker.heartbeat.bind(broker), broker.fetch.bind(broker)];
  let silentUntilMs = 0;
  const answered = async <T>(answer: Promise<T>, instead: ConstructorParameters<typeof Silent>[0]): Promise<T> => {
    try {
      return await answer;
    } catch (cause) {
      if (!(cause instanceof Error) || cause.name !== 'KafkaJSRequestTimeoutError') throw cause;
      silentUntilMs = performance.now() + SILENT_MS;
      throw new Silent(instead, cause);
    }
  };
  broker.isConnected = () => performance.now() >= silentUntilMs && isConnected();
  // The group is looked for again, and joined under the same name.
  broker.heartbeat = (request) => answered(heartbeat(request), { type: 'NOT_COORDINATOR_FOR_GROUP' });
  // Who leads is asked for again.
  broker.fetch = (request) => answered(fetch(request), { name: 'KafkaJSBrokerNotFound' });
}
