import { OpenAPIHono } from '@hono/zod-openapi';
import {
  type Arrivals,
  type CodecRunner,
  type Gate,
  type HttpHandler,
  type HttpPeer,
  type Log,
  type Logger,
  type MessageIntake,
  type Metrics,
  type Principal,
  Protocol,
  type Questions,
  type ReadingsStore,
  type SnapshotSource,
  type StoreUpkeep,
  type TenantSql,
  type WebhookSender,
} from '@millrace/core';
import { type Actor, actingAs, setActor } from '../audit/actor.ts';
import { replayWork } from '../deadletters/index.ts';
import { createExportWork } from '../exports/work.ts';
import { createJobRights } from '../jobs/rights.ts';
import { Throttle } from '../people/throttle.ts';
import type { Registry } from '../registry.ts';
import { coded } from './coding.ts';
import type { OpenApiDocument } from './docs-page.ts';
import { identify, isKnownByCertificate, userOf } from './identity.ts';
import { OneByOne } from './one-by-one.ts';
import { openApiDocument, routes } from './open-api.ts';
import type { Call, HealthCheck, Plane } from './plane.ts';
import { platformRoutes } from './platform.ts';
import { Refusal, refusalOf, refuse } from './refusal.ts';
import { checkBody, checkQuery, type Route } from './route.ts';

export interface ControlPlaneOptions {
  readonly registry: Registry;
  readonly gate: Gate;
  readonly store: ReadingsStore & { readonly questions: Questions };
  /** Of the readings, for backup. */
  readonly snapshots?: SnapshotSource;
  /** Of the readings, for who writes SQL. */
  readonly sql?: TenantSql;
  /** Takes away what is stored: for retention and deletions. */
  readonly upkeep?: StoreUpkeep;
  /** Of the readings, for live questions. */
  readonly arrivals?: Arrivals;
  /** Where messages wait to be processed: tells the fate of those that are not stored yet. */
  readonly log?: Log;
  /** Puts messages on that log: for imports and replays. */
  readonly intake?: MessageIntake;
  /** For who tries a codec; without, they are told to ask another node. */
  readonly codecs?: CodecRunner | null;
  /** For who tries a webhook. */
  readonly webhooks?: { readonly sender: WebhookSender };
  /** Consumer group of the processors (`processors`). */
  readonly processorsGroup?: string;
  /** Whether strangers may register. */
  readonly selfRegister: boolean;
  /** Beside the registry's and the store's own. */
  readonly healthChecks?: readonly HealthCheck[];
  readonly version: string;
  /** Nothing but health, version, metrics and documentation: for a node without the role. */
  readonly platformOnly?: boolean;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

type Environment = { Bindings: { peer: HttpPeer } };

/** Self-registrations from one address that cost nothing. */
const REGISTRATIONS_FREE = 100;
/** Tickets of one subject in a row that cost no wait, and the longest wait for the next. */
const TICKETS_FREE = 100;
const TICKET_WAIT_MS_MAX = 2_000;
const SCANS_WAITING_MAX = 16;
/** Tries of codecs of one subject in a row that cost no wait. */
const CODEC_TESTS_FREE = 60;
const CODEC_TEST_FORGIVEN_MS = 500;
/** The same of webhooks. */
const WEBHOOK_TESTS_FREE = 20;
const WEBHOOK_TEST_FORGIVEN_MS = 5_000;

/** Answers everything beyond the data plane: the classic REST dialect, queries, health, metrics, documentation.
 *  @holds never rejects: a fault becomes a 500 that tells nothing of its cause, and is logged and counted */
export function createControlPlane(options: ControlPlaneOptions): HttpHandler {
  const { metrics, logger, version } = options;
  let document: OpenApiDocument | undefined;
  const plane: Plane = {
    registry: options.registry,
    gate: options.gate,
    store: options.store,
    questions: options.store.questions,
    snapshots: options.snapshots ?? null,
    sql: options.sql ?? null,
    upkeep: options.upkeep ?? null,
    log: options.log ?? null,
    intake: options.intake ?? null,
    processorsGroup: options.processorsGroup ?? 'processors',
    selfRegister: options.selfRegister,
    healthChecks: options.healthChecks ?? [],
    version,
    document() {
      document ??= openApiDocument(version);
      return document;
    },
    metrics,
    logger,
    throttle: new Throttle(),
    scans: new OneByOne(SCANS_WAITING_MAX),
    registrations: new Throttle({ free: REGISTRATIONS_FREE }),
    ticketing: new Throttle({ free: TICKETS_FREE, waitMsMax: TICKET_WAIT_MS_MAX }),
    codecs: options.codecs ?? null,
    codecTesting: new Throttle({
      free: CODEC_TESTS_FREE,
      waitMsMax: TICKET_WAIT_MS_MAX,
      forgivenMs: CODEC_TEST_FORGIVEN_MS,
    }),
    webhooks: options.webhooks ?? null,
    webhookTesting: new Throttle({
      free: WEBHOOK_TESTS_FREE,
      waitMsMax: WEBHOOK_TEST_FORGIVEN_MS,
      forgivenMs: WEBHOOK_TEST_FORGIVEN_MS,
    }),
  };
  plane.registry.jobs.guard(createJobRights(plane));
  if (options.platformOnly !== true && plane.registry.exports.place() !== null)
    plane.registry.jobs.undertake('exports.create', createExportWork(plane));
  if (options.arrivals !== undefined && plane.log !== null && options.platformOnly !== true)
    plane.registry.live.begin({
      arrivals: options.arrivals,
      questions: plane.questions,
      log: plane.log,
      group: plane.processorsGroup,
    });
  if (plane.upkeep !== null && options.platformOnly !== true)
    plane.registry.retention.undertake({
      upkeep: plane.upkeep,
      log: plane.log,
      processorsGroup: plane.processorsGroup,
    });
  if (plane.intake !== null) plane.registry.jobs.undertake('deadletters.replay', replayWork(plane));
  if (options.platformOnly !== true) plane.registry.imports.work(plane);
  const took = metrics.histogram(
    'millrace_control_request_seconds',
    'Time to answer a request of the control plane.',
    [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
    ['method', 'status'],
  );

  // Old scripts put a slash at the end.
  const app = new OpenAPIHono<Environment>({ strict: false });
  const served = options.platformOnly === true ? platformRoutes : routes;
  for (const route of served) {
    app.on(route.specification.method, honoPath(route.specification.path), async (context) => {
      const { peer } = context.env;
      return actingAs(stranger(peer), () => answer(route, plane, context.req.raw, peer, context.req.param()));
    });
  }
  const allowed = allowedMethods(served);
  app.notFound((context) => {
    const methods = allowed(context.req.path);
    if (methods === null) return refuse(new Refusal(404, 'There is no such path: GET /docs lists what there is.'));
    return refuse(new Refusal(405, `Only ${methods} can be used here.`, { allow: methods }));
  });
  app.onError((error) => refuse(faultOf(error, logger)));

  return async (request, peer) => {
    const start = performance.now();
    let response: Response;
    try {
      response = await app.fetch(request, { peer });
    } catch (error) {
      response = refuse(faultOf(error, logger));
    }
    took.observe(
      { method: request.method.slice(0, 7), status: `${String(response.status).charAt(0)}xx` },
      (performance.now() - start) / 1_000,
    );
    return coded(request, response);
  };
}

/** Checks the shape of a request in the order of what it costs, then lets the route answer. */
async function answer(
  route: Route,
  plane: Plane,
  request: Request,
  peer: HttpPeer,
  parameters: Record<string, string>,
): Promise<Response> {
  try {
    const { specification } = route;
    let known: Promise<Principal> | undefined;
    const principal = (): Promise<Principal> => {
      known ??= identify(request, plane, peer, specification.ticket === true).then((found) => {
        setActor(actorOf(found, peer));
        return found;
      });
      return known;
    };
    // Strangers learn nothing of what is right or wrong with their request.
    if (specification.open !== true) await principal();
    const call: Call<unknown, unknown> = {
      request,
      peer,
      context: {
        protocol: Protocol.http,
        remoteAddress: peer.remoteAddress,
        tls: peer.tls,
        mutualTls: isKnownByCertificate(request, peer),
        nowMs: Date.now(),
      },
      parameters,
      query: checkQuery(specification.query, new URL(request.url), specification.aliases),
      body: await checkBody(specification, request),
      principal,
      user: async () => userOf(await principal()),
    };
    return await route.handle(call, plane);
  } catch (error) {
    // Who goes away ends the work for them: there is no fault in that, and nobody to tell.
    if (request.signal.aborted && (error as Error | null)?.name === 'AbortError') return refuse(LEFT);
    return refuse(faultOf(error, plane.logger));
  }
}
const LEFT = new Refusal(499, 'The client went away.');

const stranger = ({ remoteAddress }: HttpPeer): Actor => ({
  kind: 'nobody',
  id: null,
  name: null,
  via: null,
  address: remoteAddress,
  protocol: 'http',
});

const actorOf = ({ subject, scope }: Principal, peer: HttpPeer): Actor => ({
  ...stranger(peer),
  kind: subject.kind,
  id: subject.id,
  name: subject.kind === 'user' ? subject.email : null,
  via: scope?.id ?? null,
});

function faultOf(error: unknown, logger: Logger): Refusal {
  const refusal = refusalOf(error);
  if (refusal !== null) return refusal;
  logger.error({ err: error }, 'a request of the control plane failed');
  return new Refusal(500, 'Something went wrong here; the log of the node says what.');
}

const honoPath = (path: string): string => path.replaceAll(/\{(\w+)\}/g, ':$1');

/** Tells which methods a path takes; null if it is none of ours. */
function allowedMethods(all: readonly Route[]): (path: string) => string | null {
  const byPath = new Map<string, { pattern: RegExp; methods: string[] }>();
  for (const { specification } of all) {
    const pattern = new RegExp(`^${specification.path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`);
    const entry = byPath.get(specification.path) ?? { pattern, methods: [] };
    entry.methods.push(specification.method.toUpperCase());
    byPath.set(specification.path, entry);
  }
  const entries = [...byPath.values()];
  return (path) => entries.find(({ pattern }) => pattern.test(path))?.methods.join(', ') ?? null;
}
