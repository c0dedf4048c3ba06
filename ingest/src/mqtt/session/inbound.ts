import type { SessionState } from '@millrace/core';

/** One QoS 2 publish of a session: the how-manieth of which generation. Text: `<generation>-<count>`. */
export interface Use {
  readonly generation: number;
  readonly count: number;
}

/** @returns null if the text is none */
export function parseUse(text: string): Use | null {
  const [, generation, count] = /^(\d{1,15})-(\d{1,15})$/.exec(text) ?? [];
  return generation === undefined ? null : { generation: Number(generation), count: Number(count) };
}

/** What the client sent at QoS 2 and has not released. Pure.
 *  What was kept may be older than what is on the log, if a node was killed: a publish that comes again and is not known
 *  is looked for there.
 *  @source MQTT 3.1.1 §4.3.3 */
export class Inbound {
  readonly #generation: number;
  #count = 0;
  readonly #received = new Map<number, string>();
  /** What was kept before: how far it went, and what was open then. */
  readonly #before: Use & { readonly open: ReadonlySet<string> };
  readonly #settled = new Set<number>();

  /** @param state null: nothing was kept, which is no proof that there was nothing */
  constructor(generation: number, state: Pick<SessionState, 'received' | 'inbound'> | null) {
    this.#generation = generation;
    const kept = state?.inbound;
    this.#before = { generation: kept?.generation ?? -1, count: kept?.count ?? 0, open: new Set(kept?.uses) };
    if (state === null || kept?.whole !== true) return;
    for (const [index, packetId] of state.received.entries()) this.#received.set(packetId, kept.uses[index] ?? '');
  }

  get size(): number {
    return this.#received.size;
  }

  has(packetId: number): boolean {
    return this.#received.has(packetId);
  }

  /** Whether a publish that comes again may be on the log though it is not known here. */
  isDoubtful(packetId: number): boolean {
    return !this.#settled.has(packetId) && !this.#received.has(packetId);
  }

  /** The log was asked about a doubtful one.
   *  @param found the last use of the packet id there  @param same whether that publish has the same content */
  settle(packetId: number, found: { readonly use: Use; readonly same: boolean } | null): void {
    this.#settled.add(packetId);
    if (found === null || !found.same) return;
    const { generation, count } = found.use;
    const before = this.#before;
    const covered = generation < before.generation || (generation === before.generation && count <= before.count);
    const text = `${generation}-${count}`;
    // Covered and no longer open: it was released before, and the packet id is used for the next now.
    if (!covered || before.open.has(text)) this.#received.set(packetId, text);
  }

  /** A publish is taken. @returns its use */
  take(packetId: number): string {
    const use = `${this.#generation}-${++this.#count}`;
    this.#received.set(packetId, use);
    this.#settled.add(packetId);
    return use;
  }

  useOf(packetId: number): string | undefined {
    return this.#received.get(packetId);
  }

  /** @returns whether it was known */
  release(packetId: number): boolean {
    return this.#received.delete(packetId);
  }

  /** @param whole nothing comes after it: the connection is over */
  kept(whole: boolean): Required<Pick<SessionState, 'received' | 'inbound'>> {
    return {
      received: [...this.#received.keys()],
      inbound: { generation: this.#generation, count: this.#count, uses: [...this.#received.values()], whole },
    };
  }
}
