import { List } from '../collection.ts';
import { everyItem } from '../pages.ts';
import type { BodyOf, Page, QueryOf, Schema } from '../schema.ts';
import { type CallOptions, segment, type Transport } from '../transport.ts';

export type Command = Schema<'Command'>;
export type Lwm2mAccount = Schema<'Lwm2mAccount'>;
export type Lwm2mRegistration = Schema<'Lwm2mRegistration'>;
export type Lwm2mResult = Schema<'Lwm2mResult'>;
/** What can be done with a device of LwM2M. */
export type Lwm2mOperation = 'read' | 'write' | 'execute' | 'observe' | 'cancel' | 'create' | 'delete' | 'discover';
export interface Lwm2mOptions extends CallOptions {
  /** So long is waited for the device, up to 60 s (10). */
  readonly waitSeconds?: number;
}

type CommandQuery = QueryOf<'/things/{id}/commands'>;

/** What somebody wants of a thing, and what became of it. */
export class Commands {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** One page of those of a thing, the newest first. */
  list(thing: string, query: CommandQuery = {}, options: CallOptions = {}): Promise<Page<'commands', Command>> {
    return this.#transport.call('GET', `/things/${segment(thing)}/commands`, { ...options, query });
  }

  /** Every one, page after page. */
  all(thing: string, query: CommandQuery = {}, options: CallOptions = {}): AsyncGenerator<Command, void, undefined> {
    return everyItem(query, 'commands', (each) => this.list(thing, each as CommandQuery, options));
  }

  get(id: string, options: CallOptions = {}): Promise<Command> {
    return this.#transport.call('GET', `/commands/${segment(id)}`, options);
  }

  /** It is on its way: `get` tells what becomes of it. */
  create(thing: string, body: BodyOf<'/things/{id}/commands', 'post'>, options: CallOptions = {}): Promise<Command> {
    return this.#transport.call('POST', `/things/${segment(thing)}/commands`, { ...options, body });
  }

  /** @throws MillraceApiError 409 if it has been begun */
  cancel(id: string, options: CallOptions = {}): Promise<void> {
    return this.#transport.call('DELETE', `/commands/${segment(id)}`, options);
  }
}

/** Devices of LwM2M: the registrations of an organisation, accounts of things, and what can be done with them. */
export class Lwm2m extends List<'registrations', Lwm2mRegistration, QueryOf<'/lwm2m/registrations'>> {
  constructor(transport: Transport) {
    super(transport, '/lwm2m/registrations', 'registrations');
  }

  registration(thing: string, options: CallOptions = {}): Promise<Lwm2mRegistration> {
    return this.call('GET', `${of(thing)}/registration`, options);
  }

  account(thing: string, options: CallOptions = {}): Promise<Lwm2mAccount> {
    return this.call('GET', of(thing), options);
  }

  setAccount(
    thing: string,
    body: BodyOf<'/things/{id}/lwm2m', 'put'>,
    options: CallOptions = {},
  ): Promise<Lwm2mAccount> {
    return this.call('PUT', of(thing), { ...options, body });
  }

  deleteAccount(thing: string, options: CallOptions = {}): Promise<void> {
    return this.call('DELETE', of(thing), options);
  }

  /** What the device answered; the command, whose `state` tells how far it is, if it has not yet.
   *  @throws MillraceApiError 502 if the device refuses */
  run<O extends Lwm2mOperation>(
    thing: string,
    operation: O,
    body: BodyOf<`/things/{id}/lwm2m/${O}`, 'post'>,
    { waitSeconds, ...options }: Lwm2mOptions = {},
  ): Promise<Lwm2mResult | Command> {
    const query = waitSeconds === undefined ? {} : { wait: waitSeconds };
    const timeoutMs = ((waitSeconds ?? WAIT_SECONDS) + ANSWER_SECONDS) * 1_000;
    return this.call('POST', `${of(thing)}/${operation}`, { timeoutMs, ...options, body, query });
  }
}

/** Waited for the device where nothing is said; and for the answer itself. */
const WAIT_SECONDS = 10;
const ANSWER_SECONDS = 30;
const of = (thing: string): string => `/things/${segment(thing)}/lwm2m`;
