import { networkOf } from '@millrace/core';
import type { CoapHandler, CoapResponse } from '../contract.ts';
import { Code, Method, Option, Type, uintBytes } from '../message/message.ts';
import { allowanceBytes, bareMessage, encodeAnswer, type Framing, isUnwanted } from './answer.ts';
import { type Cut, Cutter, questionOf } from './cutter.ts';
import { EchoSeals } from './echo.ts';
import type { Patience } from './exchanges.ts';
import { Observations } from './observations.ts';
import type { Rejection } from './options.ts';
import { type EndpointParts, guarded } from './parts.ts';
import type { PeerState } from './peer-state.ts';
import type { Pending } from './pending.ts';
import { Proofs } from './proof.ts';
import { ReceivedBodies } from './received-bodies.ts';
import { SentBodies } from './sent-bodies.ts';
import type { ServerRequest } from './server-request.ts';
import { Sweeper } from './sweeper.ts';

/** What block-wise options take when a body is cut smaller, with some room. */
const BLOCK_OPTIONS_BYTES = 20;
const isRead = ({ method }: ServerRequest): boolean => method === Method.Get || method === Method.Fetch;

/** The answering half: requests in, from the first look at their options to the answer's datagram. */
export class Responder {
  readonly observations: Observations;
  readonly proofs: Proofs;
  readonly received: ReceivedBodies;
  readonly sent: SentBodies;
  draining = false;
  readonly #handler: CoapHandler;
  readonly #parts: EndpointParts;
  readonly #cutter: Cutter;
  readonly #echo = new EchoSeals();
  readonly #sweeper: Sweeper;

  constructor(handler: CoapHandler, parts: EndpointParts) {
    const { options, counts, wheel, exchanges } = parts;
    this.#handler = handler;
    this.#parts = parts;
    this.received = new ReceivedBodies(options, counts);
    this.sent = new SentBodies(options, counts);
    this.#sweeper = new Sweeper(wheel, options, this.received, this.sent);
    this.#cutter = new Cutter(this.sent, options.blockSzxMax, options.now, () => this.#sweeper.wake());
    this.proofs = new Proofs(exchanges, counts, options);
    this.observations = new Observations(parts, this.#cutter, this.proofs);
  }

  /** A request that is no repeat. */
  take(pending: Pending): void {
    const { request, state } = pending;
    if (request.refusal !== 0) {
      this.#refuseOptions(pending);
      return;
    }
    const { options, counts } = this.#parts;
    const { peer } = state;
    if (!peer.verified && request.echo !== null && this.#echo.isGood(request.echo, peer, options.now()))
      peer.verified = true;
    if (this.draining) {
      this.#refuse(pending, Code.ServiceUnavailable, 'draining');
      return;
    }
    if (counts.underWay >= options.underWayMax) {
      this.#refuse(pending, Code.ServiceUnavailable, 'busy');
      return;
    }
    if (state.underWay >= options.underWayPerPeerMax) {
      this.#refuse(pending, Code.TooManyRequests, 'peer_busy');
      return;
    }
    counts.underWay++;
    state.underWay++;
    pending.counted = true;

    if (request.observe === 1 || (request.observe === null && isRead(request) && request.block2Number === 0))
      this.observations.cancel(state, request.token);
    if (request.block2Number > 0) {
      // A part of an answer begins no observation.
      request.observe = null;
      const kept = this.sent.find(request.transferKey(state.id), questionOf(request), options.now());
      if (kept !== null) {
        this.#answer(pending, kept.response, kept.etag);
        return;
      }
      // Who asks for a part of what is not kept any more may have it made again, if that changes nothing.
      if (!isRead(request)) {
        this.#reject(pending, { code: Code.RequestEntityIncomplete }, 'incomplete');
        return;
      }
    }
    if (request.block1 >= 0 && !this.#takeBlock(pending)) return;
    if (request.payload.length > options.bodyBytesMax) {
      this.#refuseSize(pending);
      return;
    }
    this.#run(pending);
  }

  #refuseOptions(pending: Pending): void {
    const { refusal, refusedOption, confirmable, messageId } = pending.request;
    if (!confirmable && refusal === Code.BadOption) {
      // RFC 7252 §5.4.1: a message that nobody has to confirm is rejected, not answered.
      this.#parts.counts.rejected.bad_option++;
      this.#parts.dedup.settle(pending.number, pending, null);
      pending.state.peer.send(bareMessage(Type.Rst, messageId));
      return;
    }
    const payload = Buffer.from(`option ${refusedOption}`);
    this.#reject(pending, { code: refusal, payload }, refusal === Code.ProxyingNotSupported ? 'proxy' : 'bad_option');
  }

  #refuse(pending: Pending, code: number, why: Rejection): void {
    const { busyMaxAge, drainingMaxAge } = this.#parts.options;
    this.#reject(pending, { code, maxAge: why === 'draining' ? drainingMaxAge : busyMaxAge }, why);
  }

  #refuseSize(pending: Pending): void {
    const size1 = uintBytes(this.#parts.options.bodyBytesMax);
    this.#reject(pending, { code: Code.RequestEntityTooLarge, options: [[Option.Size1, size1]] }, 'too_large');
  }

  #reject(pending: Pending, response: CoapResponse, why: Rejection): void {
    this.#parts.counts.rejected[why]++;
    this.#answer(pending, response, null);
  }

  /** @returns whether the body is whole, and the request's payload now */
  #takeBlock(pending: Pending): boolean {
    const { request, state } = pending;
    const { options } = this.#parts;
    const { block1, size1, payload } = request;
    const result = this.received.take(
      request.transferKey(state.id),
      networkOf(state.peer.address),
      block1,
      size1,
      payload,
      options.now(),
    );
    switch (result.kind) {
      case 'whole':
        pending.block1 = block1;
        request.payload = result.body;
        return true;
      case 'more':
        this.#sweeper.wake();
        pending.block1 = block1;
        this.#answer(pending, { code: Code.Continue }, null);
        return false;
      case 'incomplete':
        pending.block1 = block1;
        this.#reject(pending, { code: Code.RequestEntityIncomplete }, 'incomplete');
        return false;
      case 'too_large':
        this.#refuseSize(pending);
        return false;
    }
  }

  #run(pending: Pending): void {
    let response: CoapResponse | Promise<CoapResponse>;
    try {
      response = this.#handler(pending.request);
    } catch (error) {
      this.#answer(pending, this.#fault(error), null);
      return;
    }
    if (!('then' in response)) {
      this.#answer(pending, response, null);
      return;
    }
    const { piggybackMs, answerTimeoutMs } = this.#parts.options;
    this.#parts.wheel.add(pending, pending.request.confirmable ? piggybackMs : answerTimeoutMs);
    response.then(
      (settled) => this.#answer(pending, settled, null),
      (error: unknown) => this.#answer(pending, this.#fault(error), null),
    );
  }

  #fault(error: unknown): CoapResponse {
    this.#parts.counts.faults++;
    this.#parts.options.onFault?.(error);
    return { code: Code.InternalServerError };
  }

  /** @param etag of a body that was cut before */
  #answer(pending: Pending, response: CoapResponse, etag: Buffer | null): void {
    if (pending.answered) return;
    pending.answered = true;
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

  /** Tells a client whose request is still worked on that it came. */
  acknowledge(pending: Pending): void {
    pending.state.peer.send(bareMessage(Type.Ack, pending.request.messageId));
    // Once: who says it again and again does not make it wait for ever.
    if (pending.acknowledged) return;
    pending.acknowledged = true;
    this.#parts.wheel.add(pending, this.#parts.options.answerTimeoutMs);
  }

  /** Its handler may have been lost: what it holds is given back. */
  giveUp(pending: Pending): void {
    this.#refuse(pending, Code.ServiceUnavailable, 'late');
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
