import type { Config } from '../config.ts';

export type ListenerName = 'http' | 'mqtt' | 'mqtts';

/** What counts together: MQTT with and without TLS. */
export type LoadKind = 'http' | 'mqtt';
export type Load = Readonly<Record<LoadKind, number>>;
export const loadKindOf = (listener: ListenerName): LoadKind => (listener === 'http' ? 'http' : 'mqtt');

/** All that a worker is started with. @holds secrets: it travels by the channel between the two processes only */
export interface WorkerStart {
  /** From 1; also its name in logs and metrics. */
  readonly number: number;
  readonly config: Config;
  readonly secret: Uint8Array;
  readonly directory: string;
  readonly postgresUrl: string;
  /** To PostgreSQL. */
  readonly connectionsMax: number;
  /** Where the log is served; null: it is Kafka. */
  readonly logPath: string | null;
  /** Where the main process answers what workers do not. */
  readonly relayPath: string;
  readonly ticketKeys: Uint8Array;
}

/** What the main process says to a worker. */
export type Order =
  | { readonly kind: 'start'; readonly start: WorkerStart }
  /** With it comes the socket. */
  | { readonly kind: 'connection'; readonly id: number; readonly listener: ListenerName }
  | { readonly kind: 'ask'; readonly id: number; readonly what: Question }
  | { readonly kind: 'drain'; readonly deadlineMs: number };
/** Its metrics as text; or to apply what is committed in the registry. */
export type Question = 'metrics' | 'current';

/** What a worker says. */
export type Report =
  | { readonly kind: 'ready' }
  /** It can not start, and ends. */
  | { readonly kind: 'failed'; readonly problem: string }
  /** It has the socket: nobody else needs to keep it. */
  | { readonly kind: 'took'; readonly id: number }
  /** Open connections; also a sign of life. */
  | { readonly kind: 'load'; readonly open: Load }
  | { readonly kind: 'told'; readonly id: number; readonly text: string };
