import type { IncomingMessage, ServerResponse } from 'node:http';
import type Provider from 'oidc-provider';
import { actingAs, currentActor } from '../audit/actor.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal, refusalOf } from '../http/refusal.ts';
import type { Parts } from '../parts.ts';
import { InnerServer } from './inner-server.ts';
import { answerInteraction, isInteraction, type Visit } from './interactions.ts';
import { errorPage, pageHeaders, prefersPage } from './pages.ts';
import { openProvider } from './provider.ts';

export interface Gateway {
  /** Answers one request under /oauth or /.well-known.  @throws Refusal 503 */
  answer(call: Call<unknown, unknown>, plane: Plane, body: Uint8Array): Promise<Response>;
}

interface Ready {
  readonly provider: Provider;
  readonly server: InnerServer<Visit>;
}

/** Leads requests of the control plane to the provider, which is made when the first comes: its issuer is where we are
 *  reached, which is known only once we are. */
export function createGateway(parts: Parts): Gateway {
  const { metrics, logger } = parts;
  const asked = metrics.counter(
    'millrace_oauth_requests_total',
    'Requests of the OAuth provider, by endpoint and outcome.',
    ['endpoint', 'outcome'],
  );
  let opening: Promise<Ready> | undefined;
  /** Once, but a failure is tried again. */
  const ready = async (): Promise<Ready> => {
    opening ??= open();
    try {
      return await opening;
    } catch (error) {
      opening = undefined;
      throw error;
    }
  };
  const open = async (): Promise<Ready> => {
    const issuer = parts.publicUrl();
    if (issuer === '') throw new Refusal(503, 'The node is starting. Try again later.', { 'retry-after': '1' });
    const provider = await openProvider(parts, issuer);
    const visits = new WeakMap<IncomingMessage, Visit>();
    provider.on('server_error', (ctx, error) => {
      const visit = visits.get(ctx.req);
      if (visit !== undefined) visit.fault = error;
    });
    const callback = provider.callback();
    const prefix = new URL(issuer).pathname.replace(/\/$/, '');
    const server = new InnerServer<Visit>((request, response, visit) => {
      visits.set(request, visit);
      // What the library makes its own URLs of.
      if (prefix !== '') Object.assign(request, { originalUrl: `${prefix}${request.url}` });
      const work = (): Promise<void> =>
        isInteraction(request.url ?? '')
          ? answerInteraction(provider, request, response, visit)
          : callback(request, response);
      actingAs(visit.actor, work).catch((error: unknown) => fail(visit, response, error));
    });
    return { provider, server };
  };

  return {
    async answer(call, plane, body) {
      const { provider, server } = await ready();
      const url = new URL(call.request.url);
      const issuer = new URL(provider.issuer);
      const visit: Visit = { call, plane, actor: currentActor() };
      const response = await server
        .fetch(
          {
            method: call.request.method,
            path: `${url.pathname}${url.search}`,
            headers: call.request.headers,
            body,
            trusted: {
              host: issuer.host,
              'x-forwarded-host': issuer.host,
              'x-forwarded-proto': issuer.protocol.slice(0, -1),
              'x-forwarded-for': call.peer.remoteAddress,
              // Else the library answers some requests of browsers in JSON.
              ...(PAGES.test(url.pathname) ? { accept: 'text/html' } : {}),
            },
          },
          visit,
        )
        .catch((error: unknown) => {
          logger.error({ err: error }, 'the OAuth provider gave no answer');
          throw new Refusal(503, 'This takes too long. Try again later.', { 'retry-after': '2' });
        });
      const { fault } = visit;
      const outcome = fault !== undefined ? 'fault' : response.status < 400 ? 'ok' : 'refused';
      asked.inc({ endpoint: endpointOf(url.pathname), outcome });
      if (fault === undefined) return response;
      const refusal = refusalOf(fault);
      if (refusal === null) logger.error({ err: fault }, 'a request of the OAuth provider failed');
      if (!prefersPage(call.request)) throw refusal ?? fault;
      const status = refusal?.status ?? 500;
      const text = refusal?.message ?? 'Something went wrong here; the log of the node says what.';
      return new Response(errorPage(`HTTP ${status}`, text), {
        status,
        headers: { ...refusal?.headers, ...pageHeaders() },
      });
    },
  };
}

function fail(visit: Visit, response: ServerResponse, error: unknown): void {
  visit.fault = error;
  if (!response.headersSent) response.writeHead(500);
  response.end();
}

const PAGES = /^\/oauth\/(?:authorize|interaction|logout)(?:\/|$)/;
const ENDPOINTS: readonly (readonly [RegExp, string])[] = [
  [/^\/oauth\/authorize/, 'authorize'],
  [/^\/oauth\/interaction/, 'interaction'],
  [/^\/oauth\/token$/, 'token'],
  [/^\/oauth\/introspect$/, 'introspect'],
  [/^\/oauth\/revoke$/, 'revoke'],
  [/^\/oauth\/userinfo$/, 'userinfo'],
  [/^\/oauth\/logout/, 'logout'],
];
const endpointOf = (path: string): string => ENDPOINTS.find(([pattern]) => pattern.test(path))?.[1] ?? 'metadata';
