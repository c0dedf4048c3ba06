import type { Target } from '../pack.ts';

/** What the devices of a small site do: half publish by HTTP, half by MQTT (QoS 1), each at its own time. */
export interface SmallPlan {
  readonly http: string;
  readonly mqtt: string;
  readonly targets: readonly (Target & { readonly thing: string })[];
  readonly messagesPerSecond: number;
  readonly tenEvery: number;
  readonly seconds: number;
}

/** @units latency in ms, from when a message was due to its acknowledgement */
export interface SmallLoad {
  readonly offered: number;
  readonly accepted: number;
  /** Of the accepted messages. */
  readonly readings: number;
  readonly refused: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly ackP50: number;
  readonly ackP99: number;
}
