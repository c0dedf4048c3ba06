import { z } from '@hono/zod-openapi';
import type { Call, Plane } from '../http/plane.ts';
import { checkQuery, json, type Route, type RouteSpecification, route, wrongBody } from '../http/route.ts';

type Method = RouteSpecification<z.ZodObject, z.ZodType>['method'];

/** A request in our own words. */
export interface NativeRequest {
  readonly method: Method;
  /** As OpenAPI writes it: `/things/{id}`. */
  readonly path: string;
  readonly parameters?: Readonly<Record<string, string>>;
  /** What is undefined is left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: unknown;
}

/** Asks one of our own routes, with all its checks, in the name of who asked in the dialect.
 *  @throws Refusal of the checks, or of the route */
export type Ask = (call: Call<unknown, unknown>, plane: Plane, native: NativeRequest) => Promise<Response>;

export function askOf(routes: readonly Route[]): Ask {
  const byName = new Map(routes.map((each) => [`${each.specification.method} ${each.specification.path}`, each]));
  return async (call, plane, { method, path, parameters = {}, query = {}, body }) => {
    const found = byName.get(`${method} ${path}`);
    if (found === undefined) throw new TypeError(`there is no route ${method} ${path}`);
    const { specification } = found;
    const url = new URL(path, call.request.url);
    const { searchParams } = new URL(call.request.url);
    // The organisation is ours to name, in every dialect.
    const org = searchParams.get('org');
    if (org !== null) url.searchParams.set('org', org);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value));
    const request = new Request(url, { method: method.toUpperCase(), headers: call.request.headers });
    return found.handle(
      {
        ...call,
        request,
        parameters,
        query: checkQuery(specification.query, url),
        body: specification.body === undefined ? undefined : checked(specification.body, body),
      },
      plane,
    );
  };
}

/** @throws Refusal 422 */
function checked(schema: z.ZodType, body: unknown): unknown {
  const result = schema.safeParse(body);
  if (result.success) return result.data;
  throw wrongBody(result.error);
}

/** A request of a dialect that is one of ours in other words.
 *  @param answer from our answer's body to theirs; only what succeeded comes here */
export function translated<Q extends z.ZodObject, B extends z.ZodType>(
  ask: Ask,
  specification: RouteSpecification<Q, B>,
  to: (call: Call<z.output<Q>, z.output<B>>) => NativeRequest,
  answer: (native: Native, call: Call<z.output<Q>, z.output<B>>) => Response = ({ response }) => response,
): Route {
  return route(specification, async (call, plane) => {
    const response = await ask(call, plane, to(call));
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    const body = isJson ? ((await response.clone().json()) as Record<string, unknown>) : {};
    return answer({ response, body }, call);
  });
}

export interface Native {
  readonly response: Response;
  /** Of JSON; empty if there is none. */
  readonly body: Readonly<Record<string, unknown>>;
}

/** How one of our own routes is also asked for: what it is given in a dialect's shape, and what the dialect finds in the
 *  answer beside our own members. */
export interface Accent {
  readonly method: Method;
  readonly path: string;
  /** A body in the dialect's shape becomes one of ours. Ours is tried first. */
  readonly body?: z.ZodType;
  /** Other names of parameters: the dialect's → ours. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Members that are added to an answer that succeeded. @param members their schema, for the documentation */
  readonly adds?: {
    readonly members: z.ZodObject;
    from(
      body: Readonly<Record<string, unknown>>,
      call: Call<unknown, unknown>,
    ): Record<string, unknown> | Promise<Record<string, unknown>>;
  };
}

/** The routes, those with an accent understanding it.  @throws TypeError where an accent is of no route */
export function withAccents(routes: readonly Route[], accents: readonly Accent[]): Route[] {
  const left = new Map(accents.map((accent) => [`${accent.method} ${accent.path}`, accent]));
  const speaking = routes.map((each) => {
    const name = `${each.specification.method} ${each.specification.path}`;
    const accent = left.get(name);
    left.delete(name);
    return accent === undefined ? each : withAccent(each, accent);
  });
  if (left.size > 0) throw new TypeError(`there is no route ${[...left.keys()].join(', ')}`);
  return speaking;
}

function withAccent({ specification, handle }: Route, { body, parameters, adds }: Accent): Route {
  return {
    specification: {
      ...specification,
      ...(body === undefined ? {} : { dialect: { body } }),
      ...(parameters === undefined ? {} : { aliases: parameters }),
      answers: adds === undefined ? specification.answers : answersWith(specification.answers, adds.members),
    },
    async handle(call, plane) {
      const response = await handle(call, plane);
      if (adds === undefined || !response.ok || response.status === 204) return response;
      const native = (await response.json()) as Record<string, unknown>;
      const headers = Object.fromEntries(response.headers);
      return json(response.status, { ...native, ...(await adds.from(native, call)) }, headers);
    },
  };
}

function answersWith(
  answers: Route['specification']['answers'],
  members: z.ZodObject,
): Route['specification']['answers'] {
  return Object.fromEntries(
    Object.entries(answers).map(([status, answer]) => {
      const { schema } = answer;
      if (!status.startsWith('2') || !(schema instanceof z.ZodObject)) return [status, answer];
      // A schema of its own: the extended one must not pass for the named one.
      return [status, { ...answer, schema: z.object({ ...schema.shape, ...members.shape }) }];
    }),
  );
}
