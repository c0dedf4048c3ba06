import type { Position, SessionKey, SessionState } from '@millrace/core';
import type { MqttQos } from '../contract.ts';
import { InFlight } from './in-flight.ts';
import { Inbound } from './inbound.ts';

/** Who holds a record at present: the session that is connected. */
export interface RecordHolder {
  /** Where delivery stands in each partition, with what the record knew before. */
  positions(): readonly Position[];
  /** For a shared filter: where its group stands; otherwise where the filter itself began. */
  startOf(topic: string): readonly Position[];
  /** What was changed up to `mark` is durable. */
  durable(mark: number): void;
  /** Somebody else has the session now. */
  lost(): void;
}

/** What a session asked for, as it is kept. */
export interface KeptFilter {
  qos: MqttQos;
  from: readonly Position[];
  /** Its channel is disabled: it stands at `from`, wherever the session stands. */
  held?: true;
}

export const keyText = ({ owner, clientId }: SessionKey): string => `${owner}\0${clientId}`;

/** What is kept of a session, and which of its changes are durable. Handed from connection to connection.
 *  @holds `mark` counts changes; `savedMark` is the last that is durable; a session that ends with its connection is
 *         never saved */
export class SessionRecord {
  readonly key: SessionKey;
  readonly keyText: string;
  readonly persistent: boolean;
  readonly generation: number;
  /** Nothing is stored of it yet. */
  readonly fresh: boolean;
  readonly filters = new Map<string, KeptFilter>();
  readonly inFlight: InFlight;
  readonly inbound: Inbound;
  mark = 0;
  savedMark = 0;
  /** ms since 1970 at which its last connection ended; null while it has one. */
  leftMs: number | null = null;
  /** When its oldest change that is not durable was made; what for, see `urgent`. */
  dirtySinceMs = 0;
  lost = false;
  holder: RecordHolder | null = null;
  #positions: readonly Position[] = [];
  #waiting: { readonly mark: number; readonly resolve: () => void; readonly reject: (error: Error) => void }[] = [];

  constructor(options: {
    readonly key: SessionKey;
    readonly persistent: boolean;
    readonly generation: number;
    readonly windowMax: number;
    readonly state: SessionState | null;
  }) {
    const { key, state } = options;
    this.key = key;
    this.keyText = keyText(key);
    this.persistent = options.persistent;
    this.generation = options.generation;
    this.fresh = options.persistent && state === null;
    this.inFlight = new InFlight(options.windowMax);
    this.inbound = new Inbound(options.generation, state);
    if (state === null) return;
    for (const { topic, ...kept } of state.subscriptions) this.filters.set(topic, kept);
    this.inFlight.restore(state);
    this.#positions = state.positions;
  }

  get positions(): readonly Position[] {
    return this.holder?.positions() ?? this.#positions;
  }

  /** The holder goes: where it stands is kept. */
  release(): void {
    const { holder } = this;
    if (holder === null) return;
    for (const [topic, filter] of this.filters) filter.from = holder.startOf(topic);
    this.#positions = holder.positions();
    this.holder = null;
  }

  snapshot(): SessionState {
    const { positions } = this;
    const at = new Map(positions.map(({ partition, offset }) => [partition, offset]));
    const subscriptions = [...this.filters].map(([topic, { qos, from: kept, held }]) => {
      if (held === true) return { topic, qos, from: kept, held };
      const from = this.holder?.startOf(topic) ?? kept;
      // Shared filters stand where their group stands, which the session's own positions say nothing about.
      const ahead = topic.startsWith('$share/')
        ? from
        : from.filter((each) => each.offset > (at.get(each.partition) ?? -1));
      return { topic, qos, from: ahead };
    });
    return {
      subscriptions,
      positions,
      inFlight: this.inFlight.kept(),
      ...this.inbound.kept(this.holder === null),
      nextPacketId: this.inFlight.nextPacketId,
    };
  }

  /** Settles once the change `mark` is durable; rejects when the session is lost. */
  whenDurable(mark: number): Promise<void> {
    if (!this.persistent || mark <= this.savedMark) return Promise.resolve();
    return new Promise((resolve, reject) => this.#waiting.push({ mark, resolve, reject }));
  }

  saved(mark: number): void {
    this.savedMark = mark;
    if (this.#waiting.length > 0) {
      const waiting = this.#waiting;
      this.#waiting = waiting.filter((each) => each.mark > mark);
      for (const each of waiting) if (each.mark <= mark) each.resolve();
    }
    this.holder?.durable(mark);
  }

  fenced(error: Error): void {
    if (this.lost) return;
    this.lost = true;
    for (const each of this.#waiting) each.reject(error);
    this.#waiting = [];
    this.holder?.lost();
  }
}
