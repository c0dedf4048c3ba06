import type { LoraEvent } from '../events/lora-event.ts';
import { RecentEvents } from '../recent-events.ts';
import { commandOf } from './queue-item.ts';

/** A downlink that was enqueued. */
export interface SentDownlink {
  readonly command: string;
  readonly confirmed: boolean;
}

const KEPT_MS = 86_400_000;
const KEPT_MAX = 65_536;
/** Of one device of ChirpStack v3, whose events do not say which downlink they are about. */
const WAITING_MAX = 64;

interface Waiting extends SentDownlink {
  transmitted: boolean;
}

/** Which downlink an event is about. Most say it by an id that we gave; where a server gave its own, or tells none
 *  (ChirpStack v3), this node remembers what it sent.
 *  @holds bounded; what is forgotten, or was sent by another node, is not recognised then */
export class SentDownlinks {
  readonly #byItem = new RecentEvents<SentDownlink>(KEPT_MAX, KEPT_MS);
  readonly #byDevice = new RecentEvents<Waiting[]>(KEPT_MAX, KEPT_MS);

  /** The server knows it by an id of its own. */
  enqueuedAs(org: string, queueItemId: string, sent: SentDownlink): void {
    this.#byItem.add(`${org} ${queueItemId}`, sent);
  }

  /** The server will not say which one it means: they are sent in order. */
  enqueuedFor(org: string, devEui: string, sent: SentDownlink): void {
    const key = `${org} ${devEui}`;
    const waiting = this.#byDevice.get(key) ?? [];
    waiting.push({ ...sent, transmitted: false });
    if (waiting.length > WAITING_MAX) waiting.shift();
    this.#byDevice.add(key, waiting);
  }

  /** @returns null if it is about none of ours */
  about(org: string, event: LoraEvent): SentDownlink | null {
    if (event.type !== 'ack' && event.type !== 'txack' && event.type !== 'log') return null;
    if (event.queueItemId !== '')
      return this.#byItem.get(`${org} ${event.queueItemId}`) ?? commandOf(event.queueItemId);
    return event.type === 'log' ? null : this.#inOrder(org, event);
  }

  #inOrder(org: string, event: LoraEvent & { readonly type: 'ack' | 'txack' }): SentDownlink | null {
    const waiting = this.#byDevice.get(`${org} ${event.devEui}`) ?? [];
    const index =
      event.type === 'txack'
        ? waiting.findIndex(({ transmitted }) => !transmitted)
        : waiting.findIndex(({ confirmed }) => confirmed);
    const found = waiting[index];
    if (found === undefined) return null;
    found.transmitted = true;
    if (event.type === 'ack' || !found.confirmed) waiting.splice(index, 1);
    return found;
  }
}
