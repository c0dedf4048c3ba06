import type { DeviceKeys, Gate, Logger, Lwm2mAccount, Lwm2mBootstrap, Lwm2mDirectory } from '@millrace/core';
import { diagnosis } from '../coap/answers.ts';
import type { CoapAnswer, CoapEndpoint, CoapRequest, CoapResponse, OutgoingRequest, Peer } from '../coap/contract.ts';
import { CoapError } from '../coap/error.ts';
import { Code, codeText, Format, Method } from '../coap/message/message.ts';
import type { Definitions } from './definitions/definitions.ts';
import { FORMAT_NUMBERS, writeValues } from './formats/formats.ts';
import { identify } from './identification.ts';
import { type Lwm2mPath, pathText } from './path.ts';
import { isEndpoint } from './registration-query.ts';
import type { Scalar } from './value.ts';

export interface BootstrapOptions {
  /** Called when there is one. */
  endpoint(): CoapEndpoint;
  /** What we ask of a device is bound to its peer: the same object until it is done. */
  readonly peers: { keep(peer: Peer): void; release(peer: Peer): void };
  readonly gate: Gate;
  readonly directory: Lwm2mDirectory;
  readonly keys: Pick<DeviceKeys, 'keysOf'>;
  readonly definitions: Definitions;
  readonly requestMs: number;
  readonly logger: Logger;
}

const SESSIONS_MAX = 256;
const BAD_ENDPOINT = diagnosis(Code.BadRequest, 'Give ?ep=<endpoint name>.');
const NO_BOOTSTRAP = diagnosis(Code.Forbidden, 'There is no bootstrap for this endpoint.');
const KEYS_NEED_COAPS = diagnosis(Code.Forbidden, 'This bootstrap holds keys: come by CoAPS.');
const BUSY = diagnosis(Code.ServiceUnavailable, 'Too many devices are being bootstrapped.', 10);

/** A server's entry, as it is told to a device. */
interface Server {
  readonly shortId: number;
  readonly uri: string;
  readonly lifetimeSeconds: number;
  readonly binding: string;
  /** null: NoSec. */
  readonly identity: { readonly name: string; readonly key: string } | null;
}

/** Tells devices which servers are theirs, when they ask for it.  @source OMA LwM2M Core 1.1 §6.1.7 */
export class Bootstrap {
  readonly #options: BootstrapOptions;
  /** One a thing: what was begun earlier ends when it asks again. */
  readonly #sessions = new Map<string, symbol>();

  constructor(options: BootstrapOptions) {
    this.#options = options;
  }

  /** POST /bs?ep=… */
  async request(request: CoapRequest): Promise<CoapResponse> {
    const said = (name: string): string | null =>
      request.query.find((part) => part.startsWith(`${name}=`))?.slice(name.length + 1) ?? null;
    const endpoint = said('ep');
    if (endpoint !== null && !isEndpoint(endpoint)) return BAD_ENDPOINT;
    if (endpoint === null && request.peer.identity === null) return BAD_ENDPOINT;
    const account = await this.#accountOf(request, endpoint);
    if ('code' in account) return account;
    if (account.bootstrap === null) return NO_BOOTSTRAP;
    const holdsKeys = account.bootstrap.servers.some(({ uri }) => uri.startsWith('coaps'));
    if (holdsKeys && request.peer.identity === null) return KEYS_NEED_COAPS;
    if (this.#sessions.size >= SESSIONS_MAX && !this.#sessions.has(account.thing)) return BUSY;
    const servers = await this.#servers(account.thing, account.bootstrap);
    const session = Symbol('bootstrap');
    this.#sessions.set(account.thing, session);
    // After the answer: the device expects what follows only then.
    setImmediate(() => void this.#run(account.thing, session, request.peer, servers, Number(said('pct') ?? 0)));
    return { code: Code.Changed };
  }

  async #accountOf(request: CoapRequest, endpoint: string | null): Promise<Lwm2mAccount | CoapResponse> {
    const { identity } = request.peer;
    if (identity?.kind !== 'bootstrap') {
      const identified = await identify(request, endpoint, this.#options);
      return identified.kind === 'known' ? identified.account : identified.response;
    }
    const { directory } = this.#options;
    const { thing, externalId } = identity;
    const account = await (endpoint === null || endpoint === externalId
      ? directory.accountOf(thing)
      : directory.account(endpoint, thing));
    return account?.thing === thing ? account : NO_BOOTSTRAP;
  }

  async #servers(thing: string, { servers }: Lwm2mBootstrap): Promise<Server[]> {
    const own = servers.some(({ uri, key }) => uri.startsWith('coaps') && key === undefined)
      ? await this.#options.keys.keysOf(thing)
      : [];
    return servers.map(({ shortId, uri, lifetimeSeconds, binding, identity, key }) => {
      const secret = key ?? own[0];
      const secure = uri.startsWith('coaps') && secret !== undefined;
      return {
        shortId,
        uri,
        lifetimeSeconds,
        binding,
        identity: secure ? { name: identity ?? thing, key: secret } : null,
      };
    });
  }

  async #run(thing: string, session: symbol, peer: Peer, servers: readonly Server[], wish: number): Promise<void> {
    const { logger, peers } = this.#options;
    const ask = async (what: string, request: OutgoingRequest): Promise<CoapAnswer> => {
      if (this.#sessions.get(thing) !== session) throw new Broken(`${what}: the device has begun anew`);
      const { answer } = await this.#options
        .endpoint()
        .request(peer, { timeoutMs: this.#options.requestMs, ...request });
      return answer;
    };
    const tell = async (what: string, request: OutgoingRequest): Promise<void> => {
      const { code } = await ask(what, request);
      if (code >> 5 !== 2) throw new Broken(`${what}: the device answered ${codeText(code)}`);
    };
    peers.keep(peer);
    try {
      const taken = await this.#bootstrapInstances(ask);
      await tell('delete', { method: Method.Delete, path: '/' });
      let instance = 0;
      for (const [index, server] of servers.entries()) {
        while (taken.has(instance)) instance++;
        await tell('security', this.#write([0, instance], securityOf(server), wish));
        await tell('server', this.#write([1, index], serverOf(server), wish));
        instance++;
      }
      await tell('finish', { method: Method.Post, path: '/bs' });
      logger.info({ thing, servers: servers.length }, 'lwm2m: a device has been bootstrapped');
    } catch (error) {
      if (error instanceof Broken || error instanceof CoapError) {
        logger.info({ thing, problem: error.message }, 'lwm2m: a bootstrap was not finished');
      } else logger.error({ err: error }, 'lwm2m: a fault in a bootstrap');
    } finally {
      peers.release(peer);
      if (this.#sessions.get(thing) === session) this.#sessions.delete(thing);
    }
  }

  /** Instances of Security that hold the device's own bootstrap server: they stay, and are not written over. */
  async #bootstrapInstances(
    ask: (what: string, request: OutgoingRequest) => Promise<CoapAnswer>,
  ): Promise<Set<number>> {
    const taken = new Set<number>();
    try {
      const answer = await ask('discover', { method: Method.Get, path: '/', accept: Format.Link });
      if (answer.code === Code.Content && answer.payload.length <= DISCOVERY_BYTES_MAX) {
        for (const [, id, attributes] of answer.payload.toString('utf8').matchAll(SECURITY_LINK)) {
          if (!attributes?.includes('ssid=')) taken.add(Number(id));
        }
      }
    } catch (error) {
      // Devices of 1.0 may not know the question.
      if (!(error instanceof CoapError)) throw error;
    }
    if (taken.size === 0) taken.add(0);
    return taken;
  }

  #write(path: Lwm2mPath, resources: readonly (readonly [id: number, value: Scalar])[], wish: number): OutgoingRequest {
    const format = wish === Format.SenmlCbor ? 'senml-cbor' : wish === Format.SenmlJson ? 'senml-json' : 'tlv';
    const { definitions } = this.#options;
    const values = resources.map(([id, value]) => ({ path: [...path, id], value, time: null }));
    const payload = writeValues(values, format, path, (object, resource) => definitions.typeOf(object, resource));
    return {
      method: Method.Put,
      path: pathText(path),
      payload: payload as Buffer,
      format: FORMAT_NUMBERS[format],
    };
  }
}

/** The device did not go along. */
class Broken extends Error {}

const DISCOVERY_BYTES_MAX = 16_384;
const SECURITY_LINK = /<\/0\/(\d{1,5})>([^,<]*)/g;
const PRE_SHARED_KEY = 0;
const NO_SECURITY = 3;
const NOTHING = Buffer.alloc(0);

/** @source OMA LwM2M Core 1.1, Appendix E.1 */
const securityOf = ({ uri, shortId, identity }: Server): readonly (readonly [number, Scalar])[] => [
  [0, uri],
  [1, false],
  [2, identity === null ? NO_SECURITY : PRE_SHARED_KEY],
  [3, identity === null ? NOTHING : Buffer.from(identity.name, 'utf8')],
  [4, NOTHING],
  [5, identity === null ? NOTHING : Buffer.from(identity.key, 'utf8')],
  [10, shortId],
];

/** @source OMA LwM2M Core 1.1, Appendix E.2 */
const serverOf = ({ shortId, lifetimeSeconds, binding }: Server): readonly (readonly [number, Scalar])[] => [
  [0, shortId],
  [1, lifetimeSeconds],
  [6, false],
  [7, binding],
];
