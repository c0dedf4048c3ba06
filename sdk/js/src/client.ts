import createTyped, { type FetchResponse, type MaybeOptionalInit, type Client as TypedClient } from 'openapi-fetch';
import { type Readings, readingsBy } from './asking/readings.ts';
import { SavedQueries, type Sql, sqlBy } from './asking/sql.ts';
import { ApiKeys, Audit, Policies } from './entities/access.ts';
import { Deletions, Exports, Holds, Imports } from './entities/data.ts';
import { Commands, Lwm2m } from './entities/devices.ts';
import { Channels, Connections, Groups, Things } from './entities/inventory.ts';
import { Webhooks } from './entities/outward.ts';
import { Invitations, Orgs, Roles, Users } from './entities/people.ts';
import { Apps, Certificates, Codecs, Jobs, Manifests, NetworkServers } from './entities/platform.ts';
import { MillraceApiError, problemOf, retryAfterMs } from './error.ts';
import type { paths } from './generated/api.ts';
import type { LiveMessage, Payload, PublishOptions, SubscribeOptions } from './messages/message.ts';
import { Messages } from './messages/messages.ts';
import { RETRIES, type RetryOptions } from './retry.ts';
import { type AuthOptions, Session, type Tokens } from './session.ts';
import { Transport } from './transport.ts';

export interface ClientOptions extends AuthOptions {
  /** Of the node, as `https://iot.example.org`. */
  readonly url: string;
  /** Organisation that calls are about, for who is a member of several. */
  readonly org?: string;
  /** Of each try (30,000). @units ms */
  readonly timeoutMs?: number;
  readonly retries?: RetryOptions;
  /** In place of the global one. */
  readonly fetch?: typeof fetch;
  readonly mqtt?: {
    /** As `mqtt://host:1883`; left out: MQTT over WebSocket at the node's own address. */
    readonly url?: string;
    /** For bundlers: `() => import('mqtt')`. */
    readonly library?: () => Promise<unknown>;
  };
}

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';
type PathsWith<M extends Method> = {
  [Path in keyof paths]: paths[Path] extends { [K in M]: object } ? Path : never;
}[keyof paths];
type OperationOf<Path extends keyof paths, M extends Method> = paths[Path] extends {
  [K in M]: infer O extends Record<string | number, unknown>;
}
  ? O
  : never;

/** A call of the API by its path, as `client.get('/things/{id}', { params: { path: { id } } })`; parameters, body and
 *  answer have their types.  @throws MillraceApiError, MillraceConnectionError */
export type TypedCall<M extends Method> = <
  Path extends PathsWith<M>,
  Init extends MaybeOptionalInit<paths[Path], M & keyof paths[Path]>,
>(
  path: Path,
  ...init: undefined extends Init ? [Init?] : [Init]
) => Promise<NonNullable<FetchResponse<OperationOf<Path, M>, Init, 'application/json'>['data']>>;

export interface Client {
  readonly url: string;
  readonly things: Things;
  readonly channels: Channels;
  readonly connections: Connections;
  readonly groups: Groups;
  readonly orgs: Orgs;
  readonly users: Users;
  readonly roles: Roles;
  readonly invitations: Invitations;
  readonly policies: Policies;
  readonly keys: ApiKeys;
  readonly certs: Certificates;
  readonly apps: Apps;
  readonly audit: Audit;
  readonly jobs: Jobs;
  readonly commands: Commands;
  readonly lwm2m: Lwm2m;
  /** Of LoRaWAN. */
  readonly networkServers: NetworkServers;
  readonly codecs: Codecs;
  readonly manifests: Manifests;
  readonly exports: Exports;
  readonly imports: Imports;
  readonly deletions: Deletions;
  readonly holds: Holds;
  readonly webhooks: Webhooks;
  /** Of SQL, saved. */
  readonly queries: SavedQueries;
  readonly messages: Messages;
  /** Those of a channel when called; `query`, `rows`, `stream` and `latest` ask for those of many series. */
  readonly readings: Readings;
  /** Asks by SQL when called; also `rows`, `stream`, `schema`. */
  readonly sql: Sql;
  readonly get: TypedCall<'get'>;
  readonly post: TypedCall<'post'>;
  readonly put: TypedCall<'put'>;
  readonly patch: TypedCall<'patch'>;
  readonly delete: TypedCall<'delete'>;
  /** openapi-fetch's own client of the API: gives `{ data, error, response }` and throws at no answer. */
  readonly api: TypedClient<paths>;
  /** What the platform is asked by, for paths that no other member knows. */
  readonly transport: Transport;
  /** See `messages.publish`. */
  publish(channel: string, payload: Payload, options?: PublishOptions): Promise<string | null>;
  /** See `messages.subscribe`. */
  subscribe(channel: string, options?: SubscribeOptions): AsyncGenerator<LiveMessage, void, undefined>;
  /** Another user from now on.  @returns the tokens, to keep */
  logIn(email: string, password: string): Promise<Tokens>;
  /** Ends this session: its refresh token is void. */
  logOut(): Promise<void>;
  /** Whoever is known as such by now; null: a stranger, a thing, an API key. */
  readonly tokens: Tokens | null;
  /** Ends the connections that it keeps. */
  close(): Promise<void>;
}

const TIMEOUT_MS = 30_000;

/** A client of a node. It opens nothing until it is asked something. */
export function createClient(options: ClientOptions): Client {
  const { url, org, timeoutMs = TIMEOUT_MS, mqtt } = options;
  const ownFetch = options.fetch ?? ((...given: Parameters<typeof fetch>) => globalThis.fetch(...given));
  const transport = new Transport({
    url,
    org,
    timeoutMs,
    retries: { ...RETRIES, ...options.retries },
    fetch: ownFetch,
  });
  const source = {
    logIn: (email: string, password: string) => tokensFrom(transport, '/tokens', { email, password }),
    refresh: (refreshToken: string) => tokensFrom(transport, '/tokens/refresh', { refresh_token: refreshToken }),
  };
  const session = new Session(options, source);
  transport.session = session;
  const api = createTyped<paths>({ baseUrl: transport.url, fetch: transport.fetch });
  const messages = new Messages(transport, session, {
    url: mqtt?.url,
    library: mqtt?.library,
    connectMsMax: timeoutMs,
  });
  const typed = <M extends Method>(method: M): TypedCall<M> => {
    const call = api[method.toUpperCase() as Uppercase<M>] as unknown as (...given: unknown[]) => Promise<Answered>;
    return (async (path: string, ...init: unknown[]) =>
      unwrap(await call(path, ...init), `${method} ${path}`)) as never;
  };
  return {
    url: transport.url,
    things: new Things(transport),
    channels: new Channels(transport),
    connections: new Connections(transport),
    groups: new Groups(transport),
    orgs: new Orgs(transport),
    users: new Users(transport),
    roles: new Roles(transport),
    invitations: new Invitations(transport),
    policies: new Policies(transport),
    keys: new ApiKeys(transport),
    certs: new Certificates(transport),
    apps: new Apps(transport),
    audit: new Audit(transport),
    jobs: new Jobs(transport),
    commands: new Commands(transport),
    lwm2m: new Lwm2m(transport),
    networkServers: new NetworkServers(transport),
    codecs: new Codecs(transport),
    manifests: new Manifests(transport),
    exports: new Exports(transport),
    imports: new Imports(transport),
    deletions: new Deletions(transport),
    holds: new Holds(transport),
    webhooks: new Webhooks(transport),
    queries: new SavedQueries(transport),
    messages,
    readings: readingsBy(transport, messages),
    sql: sqlBy(transport),
    get: typed('get'),
    post: typed('post'),
    put: typed('put'),
    patch: typed('patch'),
    delete: typed('delete'),
    api,
    transport,
    publish: (channel, payload, given) => messages.publish(channel, payload, given),
    subscribe: (channel, given) => messages.subscribe(channel, given),
    async logIn(email, password) {
      const tokens = await source.logIn(email, password);
      await session.take(tokens);
      return tokens;
    },
    async logOut() {
      const refreshToken = session.tokens?.refreshToken;
      if (refreshToken !== undefined) {
        const body = { refresh_token: refreshToken };
        await transport.call('POST', '/tokens/revoke', { body, anyOrg: true });
      }
      await session.take(null);
    },
    get tokens() {
      return session.tokens;
    },
    close: () => messages.close(),
  };
}

interface Answered {
  readonly data?: unknown;
  readonly error?: unknown;
  readonly response: Response;
}

async function unwrap({ data, error, response }: Answered, request: string): Promise<unknown> {
  if (response.ok) return data;
  const told = error === undefined ? null : JSON.stringify(error);
  const problem = await problemOf(new Response(told, { status: response.status, statusText: response.statusText }));
  throw new MillraceApiError(problem, request, retryAfterMs(response.headers.get('retry-after'), Date.now()));
}

async function tokensFrom(transport: Transport, path: string, body: unknown): Promise<Tokens> {
  const answer = await transport.call<{ token: string; refresh_token?: string }>('POST', path, {
    body,
    anonymous: true,
    anyOrg: true,
  });
  return {
    token: answer.token,
    ...(answer.refresh_token === undefined ? {} : { refreshToken: answer.refresh_token }),
  };
}
