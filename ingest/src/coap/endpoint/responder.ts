import { networkOf } from '@millrace/core';
import type { CoapHandler, CoapResponse } from '../contract.ts';
import { Code, Method, Option, Type, uintBytes } from '../message/message.ts';
import { bareMessage } from './answer.ts';
import { Answering } from './answering.ts';
import { Cutter, questionOf } from './cutter.ts';
import type { Rejection } from './options.ts';
import { type EndpointParts, faulted } from './parts.ts';
import type { Pending } from './pending.ts';
import { ReceivedBodies } from './received-bodies.ts';
import { SentBodies } from './sent-bodies.ts';
import type { ServerRequest } from './server-request.ts';
import { Sweeper } from './sweeper.ts';

const isRead = ({ method }: ServerRequest): boolean => method === Method.Get || method === Method.Fetch;

/** The answering half: requests in, from the first look at their options to their handler's response. */
export class Responder {
  readonly answering: Answering;
  readonly received: ReceivedBodies;
  readonly sent: SentBodies;
  draining = false;
  readonly #handler: CoapHandler;
  readonly #parts: EndpointParts;
  readonly #sweeper: Sweeper;

  constructor(handler: CoapHandler, parts: EndpointParts) {
    const { options, counts, wheel } = parts;
    this.#handler = handler;
    this.#parts = parts;
    this.received = new ReceivedBodies(options, counts);
    this.sent = new SentBodies(options, counts);
    this.#sweeper = new Sweeper(wheel, options, this.received, this.sent);
    const cutter = new Cutter(this.sent, options.blockSzxMax, options.now, () => this.#sweeper.wake());
    this.answering = new Answering(parts, cutter);
  }

  /** A request that is no repeat. */
  take(pending: Pending): void {
    const { request, state } = pending;
    if (request.refusal !== 0) {
      this.#refuseOptions(pending);
      return;
    }
    const { options, counts } = this.#parts;
    this.answering.recognise(request);
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
      this.answering.observations.cancel(state, request.token);
    if (request.block2Number > 0) {
      // A part of an answer begins no observation.
      request.observe = null;
      const kept = this.sent.find(request.transferKey(state.id), questionOf(request), options.now());
      if (kept !== null) {
        this.answering.give(pending, kept.response, kept.etag);
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
    this.answering.give(pending, response, null);
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
        this.answering.give(pending, { code: Code.Continue }, null);
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
      this.answering.give(pending, this.#fault(error), null);
      return;
    }
    if (!('then' in response)) {
      this.answering.give(pending, response, null);
      return;
    }
    const { piggybackMs, answerTimeoutMs } = this.#parts.options;
    this.#parts.wheel.add(pending, pending.request.confirmable ? piggybackMs : answerTimeoutMs);
    response.then(
      (settled) => this.answering.give(pending, settled, null),
      (error: unknown) => this.answering.give(pending, this.#fault(error), null),
    );
  }

  #fault(error: unknown): CoapResponse {
    faulted(this.#parts, error);
    return { code: Code.InternalServerError };
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
}
