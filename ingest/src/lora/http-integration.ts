import type { Gate, Logger, NetworkServer } from '@millrace/core';
import { credentialOf, isUuid, type LoraKind, MillraceError, Protocol } from '@millrace/core';
import { jsonAnswer } from '../http/answer.ts';
import type { Exchange } from '../http/exchange.ts';
import type { NativeHandler } from '../http/native.ts';
import { FORBIDDEN, refuseForNow, UNAUTHENTICATED } from '../http/refusals.ts';
import { Client } from '../live/client.ts';
import type { Taken } from './event-source.ts';
import { chirpStackKind, type EventFormat, readEvent } from './events/read-event.ts';
import type { Intake } from './intake.ts';
import type { LoraMeasures } from './measures.ts';

export interface HttpIntegrationOptions {
  readonly gate: Gate;
  readonly intake: Intake;
  readonly measures: LoraMeasures;
  readonly logger: Logger;
  readonly eventsMax: number;
  readonly eventBytesMax: number;
  /** Network servers by id. */
  readonly servers: { get(id: string): NetworkServer | undefined };
}

/** Of the events under way one organisation may have so large a part: its slow codecs, or its flood, leave room. */
const ORG_SHARE = 0.5;
const PATH = /^\/lora\/(chirpstack|tts)(\/[^?]*)?$/;
const IN_FLIGHT = 'Too many events are under way: try again later.';
const NO_BRIDGE = 'Events of other devices are told by users, API keys, and things of type app or gateway.';
const REGISTRY_AWAY = 'The registry does not answer: try again later.';

/** Events that network servers send by HTTP: `POST /lora/chirpstack?event=up`, `POST /lora/tts[/…]`.
 *  @holds answered once the event is durable; at most `eventsMax` are under way, of one organisation at most half of them,
 *         further ones are refused (shed) */
export class HttpIntegration implements NativeHandler {
  readonly #options: HttpIntegrationOptions;
  #underWay = 0;
  readonly #ofOrgs = new Map<string, number>();

  constructor(options: HttpIntegrationOptions) {
    this.#options = options;
  }

  request(exchange: Exchange): boolean {
    const { head } = exchange;
    const [matched, server, rest = ''] = PATH.exec(head.path) ?? [];
    if (matched === undefined || (server === 'chirpstack' && rest !== '' && rest !== '/')) return false;
    if (head.method === 'OPTIONS') return false;
    if (head.method !== 'POST') {
      exchange.refuse(405, 'method', 'Events are sent by POST.');
      return true;
    }
    if (this.#underWay >= this.#options.eventsMax) {
      exchange.refuse(503, 'in_flight', IN_FLIGHT);
      return true;
    }
    this.#underWay++;
    this.#take(exchange, server === 'tts')
      .catch((error: unknown) => {
        if (error instanceof MillraceError && error.retry !== 'never') {
          this.#options.logger.warn({ code: error.code }, 'lora: the registry cannot be asked');
          refuseForNow(exchange, error, REGISTRY_AWAY);
        } else {
          exchange.connection.host.onFault(error);
          exchange.refuse(500, 'fault', 'A fault on our side.');
        }
      })
      .finally(() => {
        this.#underWay--;
      });
    return true;
  }

  upgrade(): boolean {
    return false;
  }

  async drain(deadlineMs: number): Promise<void> {
    const end = performance.now() + deadlineMs;
    while (this.#underWay > 0 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  async #take(exchange: Exchange, isThingsStack: boolean): Promise<void> {
    const { gate, intake, measures, eventBytesMax, eventsMax } = this.#options;
    const { head, connection, body } = exchange;
    const query = new URLSearchParams(head.query);
    const authorization = head.header('authorization');
    const credential = authorization === undefined ? null : credentialOf(authorization);
    if (credential === null) {
      exchange.refuse(401, 'unauthenticated', UNAUTHENTICATED);
      return;
    }
    if (body.length === 0) {
      exchange.refuse(400, 'bad_body', 'The event is empty.');
      return;
    }
    if (body.length > eventBytesMax) {
      exchange.refuse(413, 'too_large', `An event has at most ${eventBytesMax} bytes.`);
      return;
    }
    const name = query.get('event') ?? '';
    if (!isThingsStack && !/^[a-z]{1,32}$/.test(name)) {
      exchange.refuse(400, 'malformed', 'Say which event it is: ?event=up.');
      return;
    }
    const { remoteAddress, tls, mutualTls } = connection.context;
    const peer = { remoteAddress, tls, mutualTls };
    const caller = await Client.identify(gate, credential, Protocol.lora, peer);
    if (caller === 'unknown') {
      exchange.refuse(401, 'unauthenticated', UNAUTHENTICATED);
      return;
    }
    if (caller === 'disabled') {
      exchange.refuse(403, 'forbidden', FORBIDDEN.subject_disabled);
      return;
    }
    if (caller.principal.subject.kind === 'thing' && caller.principal.subject.type === 'device') {
      // It may speak for itself, as a device does: here it could speak for any other.
      exchange.refuse(403, 'forbidden', NO_BRIDGE);
      return;
    }
    const org = orgOf(caller, query.get('org'));
    if (org === null) {
      exchange.refuse(
        400,
        'malformed',
        'Say in which organisation: ?org=<id>; an API key bound to one, or a thing, says it itself.',
      );
      return;
    }
    const server = this.#serverOf(query.get('server'), org);
    if (server === undefined) {
      exchange.refuse(404, 'no_such_channel', 'There is no such network server.');
      return;
    }
    const format = formatOf(head.contentType, body);
    const kind = kindOf(isThingsStack, server, format, body);
    const read = readEvent(kind, format, name, body);
    if (read.kind === 'bad') {
      // Nothing says which channel it would be for, so nobody could judge whether its sender may.
      measures.event('http', 'unknown', 'refused');
      exchange.refuse(400, 'bad_body', ascii(read.detail));
      return;
    }
    const contentType = format === 'json' ? 'application/json' : 'application/octet-stream';
    const source = { org, server, caller, peer, contentType, patience: null };
    const ofOrg = this.#ofOrgs.get(org) ?? 0;
    if (ofOrg >= Math.ceil(eventsMax * ORG_SHARE)) {
      exchange.refuse(503, 'in_flight', IN_FLIGHT);
      return;
    }
    this.#ofOrgs.set(org, ofOrg + 1);
    const taken = await intake
      .take(source, read, body, { applicationId: '', otherwise: server?.id ?? org })
      .finally(() => this.#leave(org));
    measures.event('http', read.event.type, taken.kind);
    answer(exchange, taken);
  }

  #leave(org: string): void {
    const left = (this.#ofOrgs.get(org) ?? 1) - 1;
    if (left === 0) this.#ofOrgs.delete(org);
    else this.#ofOrgs.set(org, left);
  }

  /** null: none is named; undefined: there is none. */
  #serverOf(id: string | null, org: string): NetworkServer | null | undefined {
    if (id === null) return null;
    const server = this.#options.servers.get(id);
    return server?.org === org ? server : undefined;
  }
}

/** The organisation that a caller speaks for; null: it does not say. */
function orgOf({ principal }: Client, named: string | null): string | null {
  const { subject, scope } = principal;
  const own = subject.kind === 'thing' ? subject.org : (scope?.org ?? null);
  if (named === null) return own;
  return isUuid(named) && (own === null || own === named) ? named : null;
}

function formatOf(contentType: string, body: Uint8Array): EventFormat {
  if (/json/i.test(contentType)) return 'json';
  if (/protobuf|octet-stream/i.test(contentType)) return 'protobuf';
  return body[0] === 0x7b ? 'json' : 'protobuf';
}

function kindOf(isThingsStack: boolean, server: NetworkServer | null, format: EventFormat, body: Uint8Array): LoraKind {
  if (isThingsStack) return 'tts-v3';
  if (server !== null && server.kind !== 'tts-v3') return server.kind;
  return chirpStackKind(format, body);
}

function answer(exchange: Exchange, taken: Taken): void {
  if (taken.kind === 'refused') {
    const { status, reason, detail } = taken.refusal;
    exchange.refuse(status, reason, ascii(detail));
    return;
  }
  const body =
    taken.kind === 'dead'
      ? { id: taken.id, dead_letter: taken.reason, detail: taken.detail }
      : { id: taken.id, ...(taken.kind === 'repeated' ? { repeated: true } : {}) };
  exchange.answer(jsonAnswer(202, asciiJson(body), exchange.lines));
}

const ascii = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '?');
const asciiJson = (value: unknown): string =>
  JSON.stringify(value).replaceAll(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
