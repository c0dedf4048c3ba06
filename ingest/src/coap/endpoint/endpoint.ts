// hot
import type { Answered, CoapEndpoint, CoapHandler, OutgoingRequest, Peer } from '../contract.ts';
import { CoapError } from '../error.ts';
import { type CoapMessage, scannedMessage, Type } from '../message/message.ts';
import { isCritical, Option } from '../message/option.ts';
import { MessageScanner } from '../message/scan.ts';
import { bareMessage } from './answer.ts';
import { Caller } from './caller.ts';
import { Dedup } from './dedup.ts';
import { Exchanges } from './exchanges.ts';
import { ENDPOINT_DEFAULTS, EndpointCounts, type EndpointOptions } from './options.ts';
import { type EndpointParts, guarded } from './parts.ts';
import { type PeerState, PeerStates } from './peer-state.ts';
import { Pending } from './pending.ts';
import { Responder } from './responder.ts';
import { ServerRequest } from './server-request.ts';
import { TimerWheel } from './timer-wheel.ts';

export { EndpointCounts, type EndpointOptions, REJECTIONS, type Rejection } from './options.ts';

export interface Endpoint extends CoapEndpoint {
  readonly counts: EndpointCounts;
}

/** The message layer over any datagrams: requests are deduplicated and answered with or after their acknowledgement,
 *  bodies joined from blocks and cut into them, observers notified, peers asked.
 *  @source RFC 7252, 7641, 7959, 7967, 8132, 9175 */
export const createEndpoint = (handler: CoapHandler, options: Partial<EndpointOptions> = {}): Endpoint =>
  new MessageLayer(handler, { ...ENDPOINT_DEFAULTS, ...options });

class MessageLayer implements Endpoint {
  readonly counts = new EndpointCounts();
  readonly #parts: EndpointParts;
  readonly #responder: Responder;
  readonly #caller: Caller;
  readonly #scanner = new MessageScanner();
  #closed = false;

  constructor(handler: CoapHandler, options: EndpointOptions) {
    const { counts } = this;
    const wheel = new TimerWheel(options.now);
    const states = new PeerStates();
    const exchanges = new Exchanges(wheel, states, counts, options);
    const dedup = new Dedup(options.dedupEntries, options.dedupBytes, options.exchangeLifetimeMs);
    this.#parts = { options, counts, wheel, states, exchanges, dedup };
    this.#responder = new Responder(handler, this.#parts);
    this.#caller = new Caller(this.#parts);
  }

  receive(datagram: Buffer, peer: Peer): void {
    if (this.#closed) return;
    guarded(this.#parts, () => this.#take(datagram, peer));
  }

  #take(datagram: Buffer, peer: Peer): void {
    const scanner = this.#scanner;
    if (!scanner.scan(datagram)) {
      this.counts.malformed++;
      this.#parts.options.onMalformed?.(peer);
      // What looks like a confirmable message is rejected, lest it comes again and again.
      if (scanner.type === Type.Con) peer.send(bareMessage(Type.Rst, scanner.messageId));
      return;
    }
    const { type, code, messageId } = scanner;
    const codeClass = code >> 5;
    if (type === Type.Ack || type === Type.Rst) {
      // An RST is empty, an acknowledgement too unless it carries a response. Anything else means nothing.
      if (code === 0 || (type === Type.Ack && codeClass >= 2 && codeClass <= 5)) this.#takeReply(datagram, peer);
    } else if (code !== 0 && codeClass === 0) {
      this.#takeRequest(datagram, peer);
    } else if (codeClass >= 2 && codeClass <= 5) {
      this.#takeResponse(datagram, peer);
    } else if (type === Type.Con) {
      // A ping, or a class that nobody has given a meaning.
      if (code === 0) this.counts.pings++;
      peer.send(bareMessage(Type.Rst, messageId));
    }
  }

  #takeRequest(datagram: Buffer, peer: Peer): void {
    const { dedup, options, states } = this.#parts;
    const { messageId, tokenSize } = this.#scanner;
    const state = states.of(peer);
    const nowMs = options.now();
    const known = dedup.find(state.id, messageId, datagram, tokenSize, nowMs);
    if (known !== null) {
      this.counts.duplicates++;
      if (this.#scanner.type !== Type.Con) return;
      if (known.kind === 'working') {
        // The acknowledgement was lost, or is due anyway.
        this.#responder.acknowledge(known.owner as Pending);
      } else if (known.kind === 'answered') {
        this.#responder.answering.repeat(state, datagram.length, known.datagram);
      }
      return;
    }
    this.counts.requests++;
    const request = new ServerRequest(this.#scanner, datagram, peer);
    const pending = new Pending(this.#responder, state, request);
    pending.number = dedup.add(state.id, messageId, datagram, tokenSize, nowMs, pending);
    this.#responder.take(pending);
  }

  #takeReply(datagram: Buffer, peer: Peer): void {
    const { exchanges, states } = this.#parts;
    const { type, code, messageId } = this.#scanner;
    const state = states.known(peer);
    if (type === Type.Rst) {
      this.counts.resets++;
      const { observations, proofs } = this.#responder.answering;
      if (state === undefined || proofs.isGuessing(state) || exchanges.reset(state, messageId)) return;
      if (!observations.reset(state, messageId)) proofs.stray(state, messageId, true);
      return;
    }
    if (state === undefined) return;
    const response = code >> 5 >= 2 ? scannedMessage(this.#scanner, datagram) : null;
    // Only who got our message knows its number.
    if (!exchanges.acknowledge(state, messageId)) {
      this.#responder.answering.proofs.stray(state, messageId, false);
      return;
    }
    this.#responder.answering.proofs.acknowledged(state);
    if (response === null) return;
    if (understood(response)) this.#caller.take(state, response);
    else this.#caller.reject(state, response);
  }

  #takeResponse(datagram: Buffer, peer: Peer): void {
    const { dedup, options, states } = this.#parts;
    const { type, messageId, tokenSize } = this.#scanner;
    const state = states.known(peer);
    if (state === undefined) {
      if (type === Type.Con) peer.send(bareMessage(Type.Rst, messageId));
      return;
    }
    const nowMs = options.now();
    const known = dedup.find(state.id, messageId, datagram, tokenSize, nowMs);
    if (known !== null) {
      this.counts.duplicates++;
      if (known.kind === 'answered') peer.send(known.datagram);
      return;
    }
    const message = scannedMessage(this.#scanner, datagram);
    const waited = state.calls.has(message.token.toString('latin1')) && understood(message);
    const reply = waited
      ? type === Type.Con
        ? bareMessage(Type.Ack, messageId)
        : null
      : bareMessage(Type.Rst, messageId);
    // A stranger's messages are not worth remembering.
    if (waited) dedup.settle(dedup.add(state.id, messageId, datagram, tokenSize, nowMs, null), null, reply);
    if (reply !== null) peer.send(reply);
    if (!waited) return;
    peer.verified = true;
    this.#caller.take(state, message);
  }

  request(peer: Peer, request: OutgoingRequest): Promise<Answered> {
    if (this.#closed) return Promise.reject(new CoapError('COAP_CLOSED', 'later', { path: request.path }));
    return this.#caller.request(peer, request);
  }

  forget(peer: Peer): void {
    const state = this.#parts.states.known(peer);
    if (state !== undefined) this.#end(state);
  }

  #end(state: PeerState): void {
    this.#responder.answering.observations.closeAll(state);
    this.#caller.closeAll(state);
    this.#parts.exchanges.close(state);
  }

  async drain(deadlineMs: number): Promise<void> {
    this.#responder.draining = true;
    const end = performance.now() + deadlineMs;
    while (this.counts.underWay > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#caller.closed = true;
    for (const state of this.#parts.states.busy()) this.#end(state);
    this.#parts.wheel.close();
  }
}

const RESPONSE_CRITICAL: ReadonlySet<number> = new Set([Option.Block1, Option.Block2]);

/** Whether no option of a response has to be understood that we don't.  @source RFC 7252 §5.4.1 */
const understood = ({ options }: CoapMessage): boolean =>
  options.every(([number]) => !isCritical(number) || RESPONSE_CRITICAL.has(number));
