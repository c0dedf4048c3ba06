import {
  type Admission,
  type AuditTrail,
  EVERY_SUBTOPIC,
  type Gate,
  type MessageOrigin,
  MillraceError,
  type Presence,
  Protocol,
  type ReadingsStore,
} from '@millrace/core';
import { filterFault, hasWildcard } from '../../live/path.ts';
import type { Allowed } from '../../message-encoder.ts';
import { auditRefusal } from '../../refused-access.ts';
import { answerToFailure, diagnosis, disabled, unauthenticated } from '../answers.ts';
import { CoapClient, shownCredential } from '../client.ts';
import { acceptable, formatOf } from '../content-format.ts';
import type { CoapRequest, CoapResponse } from '../contract.ts';
import { Code, Format, Option, uintBytes } from '../message/message.ts';
import { contentOf, deniedRead, maxAgeOf, type Observing } from '../observing.ts';
import { filterOf, type MessagesPath } from '../path.ts';
import type { LastMessage, LastMessages } from './last-messages.ts';
import { readingsQuery, readQuery } from './query.ts';
import { senmlCbor, senmlJson } from './senml.ts';
import type { Turns } from './turns.ts';

export interface ReaderOptions {
  readonly gate: Gate;
  readonly store: ReadingsStore;
  readonly turns: Turns;
  readonly lastMessages: LastMessages;
  readonly observing: Observing;
  /** @units s */
  readonly maxAge: number;
  readonly audit?: AuditTrail | undefined;
  readonly presence?: Presence | undefined;
}

/** A query has a dozen members; CBOR of some size can hold numbers that take minutes to read. */
const QUERY_BYTES_MAX = 4_096;
const TOO_LARGE: CoapResponse = {
  ...diagnosis(Code.RequestEntityTooLarge, `A query has at most ${QUERY_BYTES_MAX} bytes.`),
  options: [[Option.Size1, uintBytes(QUERY_BYTES_MAX)]],
};
const NOT_ACCEPTABLE = 'What is here has another Content-Format.';

/** `GET` and `FETCH` of messages: the last one, all that come (Observe), and queries. */
export class Reader {
  readonly #options: ReaderOptions;

  constructor(options: ReaderOptions) {
    this.#options = options;
  }

  /** The last message of exactly this channel and subtopic; with Observe also those that come, where the subtopic may be a
   *  filter. */
  get(request: CoapRequest, path: MessagesPath): Promise<CoapResponse> {
    return answered(async () => {
      const observes = request.observe === 0;
      const subtopic = observes ? filterOf(path.subtopic) : path.subtopic;
      const fault = filterFault(subtopic);
      if (fault !== null) return diagnosis(Code.BadRequest, fault);
      const wild = hasWildcard(subtopic);
      if (wild && !observes) {
        return diagnosis(Code.BadRequest, 'There is no one message of many subtopics: observe them.');
      }
      const client = await this.#client(request);
      if (!(client instanceof CoapClient)) return client;
      const allowed = await this.#channel(client, path, subtopic);
      if ('code' in allowed) return allowed;
      const { org, id: channel } = allowed;
      const { observing } = this.#options;
      const who = client.principal.subject.id;
      const { message, follows } = wild
        ? await this.#fromNow(channel)
        : await this.#last({ org, channel, subtopic }, who, observes);
      if (!observes && message === null) return diagnosis(Code.NotFound, 'No message was published here yet.');
      const first = this.#first(request, message);
      if (!observes || first.code >> 5 !== 2 || !observing.hasRoom(client)) return first;
      return {
        ...first,
        onObserve: (observer) => observing.begin(observer, client, { channel, subtopic }, follows),
      };
    });
  }

  /** Readings, as a SenML pack.  @source RFC 8132 §2 */
  fetch(request: CoapRequest, path: MessagesPath): Promise<CoapResponse> {
    return answered(async () => {
      const { accept, payload, format } = request;
      if (accept !== null && accept !== Format.SenmlJson && accept !== Format.SenmlCbor) {
        return diagnosis(Code.NotAcceptable, 'Readings are given as 110 (SenML JSON) or 112 (SenML CBOR).');
      }
      if (payload.length > QUERY_BYTES_MAX) return TOO_LARGE;
      // Nothing of a stranger's is taken apart.
      const client = await this.#client(request);
      if (!(client instanceof CoapClient)) return client;
      const read = readQuery(payload, format);
      if (read.kind === 'format') {
        return diagnosis(Code.UnsupportedContentFormat, 'A query is 50 (JSON) or 60 (CBOR).');
      }
      if (read.kind === 'malformed') return diagnosis(Code.BadRequest, 'The query is not well-formed.');
      if (read.kind === 'unprocessable') return diagnosis(Code.UnprocessableEntity, read.detail);
      // The path's wins: it is what the right to read is judged by.
      const subtopic = path.subtopic === '' ? read.query.subtopic : path.subtopic;
      const channel = await this.#channel(client, path, subtopic ?? EVERY_SUBTOPIC);
      if ('code' in channel) return channel;
      const { org, id } = channel;
      const { store, turns } = this.#options;
      const asked = readingsQuery(read.query, org, id, subtopic);
      const { readings } = await turns.take(client.principal.subject.id, () => store.readings(asked));
      return accept === Format.SenmlCbor
        ? { code: Code.Content, format: Format.SenmlCbor, payload: senmlCbor(readings) }
        : { code: Code.Content, format: Format.SenmlJson, payload: senmlJson(readings) };
    });
  }

  /** Who observes wants what comes: where the last message can't be told now, they begin without it. */
  async #last(of: MessageOrigin, who: string, observes: boolean): Promise<LastMessage> {
    try {
      return await this.#options.lastMessages.last(of, who);
    } catch (error) {
      if (!observes || !(error instanceof MillraceError) || error.retry === 'never') throw error;
      return this.#fromNow(of.channel);
    }
  }

  async #fromNow(channel: string): Promise<LastMessage> {
    return { message: null, follows: await this.#options.lastMessages.end(channel) };
  }

  #first(request: CoapRequest, message: Parameters<typeof contentOf>[0] | null): CoapResponse {
    const { maxAge } = this.#options;
    // There is nothing yet, but there may be: an empty answer lets the observation begin.
    if (message === null) return { code: Code.Content, maxAge: 0 };
    const { contentType, payload, etag } = message;
    if (!acceptable(request.accept, formatOf(contentType, payload), contentType)) {
      return diagnosis(Code.NotAcceptable, NOT_ACCEPTABLE);
    }
    if (request.etags.some((known) => known.equals(etag))) {
      return { code: Code.Valid, etag, maxAge: maxAgeOf(maxAge) };
    }
    return contentOf(message, maxAge);
  }

  /** Who asks, or what they are told who are nobody. */
  async #client(request: CoapRequest): Promise<CoapClient | CoapResponse> {
    const { gate, presence } = this.#options;
    const credential = shownCredential(request);
    if (credential === null) return unauthenticated.response;
    const client = await CoapClient.identify(gate, credential, request.peer);
    if (!(client instanceof CoapClient)) return (client === 'unknown' ? unauthenticated : disabled).response;
    const { subject } = client.principal;
    const { remoteAddress, nowMs } = client.context;
    if (subject.kind === 'thing') presence?.seen(subject.id, subject.org, Protocol.coap, remoteAddress, nowMs);
    return client;
  }

  /** The channel, if the client may read there. */
  async #channel(
    { principal, context }: CoapClient,
    path: MessagesPath,
    subtopic: string,
  ): Promise<Allowed['channel'] | CoapResponse> {
    const { gate, audit } = this.#options;
    const admission = await gate.may(principal, 'subscribe', path.channel, subtopic, context);
    const reason = denialOf(admission, path);
    if (reason === null) return (admission as Allowed).channel;
    auditRefusal(audit, principal, 'subscribe', { ...path, subtopic }, reason, context);
    return deniedRead(reason);
  }
}

function denialOf(admission: Admission, { org }: MessagesPath) {
  if (admission.kind === 'deny') return admission.reason;
  return org !== null && org !== admission.channel.org ? 'no_such_channel' : null;
}

async function answered(answer: () => Promise<CoapResponse>): Promise<CoapResponse> {
  try {
    return await answer();
  } catch (error) {
    const refusal = answerToFailure(error);
    if (refusal === null || !(error instanceof MillraceError)) throw error;
    return refusal.response;
  }
}
