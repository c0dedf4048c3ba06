import { randomBytes } from 'node:crypto';
import type { Gate, Lwm2mDirectory, Lwm2mRegistration } from '@millrace/core';
import { diagnosis } from '../coap/answers.ts';
import type { CoapRequest, CoapResponse, Peer } from '../coap/contract.ts';
import { Code, Format, Option } from '../coap/message/message.ts';
import { Device } from './device.ts';
import type { Fleet } from './fleet.ts';
import { identify } from './identification.ts';
import { deviceLinks, parseLinks } from './links.ts';
import { readRegistrationQuery } from './registration-query.ts';

export interface RegistrarOptions {
  readonly gate: Gate;
  readonly directory: Lwm2mDirectory;
  readonly fleet: Fleet;
  readonly node: string;
  readonly linksMax: number;
  readonly payloadBytesMax: number;
  /** A device has spoken. @param anew it has come, come back, or moved */
  onHeard(device: Device, anew: boolean): void;
}

/** @source OMA LwM2M Core 1.1 §6.2.1 */
const LIFETIME_SECONDS = 86_400;
const LOCATION_BYTES = 15;
const LOCATION = /^[\w-]{20}$/;

const BAD_QUERY = diagnosis(Code.BadRequest, 'The query is none of a registration: ?ep=…&lt=…&lwm2m=1.1&b=U.');
const NO_LINKS = diagnosis(Code.BadRequest, 'The payload is no list of objects in CoRE Link Format.');
const NOT_REGISTERED = diagnosis(Code.NotFound, 'There is no such registration.');
/** Registrations and updates of one thing that wait for each other. */
const TURNS_MAX = 8;
const TOO_MANY = diagnosis(Code.TooManyRequests, 'Too many registrations of this device at once.', 5);
const FULL = diagnosis(Code.ServiceUnavailable, 'This node has no room for another device.', 60);

/** The interface of registrations: register, update, deregister.  @source OMA LwM2M Core 1.1 §6.2 */
export class Registrar {
  readonly #options: RegistrarOptions;
  /** Those who register a thing at once take turns: else the one we remember may not be the one that is kept. */
  readonly #turns = new Map<string, { last: Promise<unknown>; count: number }>();

  constructor(options: RegistrarOptions) {
    this.#options = options;
  }

  /** POST /rd */
  async register(request: CoapRequest): Promise<CoapResponse> {
    const query = readRegistrationQuery(request.query);
    if (query === 'version')
      return diagnosis(Code.PreconditionFailed, 'Versions 1.0, 1.1 and 1.2 of LwM2M are spoken here.');
    if (query === 'bad') return BAD_QUERY;
    if (query.endpoint === null && request.peer.identity === null) return BAD_QUERY;
    const listed = this.#links(request);
    if (listed === null) return NO_LINKS;
    if ('code' in listed) return listed;
    const identified = await identify(request, query.endpoint, this.#options);
    if (identified.kind === 'refused') return identified.response;
    const { account, client } = identified;
    const { fleet, directory, node } = this.#options;
    return this.#inTurn(account.thing, async () => {
      if (!fleet.hasRoom(account.thing)) return FULL;
      const nowMs = Date.now();
      const lifetimeSeconds = query.lifetimeSeconds ?? LIFETIME_SECONDS;
      const registration: Lwm2mRegistration = {
        location: randomBytes(LOCATION_BYTES).toString('base64url'),
        thing: account.thing,
        org: account.org,
        endpoint: account.endpoint,
        version: query.version ?? '1.0',
        binding: query.binding ?? 'U',
        queueMode: query.queueMode,
        lifetimeSeconds,
        objects: listed.objects,
        formats: listed.formats ?? [],
        address: addressOf(request.peer),
        node,
        secure: request.peer.identity !== null,
        registeredMs: nowMs,
        updatedMs: nowMs,
        expiresMs: nowMs + lifetimeSeconds * 1_000,
      };
      const earlier = fleet.byThing(account.thing);
      await directory.register(registration);
      const device = new Device(registration, account, client, request.peer);
      device.home = request.peer.key;
      for (const [path, attributes] of earlier?.commanded ?? []) device.commanded.set(path, attributes);
      fleet.put(device);
      this.#options.onHeard(device, true);
      return {
        code: Code.Created,
        options: [
          [Option.LocationPath, Buffer.from('rd')],
          [Option.LocationPath, Buffer.from(registration.location)],
        ],
      };
    });
  }

  /** POST /rd/<location> */
  async update(request: CoapRequest, location: string): Promise<CoapResponse> {
    const query = readRegistrationQuery(request.query);
    if (typeof query === 'string') return BAD_QUERY;
    const listed = request.payload.length === 0 ? undefined : this.#links(request);
    if (listed === null) return NO_LINKS;
    if (listed !== undefined && 'code' in listed) return listed;
    return this.#withRegistration(request, location, async (known, identified) => {
      const { fleet, directory, node } = this.#options;
      const { account, client } = identified;
      const nowMs = Date.now();
      const lifetimeSeconds = query.lifetimeSeconds ?? known.lifetimeSeconds;
      const registration: Lwm2mRegistration = {
        ...known,
        endpoint: account.endpoint,
        lifetimeSeconds,
        binding: query.binding ?? known.binding,
        // An update that says a binding says whether it has a queue; one that does not leaves it as it is.
        queueMode: query.binding === null ? known.queueMode || query.queueMode : query.queueMode || laterQueue(known),
        objects: listed?.objects ?? known.objects,
        formats: listed?.formats ?? known.formats,
        address: addressOf(request.peer),
        node,
        secure: request.peer.identity !== null,
        updatedMs: nowMs,
        expiresMs: nowMs + lifetimeSeconds * 1_000,
      };
      let device = fleet.byLocation(location);
      if (device === undefined && !fleet.hasRoom(known.thing)) return FULL;
      await directory.register(registration);
      let anew = false;
      if (device === undefined || device.gone) {
        device = new Device(registration, account, client, request.peer);
        fleet.put(device);
        anew = true;
      } else {
        // What is observed is bound to where it was heard.
        anew = device.peer.key !== request.peer.key || !sameObserved(device, account.observe);
        device.registration = registration;
        device.account = account;
        device.client = client;
        fleet.move(device, request.peer);
      }
      device.commandsWait = true;
      this.#options.onHeard(device, anew);
      return { code: Code.Changed };
    });
  }

  /** DELETE /rd/<location> */
  async deregister(request: CoapRequest, location: string): Promise<CoapResponse> {
    return this.#withRegistration(request, location, async () => {
      const { fleet, directory } = this.#options;
      await directory.remove(location);
      const device = fleet.byLocation(location);
      if (device !== undefined) fleet.remove(device);
      return { code: Code.Deleted };
    });
  }

  /** The device of a thing that is registered, here or with a node that is no more; null if it is not. */
  async returning(request: CoapRequest): Promise<Device | CoapResponse | null> {
    const { fleet, directory, node } = this.#options;
    const identified = await identify(request, null, this.#options);
    if (identified.kind === 'refused') return identified.response;
    const { account, client } = identified;
    const here = fleet.byThing(account.thing);
    if (here !== undefined) {
      if (here.peer.key !== request.peer.key) {
        fleet.move(here, request.peer);
        here.client = client;
        this.#options.onHeard(here, true);
      }
      return here;
    }
    return this.#inTurn(account.thing, async () => {
      const known = await directory.registrationOf(account.thing);
      if (known === null || !fleet.hasRoom(account.thing)) return null;
      const registration = {
        ...known,
        node,
        address: addressOf(request.peer),
        secure: request.peer.identity !== null,
        updatedMs: Date.now(),
      };
      await directory.register(registration);
      const device = new Device(registration, account, client, request.peer);
      fleet.put(device);
      this.#options.onHeard(device, true);
      return device;
    });
  }

  async #withRegistration(
    request: CoapRequest,
    location: string,
    work: (
      known: Lwm2mRegistration,
      identified: Extract<Awaited<ReturnType<typeof identify>>, { kind: 'known' }>,
    ) => Promise<CoapResponse>,
  ): Promise<CoapResponse> {
    if (!LOCATION.test(location)) return NOT_REGISTERED;
    const { fleet, directory } = this.#options;
    const known = fleet.byLocation(location)?.registration ?? (await directory.registration(location));
    if (known === null) return NOT_REGISTERED;
    const identified = await identify(request, known.endpoint, this.#options);
    if (identified.kind === 'refused') return identified.response;
    if (identified.account.thing !== known.thing) return NOT_REGISTERED;
    return this.#inTurn(known.thing, () => {
      const now = fleet.byThing(known.thing);
      // Meanwhile it has registered anew.
      if (now !== undefined && now.registration.location !== location) return Promise.resolve(NOT_REGISTERED);
      return work(now?.registration ?? known, identified);
    });
  }

  /** @returns null where the payload is no list */
  #links({ format, payload }: CoapRequest): ReturnType<typeof deviceLinks> | CoapResponse | null {
    const { linksMax, payloadBytesMax } = this.#options;
    if (format !== null && format !== Format.Link) {
      return diagnosis(Code.UnsupportedContentFormat, 'The list of objects is in CoRE Link Format (40).');
    }
    if (payload.length > payloadBytesMax) {
      return diagnosis(Code.RequestEntityTooLarge, `At most ${payloadBytesMax} bytes.`);
    }
    const links = payload.length === 0 ? null : parseLinks(payload.toString('utf8'), linksMax);
    return links === null ? null : deviceLinks(links);
  }

  /** @returns that there are too many already, where one device lets others wait for all places that there are */
  async #inTurn<T>(thing: string, work: () => Promise<T>): Promise<T | CoapResponse> {
    const turns = this.#turns.get(thing) ?? { last: Promise.resolve(), count: 0 };
    if (turns.count >= TURNS_MAX) return TOO_MANY;
    this.#turns.set(thing, turns);
    turns.count++;
    const turn = turns.last.then(work, work);
    turns.last = turn;
    try {
      return await turn;
    } finally {
      if (--turns.count === 0) this.#turns.delete(thing);
    }
  }
}

const addressOf = ({ address, port }: Peer): string =>
  address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;

/** From 1.1 on the queue is no part of the binding. */
const laterQueue = ({ version, queueMode }: Lwm2mRegistration): boolean => version !== '1.0' && queueMode;

function sameObserved(device: Device, observe: Device['account']['observe']): boolean {
  const told = device.account.observe;
  return (
    told.length === observe.length &&
    told.every(
      ({ path, attributes }, index) => observe[index]?.path === path && observe[index].attributes === attributes,
    )
  );
}
