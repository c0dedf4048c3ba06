import type { CoapResponse } from '../contract.ts';
import { Code, Type } from '../message/message.ts';
import { allowanceBytes, bareMessage, encodeAnswer, type Framing, isUnwanted } from './answer.ts';
import type { Cut, Cutter } from './cutter.ts';
import { EchoSeals } from './echo.ts';
import type { Patience } from './exchanges.ts';
import { Observations } from './observations.ts';
import { type EndpointParts, faulted, guarded } from './parts.ts';
import type { PeerState } from './peer-state.ts';
import type { Pending } from './pending.ts';
import { Proofs } from './proof.ts';
import type { ServerRequest } from './server-request.ts';

/** What block-wise options take when a body is cut smaller, with some room. */
const BLOCK_OPTIONS_BYTES = 20;

/** From a response to its datagrams: cut, within what an unproven address may be sent, with or after the acknowledgement,
 *  as the beginning of an observation or not. */
export class Answering {
  readonly observations: Observations;
  readonly proofs: Proofs;
  readonly #parts: EndpointParts;
  readonly #cutter: Cutter;
  readonly #echo = new EchoSeals();

  constructor(parts: EndpointParts, cutter: Cutter) {
    this.#parts = parts;
    this.#cutter = cutter;
    this.proofs = new Proofs(parts.exchanges, parts.counts, parts.options);
    this.observations = new Observations(parts, cutter, this.proofs);
  }

  /** Who shows an Echo option that we made for its address is there. */
  recognise({ echo, peer }: ServerRequest): void {
    if (!peer.verified && echo !== null && this.#echo.isGood(echo, peer, this.#parts.options.now()))
      peer.verified = true;
  }

  /** @param etag of a body that was cut before  @throws never: a response that cannot be sent gives back what it held */
  give(pending: Pending, response: CoapResponse, etag: Buffer | null): void {
    if (pending.answered) return;
    pending.answered = true;
    try {
      this.#give(pending, response, etag);
    } catch (error) {
      this.#release(pending);
      this.#parts.dedup.settle(pending.number, pending, null);
      faulted(this.#parts, error);
    }
  }

  #give(pending: Pending, response: CoapResponse, etag: Buffer | null): void {
    const { request, state } = pending;
    const observes =
      request.observe === 0 &&
      response.onObserve !== undefined &&
      response.code >> 5 === 2 &&
      this.observations.hasRoom(state, request.token.toString('latin1'));
    // Who is refused what it observes with that token does not observe any more.
    if (request.observe === 0 && !observes) this.observations.cancel(state, request.token);
    const cut = this.#cutter.cut(state, request, response, request.block2Number, etag);
    if (state.peer.verified) {
      this.#send(pending, cut, observes, null);
      return;
    }
    const sizeMax = allowanceBytes(request.datagram.length);
    if (!observes && this.#encode(pending, cut, Type.Ack, 0, -1, null, false).length <= sizeMax) {
      this.#send(pending, cut, false, null);
      return;
    }
    this.#prove(pending, cut, observes, sizeMax);
  }

  /** It would be large, or go on and on, and may be meant for someone who did not ask. */
  #prove(pending: Pending, cut: Cut, observes: boolean, sizeMax: number): void {
    const { options, counts, wheel } = this.#parts;
    const { request, state } = pending;
    const { peer } = state;
    if (options.proof === 'echo') {
      counts.rejected.unproven++;
      const echo: Cut = {
        ...cut,
        response: { code: Code.Unauthorized },
        start: 0,
        end: 0,
        block2: -1,
        size2: -1,
        etag: null,
      };
      this.#send(pending, echo, false, this.#echo.make(peer, options.now()));
      return;
    }
    // Its handler has done its work: who claims many addresses does not take the places of those at work.
    this.#uncount(pending);
    if (request.confirmable && pending.dueTick < 0 && !pending.acknowledged) wheel.add(pending, options.piggybackMs);
    const bytes = cut.end - cut.start;
    this.proofs.ask(state, bytes, (answers) => {
      if (answers || peer.verified) {
        this.#send(pending, cut, observes, null);
        return;
      }
      const echo = this.#echo.make(peer, options.now());
      this.#send(pending, this.#fit(pending, cut, sizeMax, echo), observes, echo);
    });
  }

  /** The largest blocks that stay within the bound.  @param whole as it would go to anyone else */
  #fit(pending: Pending, whole: Cut, sizeMax: number, echo: Buffer): Cut {
    const { request, state } = pending;
    const room = sizeMax - this.#encode(pending, { ...whole, end: whole.start }, Type.Ack, 0, 0, echo, false).length;
    if (whole.end - whole.start <= room) return whole;
    const blockBytes = Math.max(16, room - (whole.block2 < 0 ? BLOCK_OPTIONS_BYTES : 8));
    const szx = Math.min(6, Math.floor(Math.log2(blockBytes)) - 4);
    return this.#cutter.cut(state, request, whole.response, request.block2Number, whole.etag, szx);
  }

  #send(pending: Pending, cut: Cut, observes: boolean, echo: Buffer | null): void {
    const { dedup, exchanges } = this.#parts;
    const { request, state } = pending;
    const { peer } = state;
    this.#release(pending);
    if (request.noResponse !== 0 && isUnwanted(request.noResponse, cut.response.code)) {
      const bare = request.confirmable ? bareMessage(Type.Ack, request.messageId) : null;
      dedup.settle(pending.number, pending, bare);
      if (bare !== null && !pending.acknowledged) peer.send(bare);
      return;
    }
    // Others may have taken the room while the address was asked.
    const begins = observes && this.observations.hasRoom(state, request.token.toString('latin1'));
    const observation = begins ? this.observations.begin(state, request) : null;
    const observe = observation?.sequence ?? -1;
    if (request.confirmable && !pending.acknowledged) {
      const datagram = this.#encode(pending, cut, Type.Ack, request.messageId, observe, echo, false);
      dedup.settle(pending.number, pending, datagram);
      peer.send(datagram);
    } else if (request.confirmable) {
      dedup.settle(pending.number, pending, bareMessage(Type.Ack, request.messageId));
      const messageId = state.nextMessageId();
      const datagram = this.#encode(pending, cut, Type.Con, messageId, observe, echo, true);
      const listener = observation === null ? null : this.observations.awaitAnswer(observation);
      const exchange = exchanges.send(state, messageId, datagram, listener, this.#patience(pending, datagram.length));
      if (observation?.owes) observation.exchange = exchange;
    } else {
      dedup.settle(pending.number, pending, null);
      const messageId = state.nextMessageId();
      observation?.sent(messageId);
      peer.send(this.#encode(pending, cut, Type.Non, messageId, observe, echo, false));
    }
    if (observation?.open) guarded(this.#parts, () => cut.response.onObserve?.(observation));
  }

  #encode(
    pending: Pending,
    cut: Cut,
    type: number,
    messageId: number,
    observe: number,
    echo: Buffer | null,
    own: boolean,
  ): Buffer {
    const { token } = pending.request;
    const { start, end, block2, size2, etag } = cut;
    const framing: Framing = {
      type,
      messageId,
      token,
      observe,
      block1: pending.block1,
      block2,
      size2,
      etag,
      echo,
      start,
      end,
    };
    return encodeAnswer(cut.response, framing, own);
  }

  /** Who may not have asked hears no more by repetition than it would at once. */
  #patience({ request, state }: Pending, answerSize: number): Patience | undefined {
    if (state.peer.verified || state.proof?.stage === 'answers') return undefined;
    const times = Math.floor(allowanceBytes(request.datagram.length) / answerSize);
    return { retransmitMax: Math.max(0, Math.min(this.#parts.options.maxRetransmit, times - 1)) };
  }

  /** The answer to a request that came again. To an address that is not proven it may be a large one, too. */
  repeat(state: PeerState, requestBytes: number, answer: Buffer): void {
    const small = answer.length <= allowanceBytes(requestBytes);
    if (small || state.peer.verified || this.proofs.spends(state, answer.length)) state.peer.send(answer);
  }

  #release(pending: Pending): void {
    this.#parts.wheel.cancel(pending);
    this.#uncount(pending);
  }

  #uncount(pending: Pending): void {
    if (!pending.counted) return;
    pending.counted = false;
    this.#parts.counts.underWay--;
    pending.state.underWay--;
  }
}
