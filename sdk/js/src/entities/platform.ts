import { Collection, List, Switchable } from '../collection.ts';
import { everyItem } from '../pages.ts';
import type { BodyOf, Json, QueryOf, Schema } from '../schema.ts';
import { type CallOptions, type Query, segment, type Transport } from '../transport.ts';
import { untilOver, type WaitOptions } from '../waiting.ts';

export type Certificate = Schema<'IssuedCertificate'>;
/** With its private key and chain, which are told this once. */
export type MadeCertificate = Schema<'NewCertificate'>;
export type App = Schema<'App'>;
/** With its secret, which is told this once. */
export type MadeApp = Schema<'NewApp'>;
export type Job = Schema<'Job'>;
export type NetworkServer = Schema<'NetworkServer'>;
export type NetworkServerStatus = Schema<'NetworkServerStatus'>;
export type Codec = Schema<'Codec'>;
export type CodecTest = Schema<'CodecTest'>;

export class Certificates extends List<'certs', Certificate, QueryOf<'/certs'>> {
  constructor(transport: Transport) {
    super(transport, '/certs', 'certs');
  }

  get(serial: string, options: CallOptions = {}): Promise<Certificate> {
    return this.call('GET', this.at(serial), options);
  }

  /** With its private key, which nobody keeps: it is told this once. */
  issue(body: BodyOf<'/certs', 'post'>, options: CallOptions = {}): Promise<MadeCertificate> {
    return this.call('POST', this.path, { ...options, body });
  }

  /** For a key that never left its owner. */
  issueFromCsr(body: BodyOf<'/certs/csr', 'post'>, options: CallOptions = {}): Promise<MadeCertificate> {
    return this.call('POST', `${this.path}/csr`, { ...options, body });
  }

  renew(
    serial: string,
    body: BodyOf<'/certs/{serial}/renew', 'post'> = {},
    options: CallOptions = {},
  ): Promise<MadeCertificate> {
    return this.call('POST', this.at(serial, 'renew'), { ...options, body });
  }

  async revoke(serial: string, reason?: string, options: CallOptions = {}): Promise<void> {
    const body = reason === undefined ? {} : { reason };
    await this.call('POST', this.at(serial, 'revoke'), { ...options, body });
  }

  /** The authority's certificates, PEM. */
  async authority(query?: Query, options: CallOptions = {}): Promise<string> {
    const headers = { accept: 'application/x-pem-file, */*', ...options.headers };
    return (await this.transport.stream('GET', `${this.path}/ca`, { ...options, headers, query })).text();
  }
}

export class Apps extends Switchable<
  'apps',
  App,
  BodyOf<'/apps', 'post'>,
  BodyOf<'/apps/{id}', 'patch'>,
  QueryOf<'/apps'>,
  MadeApp
> {
  constructor(transport: Transport) {
    super(transport, '/apps', 'apps');
  }

  /** A new secret; the old one is void, unless an overlap is asked for. */
  rotateSecret(
    id: string,
    body: BodyOf<'/apps/{id}/secret', 'post'> = {},
    options: CallOptions = {},
  ): Promise<Schema<'AppSecret'>> {
    return this.call('POST', this.at(id, 'secret'), { ...options, body });
  }
}

export class NetworkServers extends Switchable<
  'networkservers',
  NetworkServer,
  BodyOf<'/networkservers', 'post'>,
  BodyOf<'/networkservers/{id}', 'patch'>,
  QueryOf<'/networkservers'>
> {
  constructor(transport: Transport) {
    super(transport, '/networkservers', 'networkservers');
  }

  /** How the connections of the nodes with it are. */
  status(id: string, options: CallOptions = {}): Promise<NetworkServerStatus> {
    return this.call('GET', this.at(id, 'status'), options);
  }
}

/** A list gives them without their scripts. */
export class Codecs extends Collection<
  'codecs',
  Codec,
  BodyOf<'/codecs', 'post'>,
  BodyOf<'/codecs/{id}', 'patch'>,
  QueryOf<'/codecs'>
> {
  constructor(transport: Transport) {
    super(transport, '/codecs', 'codecs');
  }

  /** What a codec makes of something: one that is there, or a draft. */
  test(body: BodyOf<'/codecs/test', 'post'>, options: CallOptions = {}): Promise<CodecTest> {
    return this.call('POST', `${this.path}/test`, { ...options, body });
  }
}

const WORKING = new Set(['waiting', 'queued', 'pending', 'running', 'active', 'delayed']);

export class Jobs extends List<'jobs', Job, QueryOf<'/jobs'>> {
  constructor(transport: Transport) {
    super(transport, '/jobs', 'jobs');
  }

  get(id: string, options: CallOptions = {}): Promise<Job> {
    return this.call('GET', this.at(id), options);
  }

  async cancel(id: string, options: CallOptions = {}): Promise<void> {
    await this.call('POST', this.at(id, 'cancel'), options);
  }

  /** What was made, and what could not be. */
  results(id: string, query: Query = {}, options: CallOptions = {}): AsyncGenerator<Json, void, undefined> {
    return everyItem(query, 'results', (page) => this.call('GET', this.at(id, 'results'), { ...options, query: page }));
  }

  /** Waits for its end.  @throws the signal's reason */
  wait(id: string, options: WaitOptions<Job> = {}): Promise<Job> {
    return untilOver(
      (given) => this.get(id, given),
      ({ status }) => !WORKING.has(status),
      options,
    );
  }
}

export type ManifestChange = {
  readonly action: 'create' | 'update' | 'delete';
  readonly kind: string;
  readonly name?: string;
  readonly id?: string;
  readonly before?: unknown;
  readonly after?: unknown;
  /** Paths of what changes. */
  readonly fields?: readonly string[];
} & Json;
export type ManifestPlan = {
  readonly changes: readonly ManifestChange[];
  readonly summary?: unknown;
  /** Of the organisation that it was made for. */
  readonly version?: number | string;
} & Json;

export interface PlanOptions extends CallOptions {
  /** Also delete what the manifest's lists do not name. */
  readonly prune?: boolean;
}
export interface ApplyOptions extends PlanOptions {
  /** Of the plan: refused with 412 when the organisation was changed since. */
  readonly ifVersion?: number | string;
}

/** An organisation as one document. */
export class Manifests {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** @param query `keys: true` with the keys of things, for who may change those */
  read(org: string, query: Query = {}, options: CallOptions = {}): Promise<Json> {
    return this.#transport.call('GET', path(org), { ...options, query });
  }

  /** What applying it would change. */
  plan(org: string, manifest: unknown, { prune, ...options }: PlanOptions = {}): Promise<ManifestPlan> {
    const body = { manifest, ...(prune === undefined ? {} : { prune }) };
    return this.#transport.call('POST', `${path(org)}/plan`, { ...options, body });
  }

  /** All of it or nothing. */
  apply(org: string, manifest: unknown, { ifVersion, prune, ...options }: ApplyOptions = {}): Promise<ManifestPlan> {
    const body = {
      manifest,
      ...(prune === undefined ? {} : { prune }),
      ...(ifVersion === undefined ? {} : { if_version: ifVersion }),
    };
    return this.#transport.call('POST', `${path(org)}/apply`, { ...options, body });
  }
}

const path = (org: string): string => `/orgs/${segment(org)}/manifest`;
