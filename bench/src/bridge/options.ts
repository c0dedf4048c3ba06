import type { BrokerName } from './brokers/broker.ts';

export interface BridgeOptions {
  /** Interleaved rounds: every round measures every broker once. */
  readonly rounds: number;
  /** Length of a closed loop; the other loads follow from it. */
  readonly seconds: number;
  /** Publishers, each with a channel of its own. */
  readonly connections: number;
  readonly payloadSize: number;
  readonly brokers: readonly BrokerName[];
  /** Publishes of one connection that wait for their acknowledgement: one table row each. */
  readonly inFlight: readonly number[];
  /** Publishers in, one subscriber out.  @units messages/s */
  readonly fanIn: readonly number[];
  /** One publisher in, so many subscribers out. */
  readonly fanOut: readonly number[];
  /** Deliveries a second of every fan-out. */
  readonly fanOutPerSecond: number;
  readonly idleConnections: number;
  /** Memory is the least that was seen for so long.  @units s */
  readonly memorySeconds: number;
  readonly offline: { readonly sessions: number; readonly channels: number; readonly messages: number };
  /** Ends what runs and rejects. */
  readonly signal?: AbortSignal;
}

export const BRIDGE_FULL: BridgeOptions = {
  rounds: 3,
  seconds: 4,
  connections: 50,
  payloadSize: 250,
  brokers: ['mosquitto', 'aedes', 'millrace', 'millrace-all'],
  inFlight: [1, 20],
  fanIn: [3_000, 10_000],
  fanOut: [10, 100, 1_000],
  fanOutPerSecond: 20_000,
  idleConnections: 10_000,
  memorySeconds: 3,
  offline: { sessions: 10_000, channels: 200, messages: 100_000 },
};
export const BRIDGE_QUICK: BridgeOptions = {
  ...BRIDGE_FULL,
  rounds: 1,
  seconds: 2,
  offline: { sessions: 1_000, channels: 100, messages: 100_000 },
};
