import type { Position, SessionState } from '@millrace/core';

// hot

/** What was sent to a client and not acknowledged yet.
 *  @shape released: the client has it (QoS 2), only PUBCOMP is missing.
 *         mark: the change of the session that recorded it; it may be sent once that change is durable, where it must be */
export interface InFlightEntry extends Position {
  readonly packetId: number;
  readonly qos: 1 | 2;
  readonly topic: string;
  /** The share group that it was taken from. */
  readonly origin: object | null;
  released: boolean;
  mark: number;
}

export const PACKET_ID_MAX = 65_535;

/** The window of a session: packet ids and the states of QoS 1 and 2 towards the client. Pure: no time, no I/O.
 *  @holds an id is used for one message at a time; entries keep the order of sending, released ones that of releasing;
 *         at most `windowMax` are open, but what was restored stays whatever the window is
 *  @source MQTT 3.1.1 §2.3.1, §4.3, §4.4 */
export class InFlight {
  nextPacketId = 1;
  readonly #windowMax: number;
  readonly #sent = new Map<number, InFlightEntry>();
  readonly #released = new Map<number, InFlightEntry>();

  constructor(windowMax: number) {
    this.#windowMax = Math.min(windowMax, PACKET_ID_MAX - 1);
  }

  get size(): number {
    return this.#sent.size + this.#released.size;
  }

  get full(): boolean {
    return this.#sent.size + this.#released.size >= this.#windowMax;
  }

  /** Records a message under a packet id of its own. Only while not `full`. */
  add(
    partition: number,
    offset: number,
    qos: 1 | 2,
    topic: string,
    origin: object | null,
    mark: number,
  ): InFlightEntry {
    let packetId = this.nextPacketId;
    while (this.#sent.has(packetId) || this.#released.has(packetId)) packetId = following(packetId);
    this.nextPacketId = following(packetId);
    const entry = { partition, offset, packetId, qos, topic, origin, released: false, mark };
    this.#sent.set(packetId, entry);
    return entry;
  }

  /** PUBACK came. @returns what it freed; null if nothing of QoS 1 has this id */
  acknowledge(packetId: number): InFlightEntry | null {
    const entry = this.#sent.get(packetId);
    if (entry === undefined || entry.qos !== 1) return null;
    this.#sent.delete(packetId);
    return entry;
  }

  /** PUBREC came. @returns the entry, released now or before; null if nothing of QoS 2 has this id */
  receive(packetId: number): InFlightEntry | null {
    const entry = this.#sent.get(packetId);
    if (entry === undefined) return this.#released.get(packetId) ?? null;
    if (entry.qos !== 2) return null;
    this.#sent.delete(packetId);
    entry.released = true;
    this.#released.set(packetId, entry);
    return entry;
  }

  /** PUBCOMP came. @returns what it freed; null if nothing was released under this id */
  complete(packetId: number): InFlightEntry | null {
    const entry = this.#released.get(packetId) ?? null;
    if (entry !== null) this.#released.delete(packetId);
    return entry;
  }

  /** Gives an entry up: it can't be sent any more, or somebody else gets it. */
  drop(entry: InFlightEntry): void {
    for (const entries of [this.#sent, this.#released]) {
      if (entries.get(entry.packetId) === entry) entries.delete(entry.packetId);
    }
  }

  has(entry: InFlightEntry): boolean {
    return this.#sent.get(entry.packetId) === entry || this.#released.get(entry.packetId) === entry;
  }

  /** Released ones in the order of releasing, then the others in the order of sending. */
  entries(): InFlightEntry[] {
    return [...this.#released.values(), ...this.#sent.values()];
  }

  /** For a state to keep. */
  kept(): SessionState['inFlight'] {
    return this.entries().map(({ partition, offset, packetId, qos, topic, released }) => ({
      partition,
      offset,
      packetId,
      qos,
      topic,
      released,
    }));
  }

  restore(state: Pick<SessionState, 'inFlight' | 'nextPacketId'>): void {
    this.nextPacketId = Math.min(PACKET_ID_MAX, Math.max(1, state.nextPacketId));
    for (const each of state.inFlight) {
      (each.released ? this.#released : this.#sent).set(each.packetId, { ...each, origin: null, mark: 0 });
    }
  }
}

const following = (packetId: number): number => (packetId >= PACKET_ID_MAX ? 1 : packetId + 1);
