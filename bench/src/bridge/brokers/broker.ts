import type { TreeMemory } from '../../memory.ts';
import type { Endpoint, Identity, Publisher } from '../load/plan.ts';

/** What the load is aimed at. The bytes are the same for all. */
export interface Broker {
  readonly endpoint: Endpoint;
  /** null: no TLS listener here. */
  readonly tls: Endpoint | null;
  /** Each with a channel of its own. */
  readonly publishers: readonly Publisher[];
  /** May subscribe to all of these channels. */
  readonly subscriber: Identity;
  /** Null where the system does not tell. */
  memory(): TreeMemory | null;
  stderr(): string;
  stop(): Promise<void>;
}

export type BrokerName = 'mosquitto' | 'aedes' | 'millrace' | 'millrace-all';

export interface BrokerOptions {
  readonly publishers: number;
  readonly core: number | null;
  /** null: no TLS can be had. */
  readonly certificate: CertificateFiles | null;
}

/** PEM files. */
export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
}

/** Filter of everything that the publishers send. */
export const EVERYTHING = 'channels/+/messages';

export const topicOf = (channel: string): string => `channels/${channel}/messages`;

/** Names and keys as long as the product's, for brokers that ask for none. */
export function anyPublishers(count: number): Publisher[] {
  return Array.from({ length: count }, (_, index) => {
    const id = `00000000-0000-7000-8000-${String(index).padStart(12, '0')}`;
    return { username: id, password: 'k'.repeat(43), topic: topicOf(id) };
  });
}

export const ANY_SUBSCRIBER: Identity = {
  username: '00000000-0000-7000-8000-ffffffffffff',
  password: 'k'.repeat(43),
};
