import type { KafkaClient, KafkaConnection, KafkaMember, KafkaProducer, KafkaReader, MemberEvents } from '../client.ts';
import { PlatformaticAdmin } from './admin.ts';
import { Brokers } from './brokers.ts';
import { compressionOf } from './codecs.ts';
import { Intake } from './intake.ts';
import { PlatformaticMember } from './member.ts';
import { PlatformaticProducer } from './producer.ts';

/** @platformatic/kafka: its connections and wire calls, with a producer, reader and member of our own on them.
 *  @source ADR 0022 says why not its own */
export class PlatformaticClient implements KafkaClient {
  readonly name = 'platformatic';
  readonly admin: PlatformaticAdmin;
  readonly #brokers: Brokers;
  readonly #connection: KafkaConnection;

  constructor(connection: KafkaConnection) {
    this.#connection = connection;
    this.#brokers = new Brokers(connection);
    this.admin = new PlatformaticAdmin(this.#brokers);
  }

  leaderOf(topic: string, partition: number): number {
    return this.#brokers.leader(topic, partition) ?? -1;
  }

  async connect(): Promise<void> {
    await this.admin.brokerCount();
  }

  async close(): Promise<void> {
    this.admin.close();
    await this.#brokers.close();
  }

  producer(): Promise<KafkaProducer> {
    return PlatformaticProducer.connect(this.#brokers, compressionOf(this.#connection.compression));
  }

  member(topic: string, group: string, events: MemberEvents): KafkaMember {
    return new PlatformaticMember(this.#brokers, topic, group, { events, ...this.#parts() });
  }

  async reader(topic: string): Promise<KafkaReader> {
    await this.#brokers.refresh(topic);
    return new Intake(this.#brokers, topic, { ...this.#parts(), ours: null });
  }

  #parts() {
    return {
      extents: (topic: string) => this.admin.extents(topic),
      logger: this.#connection.logger,
    };
  }
}
