import { encodePublish } from './publish-packet.ts';

const INTERVAL_MS = 10_000;

/** Who is shown the state of the broker. */
export interface SystemViewer {
  writeSystem(packet: Buffer): void;
}

/** What the broker tells about itself: topics without `$SYS/broker/`, and their values. */
export type SystemFacts = () => Promise<Readonly<Record<string, string | number>>>;

/** `$SYS/broker/…` for administrators: retained, at QoS 0, anew every ten seconds. */
export class SystemTopics {
  readonly #facts: SystemFacts;
  readonly #viewers = new Map<SystemViewer, Set<string>>();
  readonly #intervalMs: number;
  #timer: NodeJS.Timeout | null = null;

  constructor(facts: SystemFacts, intervalMs: number = INTERVAL_MS) {
    this.#facts = facts;
    this.#intervalMs = intervalMs;
  }

  add(viewer: SystemViewer, filter: string): void {
    let filters = this.#viewers.get(viewer);
    if (filters === undefined) {
      filters = new Set();
      this.#viewers.set(viewer, filters);
    }
    filters.add(filter);
    this.#timer ??= setInterval(() => void this.#tell([...this.#viewers], false), this.#intervalMs);
    this.#timer.unref();
  }

  /** A filter was granted: what it matches now. */
  show(viewer: SystemViewer, filter: string): void {
    void this.#tell([[viewer, new Set([filter])]], true);
  }

  remove(viewer: SystemViewer, filter: string): void {
    const filters = this.#viewers.get(viewer);
    if (filters === undefined || !filters.delete(filter) || filters.size > 0) return;
    this.#viewers.delete(viewer);
    if (this.#viewers.size === 0) this.stop();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  async #tell(viewers: readonly (readonly [SystemViewer, ReadonlySet<string>])[], retain: boolean): Promise<void> {
    const facts = await this.#facts().catch(() => ({}));
    for (const [name, value] of Object.entries(facts)) {
      const topic = `$SYS/broker/${name}`;
      const head = { topic, qos: 0, retain, duplicate: false, packetId: 0 } as const;
      let packet: Buffer | null = null;
      for (const [viewer, filters] of viewers) {
        if (![...filters].some((filter) => topicMatches(filter, topic))) continue;
        packet ??= encodePublish(head, Buffer.from(String(value)));
        viewer.writeSystem(packet);
      }
    }
  }
}

/** @source MQTT 3.1.1 §4.7 */
export function topicMatches(filter: string, topic: string): boolean {
  const wanted = filter.split('/');
  const levels = topic.split('/');
  for (const [index, want] of wanted.entries()) {
    if (want === '#') return true;
    if (index >= levels.length || (want !== '+' && want !== levels[index])) return false;
  }
  return wanted.length === levels.length;
}
