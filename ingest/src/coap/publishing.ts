import { type AuditTrail, type Gate, type Log, type Logger, type Presence, Protocol } from '@millrace/core';
import type { WallClock } from '../clock.ts';
import type { IngestCounts } from '../counts.ts';
import type { PublishTarget } from '../message-encoder.ts';
import {
  Destination,
  EMPTY_MESSAGE,
  MessagePublisher,
  type PublishRefusal,
  type PublishWaiter,
} from '../message-publisher.ts';
import { RateLimit } from '../rate.ts';
import { subtopicFault } from '../subtopic.ts';
import { answerTo, answerToFailure, diagnosis, disabled, unauthenticated } from './answers.ts';
import { CoapClient, shownCredential } from './client.ts';
import type { CoapIngestConfig } from './config.ts';
import { contentTypeOf } from './content-format.ts';
import type { CoapRequest, CoapResponse, PeerIdentity } from './contract.ts';
import { Generations } from './generations.ts';
import { Code, Format } from './message/message.ts';
import type { MessagesPath } from './path.ts';

// hot

export interface PublishingOptions {
  readonly config: CoapIngestConfig;
  readonly log: Log;
  readonly gate: Gate;
  readonly clock: WallClock;
  readonly counts: IngestCounts;
  readonly logger: Logger;
  readonly audit?: AuditTrail | undefined;
  readonly presence?: Presence | undefined;
}

/** What a request's options came down to last time. */
interface KnownPublish {
  /** Who the session was proven to be; null over plain CoAP. */
  readonly identity: PeerIdentity | null;
  readonly client: CoapClient;
  readonly destination: Destination;
}

const KNOWN_ENTRIES_MAX = 65_536;
const KNOWN_BYTES_MAX = 32 * 1_048_576;
/** What an entry takes beside its key, about. */
const KNOWN_BYTES = 400;
const DONE: CoapResponse = { code: Code.Changed };
const OVERLOADED = 'Too many messages wait for the log: try again later.';

/** `POST` and `PUT` of a message: 2.04 once it is durable.
 *  On a warm request nothing is parsed, hashed or awaited but the append. */
export class Publishing {
  readonly #options: PublishingOptions;
  readonly #publisher: MessagePublisher;
  readonly #known = new Generations<string, KnownPublish>(
    { entries: KNOWN_ENTRIES_MAX, bytes: KNOWN_BYTES_MAX },
    (key) => key.length + KNOWN_BYTES,
  );

  constructor(options: PublishingOptions) {
    this.#options = options;
    const { config } = options;
    const rate = new RateLimit(config.MILLRACE_COAP_RATE_PER_SECOND, config.MILLRACE_COAP_RATE_BURST);
    this.#publisher = new MessagePublisher({ ...options, protocol: Protocol.coap, rate });
  }

  /** Publishes if the request is one that was understood before. null: read its path */
  publishKnown(request: CoapRequest): CoapResponse | Promise<CoapResponse> | null {
    const known = this.#known.get(keyOf(request));
    if (known === undefined || known.identity !== request.peer.identity) return null;
    if (known.client.context.remoteAddress !== request.peer.address) return null;
    return this.#admit(request, known.client, known.destination);
  }

  publish(request: CoapRequest, path: MessagesPath): CoapResponse | Promise<CoapResponse> {
    const { format } = request;
    const named = path.senml && (format === null || format === Format.Json) ? Format.SenmlJson : format;
    const contentType = contentTypeOf(named);
    if (contentType === null) {
      return this.#refuse('encoding', diagnosis(Code.UnsupportedContentFormat, 'This Content-Format is not known.'));
    }
    const fault = subtopicFault(path.subtopic);
    if (fault !== null) return this.#refuse('bad_subtopic', diagnosis(Code.BadRequest, fault));
    const credential = shownCredential(request);
    if (credential === null) return this.#refuse(unauthenticated.reason, unauthenticated.response);
    const destination = new Destination(path.org, path.channel, path.subtopic, contentType);
    const go = (known: Awaited<ReturnType<typeof CoapClient.identify>>): CoapResponse | Promise<CoapResponse> => {
      if (!(known instanceof CoapClient)) {
        const { reason, response } = known === 'unknown' ? unauthenticated : disabled;
        return this.#refuse(reason, response);
      }
      this.#known.set(keyOf(request), { identity: request.peer.identity, client: known, destination });
      return this.#admit(request, known, destination);
    };
    const known = CoapClient.identify(this.#options.gate, credential, request.peer);
    return known instanceof Promise ? known.then(go).catch((error: unknown) => this.#failed(error)) : go(known);
  }

  #admit(request: CoapRequest, client: CoapClient, destination: Destination): CoapResponse | Promise<CoapResponse> {
    const { presence } = this.#options;
    const { subject } = client.principal;
    if (presence !== undefined && subject.kind === 'thing') {
      presence.seen(subject.id, subject.org, Protocol.coap, client.context.remoteAddress, client.context.nowMs);
    }
    const decided = this.#publisher.decide(client, destination);
    if (!(decided instanceof Promise)) return this.#append(request, client, destination, decided);
    return decided.then((target) => this.#append(request, client, destination, target));
  }

  #append(
    request: CoapRequest,
    client: CoapClient,
    destination: Destination,
    decided: PublishTarget | PublishRefusal,
  ): CoapResponse | Promise<CoapResponse> {
    const { payload } = request;
    const refusal = 'kind' in decided ? decided : this.#refusalOf(payload.length, client, decided);
    if (refusal !== null) {
      this.#publisher.count(refusal, client, destination);
      // Whoever was known may be known no more: the next request is judged from the beginning.
      if (refusal.status === 401) this.#known.delete(keyOf(request));
      const bytesMax = this.#options.config.MILLRACE_COAP_PAYLOAD_BYTES_MAX;
      return answerTo(refusal, Math.min(bytesMax, limitOf(decided)));
    }
    return new Promise((resolve) => {
      const waiter = new Waiter(resolve, request.accept === Format.Json);
      this.#publisher.publish(decided as PublishTarget, payload, waiter);
    });
  }

  /** Why a message that its sender may publish is not taken now. */
  #refusalOf(size: number, client: CoapClient, target: PublishTarget): PublishRefusal | null {
    const { config, counts } = this.#options;
    if (size === 0) return EMPTY_MESSAGE;
    if (size > config.MILLRACE_COAP_PAYLOAD_BYTES_MAX) {
      const detail = `A message has at most ${config.MILLRACE_COAP_PAYLOAD_BYTES_MAX} bytes.`;
      return { kind: 'refused', status: 413, reason: 'too_large', detail };
    }
    const limited = this.#publisher.limited(client, target, size);
    if (limited !== null) return limited;
    if (counts.inFlightBytes > 0 && counts.inFlightBytes + size > config.MILLRACE_COAP_IN_FLIGHT_BYTES_MAX) {
      return { kind: 'refused', status: 503, reason: 'in_flight', detail: OVERLOADED };
    }
    return this.#publisher.fullness(size);
  }

  #refuse(reason: PublishRefusal['reason'], response: CoapResponse): CoapResponse {
    this.#options.counts.refused(reason);
    return response;
  }

  #failed(error: unknown): CoapResponse {
    const refusal = answerToFailure(error);
    if (refusal !== null) return this.#refuse(refusal.reason, refusal.response);
    this.#options.counts.refused('fault');
    throw error;
  }
}

/** A session has its own identity: what it sends means what it means by whom it comes from. */
const keyOf = ({ peer, resourceKey }: CoapRequest): string =>
  peer.identity === null ? resourceKey : `${peer.key}\n${resourceKey}`;

const limitOf = (decided: PublishTarget | PublishRefusal): number =>
  'kind' in decided ? Number.POSITIVE_INFINITY : (decided.limit?.payloadBytesMax ?? Number.POSITIVE_INFINITY);

/** Answers once the message is durable. */
class Waiter implements PublishWaiter {
  readonly #resolve: (response: CoapResponse) => void;
  readonly #tellId: boolean;

  constructor(resolve: (response: CoapResponse) => void, tellId: boolean) {
    this.#resolve = resolve;
    this.#tellId = tellId;
  }

  stored(id: string): void {
    const payload = this.#tellId ? Buffer.from(`{"id":"${id}"}`) : null;
    this.#resolve(payload === null ? DONE : { code: Code.Changed, format: Format.Json, payload });
  }

  refused(refusal: PublishRefusal): void {
    this.#resolve(answerTo(refusal, Number.POSITIVE_INFINITY));
  }
}
