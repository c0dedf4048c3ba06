import { findCoordinatorV4, metadataV12 } from '@platformatic/kafka';
import type { KafkaConnection } from '../client.ts';
import { brokerFault } from '../faults.ts';
import { answerOf, platformaticFault } from './faults.ts';
import { type Address, Link } from './link.ts';

/** A call that a broker answers at once. */
export const CALL_MS_MAX = 5_000;
const GROUP_KEY = 0;

type MetadataResponse = metadataV12.MetadataResponse;

/** What is known of the cluster: where its brokers are and who leads what. */
export class Brokers {
  readonly kafka: KafkaConnection;
  readonly #bootstrap: readonly Address[];
  readonly #nodes = new Map<number, Address>();
  readonly #leaders = new Map<string, readonly number[]>();
  readonly #refreshing = new Map<string, Promise<void>>();
  #first = 0;
  #link: Promise<Link> | null = null;
  #closed = false;

  constructor(kafka: KafkaConnection) {
    this.kafka = kafka;
    this.#bootstrap = kafka.brokers.map(addressOf);
  }

  address(node: number): Address | null {
    return this.#nodes.get(node) ?? null;
  }

  /** Who leads a partition as last heard, or null. */
  leader(topic: string, partition: number): number | null {
    const leader = this.#leaders.get(topic)?.[partition] ?? -1;
    return leader < 0 ? null : leader;
  }

  /** As last heard, 0 if nothing was. */
  partitionCount(topic: string): number {
    return this.#leaders.get(topic)?.length ?? 0;
  }

  /** Asks who leads the partitions of a topic now; all who ask meanwhile share one answer. */
  refresh(topic: string): Promise<void> {
    let refreshing = this.#refreshing.get(topic);
    if (refreshing === undefined) {
      refreshing = this.metadata([topic]).then(() => {});
      const over = (): void => void this.#refreshing.delete(topic);
      refreshing.then(over, over);
      this.#refreshing.set(topic, refreshing);
    }
    return refreshing;
  }

  /** @throws LogError, with the protocol's name as `problem` when there is no such topic */
  async metadata(topics: string[]): Promise<MetadataResponse> {
    const learned = (answer: MetadataResponse): MetadataResponse => {
      if (answer.brokers.length > 0) this.#nodes.clear();
      for (const { nodeId, host, port } of answer.brokers) this.#nodes.set(nodeId, { host, port });
      for (const { name, partitions, errorCode } of answer.topics) {
        if (name === null || name === undefined) continue;
        if (errorCode !== 0) {
          this.#leaders.delete(name);
          continue;
        }
        const leaders: number[] = [];
        for (const { partitionIndex, leaderId } of partitions) leaders[partitionIndex] = leaderId;
        this.#leaders.set(name, leaders);
      }
      return answer;
    };
    return await this.any(async (link) => {
      try {
        return learned(await link.call(metadataV12.api, CALL_MS_MAX, topics, false, false));
      } catch (error) {
        // A partition without a leader makes an error of the whole.
        const answer = answerOf<MetadataResponse>(error);
        if (answer === null || answer.topics.some(({ errorCode }) => errorCode !== 0)) throw error;
        return learned(answer);
      }
    });
  }

  /** The broker that keeps a group.  @throws LogError */
  async coordinator(group: string): Promise<number> {
    const answer = await this.any((link) => link.call(findCoordinatorV4.api, CALL_MS_MAX, GROUP_KEY, [group]));
    const [found] = answer.coordinators;
    if (found === undefined) throw brokerFault('COORDINATOR_NOT_AVAILABLE', '', undefined);
    this.#nodes.set(found.nodeId, { host: found.host, port: found.port });
    return found.nodeId;
  }

  /** Asks any broker; whoever does not answer is asked last the next time.  @throws LogError */
  async any<T>(ask: (link: Link) => Promise<T>): Promise<T> {
    let opening = this.#link;
    const before = await opening?.catch(() => null);
    if (opening === null || before === null || before?.gone === true) {
      if (this.#link === opening) this.#link = this.#reach();
      opening = this.#link as Promise<Link>;
    }
    try {
      return await ask(await opening);
    } catch (cause) {
      throw platformaticFault(cause);
    }
  }

  async #reach(): Promise<Link> {
    const addresses = [...this.#bootstrap, ...this.#nodes.values()];
    let last: unknown;
    for (let tried = 0; tried < addresses.length; tried++) {
      if (this.#closed) throw brokerFault(null, 'the client is closed', undefined);
      const address = addresses[this.#first++ % addresses.length] as Address;
      try {
        const link = await Link.open(address, this.kafka);
        if (this.#closed) link.close();
        return link;
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const link = await this.#link?.catch(() => null);
    link?.close();
  }
}

/** Connections to brokers of somebody's own, one a broker. */
export class Links {
  readonly #brokers: Brokers;
  readonly #open = new Map<number, Promise<Link>>();
  #closed = false;

  constructor(brokers: Brokers) {
    this.#brokers = brokers;
  }

  /** @throws LogError */
  async to(node: number): Promise<Link> {
    const open = this.#open.get(node);
    if (open !== undefined) {
      const link = await open.catch(() => null);
      if (link !== null && !link.gone) return link;
      if (this.#open.get(node) === open) this.#open.delete(node);
      else return await this.to(node);
    }
    const address = this.#brokers.address(node);
    if (this.#closed || address === null) throw brokerFault(null, `broker ${node} is not known`, undefined);
    const opening = Link.open(address, this.#brokers.kafka);
    this.#open.set(node, opening);
    try {
      const link = await opening;
      if (this.#closed) link.close();
      return link;
    } catch (cause) {
      throw platformaticFault(cause);
    }
  }

  close(): void {
    this.#closed = true;
    for (const opening of this.#open.values()) {
      opening.then(
        (link) => link.close(),
        () => {},
      );
    }
    this.#open.clear();
  }
}

function addressOf(broker: string): Address {
  const colon = broker.lastIndexOf(':');
  if (colon < 0) return { host: broker, port: 9_092 };
  return { host: broker.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(broker.slice(colon + 1)) };
}
