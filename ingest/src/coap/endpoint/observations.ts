import type { CoapResponse, ObserveEnd } from '../contract.ts';
import { Type } from '../message/message.ts';
import { bareMessage, encodeAnswer } from './answer.ts';
import type { Cutter } from './cutter.ts';
import type { ExchangeListener } from './exchanges.ts';
import { Observation, type ObservationKeeper } from './observation.ts';
import { type EndpointParts, guarded } from './parts.ts';
import type { PeerState } from './peer-state.ts';
import type { Proofs } from './proof.ts';
import type { ServerRequest } from './server-request.ts';

/** Blocks of 64 bytes. */
const UNPROVEN_SZX = 2;
const UNPROVEN_PATIENCE = { retransmitMax: 1 };

const isAnswering = ({ proof }: PeerState): boolean => proof?.stage === 'answers';
const BLOCK_BYTES_MAX = 1_024;

/** Who observes what, and the notifications to them: most are sent and forgotten, every n-th has to be acknowledged, and
 *  only one such at a time.  @source RFC 7641 §4 */
export class Observations implements ObservationKeeper {
  readonly #parts: EndpointParts;
  readonly #cutter: Cutter;
  readonly #proofs: Proofs;

  constructor(parts: EndpointParts, cutter: Cutter, proofs: Proofs) {
    this.#parts = parts;
    this.#cutter = cutter;
    this.#proofs = proofs;
  }

  hasRoom(state: PeerState, key: string): boolean {
    const { observersMax, observersPerPeerMax } = this.#parts.options;
    if (state.observations.has(key)) return true;
    return this.#parts.counts.observers < observersMax && state.observations.size < observersPerPeerMax;
  }

  /** Takes the place of an observation with the same token. */
  begin(state: PeerState, request: ServerRequest): Observation {
    const { options, counts, states, wheel } = this.#parts;
    const key = request.token.toString('latin1');
    const known = state.observations.get(key);
    // The order goes on, lest the client takes the new one's notifications for old.
    const sequence = known === undefined ? 1 : (known.sequence + 1) & 0xffffff;
    if (known !== undefined) this.close(known, 'replaced');
    const observation = new Observation(this, state, request, key, sequence, options.now());
    state.observations.set(key, observation);
    states.changed(state);
    counts.observers++;
    wheel.add(observation, options.confirmIntervalMs);
    return observation;
  }

  notify(observation: Observation, response: CoapResponse): boolean {
    if (!observation.open) return true;
    if (observation.owes) {
      observation.blocked = true;
      return false;
    }
    if (response.code >> 5 !== 2) {
      this.finish(observation, response);
      return true;
    }
    const { options, exchanges } = this.#parts;
    const { verified } = observation.peer;
    const full = exchanges.isFull(observation.state);
    if (!verified && full) {
      this.close(observation, 'timeout');
      return true;
    }
    observation.sinceConfirmable++;
    // Before an address is proven, it gets one notification that it has to acknowledge, and then no more.
    const confirmable =
      !full &&
      (!verified ||
        observation.sinceConfirmable >= options.confirmEvery ||
        options.now() - observation.confirmedMs >= options.confirmIntervalMs);
    observation.sequence = (observation.sequence + 1) & 0xffffff;
    const { messageId, datagram } = this.#encode(observation, response, confirmable, observation.sequence);
    if (!confirmable) {
      observation.peer.send(datagram);
      return true;
    }
    observation.sinceConfirmable = 0;
    observation.owes = true;
    const patience = verified || isAnswering(observation.state) ? undefined : UNPROVEN_PATIENCE;
    const exchange = exchanges.send(observation.state, messageId, datagram, this.#listener(observation), patience);
    // It may have been acknowledged while it was sent, over a road within the process.
    if (observation.owes) observation.exchange = exchange;
    return true;
  }

  finish(observation: Observation, response: CoapResponse): void {
    if (!observation.open) return;
    const { exchanges } = this.#parts;
    const success = response.code >> 5 === 2;
    if (success) observation.sequence = (observation.sequence + 1) & 0xffffff;
    const { messageId, datagram } = this.#encode(observation, response, true, success ? observation.sequence : -1);
    // Closed first: the last word takes the place of what was not acknowledged yet.
    this.close(observation, 'ended');
    exchanges.send(observation.state, messageId, datagram, null);
  }

  #encode(
    observation: Observation,
    response: CoapResponse,
    confirmable: boolean,
    observe: number,
  ): { messageId: number; datagram: Buffer } {
    const { state, request } = observation;
    const bytes = Math.min(response.payload?.length ?? 0, BLOCK_BYTES_MAX);
    const small = !state.peer.verified && !this.#proofs.spends(state, bytes);
    const cut = this.#cutter.cut(state, request, response, 0, null, small ? UNPROVEN_SZX : undefined);
    const messageId = state.nextMessageId();
    const framing = {
      type: confirmable ? Type.Con : Type.Non,
      messageId,
      token: request.token,
      observe,
      block1: -1,
      block2: cut.block2,
      size2: cut.size2,
      etag: cut.etag,
      echo: null,
      start: cut.start,
      end: cut.end,
    };
    this.#parts.counts.notifications++;
    observation.sent(messageId);
    return { messageId, datagram: encodeAnswer(cut.response, framing, confirmable) };
  }

  /** The answer itself has to be acknowledged: no notification overtakes it. */
  awaitAnswer(observation: Observation): ExchangeListener {
    observation.owes = !this.#parts.exchanges.isFull(observation.state);
    return this.#listener(observation);
  }

  /** Ends the observation if the message is not acknowledged; goes on with it if it is. */
  #listener(observation: Observation): ExchangeListener {
    return {
      acknowledged: () => {
        observation.owes = false;
        observation.exchange = null;
        observation.confirmedMs = this.#parts.options.now();
        if (!observation.open || !observation.blocked) return;
        observation.blocked = false;
        guarded(this.#parts, () => observation.onRoom?.());
      },
      failed: (why) => this.close(observation, why),
    };
  }

  /** For so long nothing was acknowledged: is anyone there? */
  probe(observation: Observation): void {
    const { options, exchanges, wheel } = this.#parts;
    const { state } = observation;
    const quietMs = options.now() - observation.confirmedMs;
    wheel.add(observation, options.confirmIntervalMs);
    if (quietMs < options.confirmIntervalMs || observation.owes || exchanges.isFull(state)) return;
    const messageId = state.nextMessageId();
    const ping = Buffer.from(new Uint8Array(bareMessage(Type.Con, messageId)));
    // That someone is there does not say that it is still interested: the next notification has to be acknowledged.
    exchanges.send(state, messageId, ping, {
      acknowledged: () => {},
      failed: (why) => {
        if (why !== 'reset') this.close(observation, why);
      },
    });
  }

  /** An RST for a notification that nobody had to acknowledge.  @returns whether it was one */
  reset(state: PeerState, messageId: number): boolean {
    for (const observation of state.observations.values()) {
      if (!observation.hasSent(messageId)) continue;
      this.close(observation, 'reset');
      return true;
    }
    return false;
  }

  cancel(state: PeerState, token: Buffer): void {
    if (state.observations.size === 0) return;
    const observation = state.observations.get(token.toString('latin1'));
    if (observation !== undefined) this.close(observation, 'cancelled');
  }

  close(observation: Observation, why: ObserveEnd): void {
    if (!observation.open) return;
    const { counts, exchanges, states, wheel } = this.#parts;
    const { state, key } = observation;
    observation.open = false;
    if (state.observations.get(key) === observation) state.observations.delete(key);
    if (observation.exchange !== null) exchanges.cancel(observation.exchange);
    observation.exchange = null;
    states.changed(state);
    wheel.cancel(observation);
    counts.observers--;
    guarded(this.#parts, () => observation.onEnd?.(why));
  }

  closeAll(state: PeerState): void {
    for (const observation of [...state.observations.values()]) this.close(observation, 'closed');
  }
}
