import type { z } from '@hono/zod-openapi';
import type { Call, Plane } from './plane.ts';
import { Refusal } from './refusal.ts';
import { isDeeper } from './schemas.ts';

export interface Answer {
  readonly description: string;
  readonly schema?: z.ZodType;
  /** Content type, if it is not JSON; several that say the same. */
  readonly type?: string | readonly string[];
  /** Forms that the same answer can have beside, by Accept or format. */
  readonly also?: readonly string[];
}
export interface RouteSpecification<Q extends z.ZodObject, B extends z.ZodType> {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete' | 'options';
  /** As OpenAPI writes it: `/things/{id}`. */
  readonly path: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** Anybody may ask. */
  readonly open?: true;
  /** A ticket in the address does, too: for browsers, which can send no header there. */
  readonly ticket?: true;
  readonly query?: Q;
  readonly body?: B;
  /** A body that is no JSON: the route reads and checks it by itself. `bytesMax`: it may be larger than others. */
  readonly ownBody?: { readonly type: string; readonly schema: z.ZodType; readonly bytesMax?: number };
  /** The body is an array that may be as large as this, or come as NDJSON. Up to ITEMS_CHECKED_MAX items are checked;
   *  of more the handler is given what came. */
  readonly itemsBytesMax?: number;
  /** Of a body that may be larger than others. */
  readonly bodyBytesMax?: number;
  readonly answers: Readonly<Record<number, Answer>>;
  /** Which version is changed stands in the body, not in If-Match. */
  readonly versionInBody?: true;
  /** Requests that work against the example organisation (http/examples.ts); each is run by a test. */
  readonly examples?: readonly RouteExample[];
  /** Not told in the document: a path for browsers alone. */
  readonly hidden?: true;
  /** The body in the shape of a dialect; it gives ours. */
  readonly dialect?: { readonly body: z.ZodType };
  /** Other names of parameters: a dialect's → ours. */
  readonly aliases?: Readonly<Record<string, string>>;
}
export interface RouteExample {
  readonly name: string;
  /** Who asks; an owner of the organisation if left out. Nobody says who they are. */
  readonly as?: 'administrator' | 'member' | 'invited' | 'thing' | 'nobody';
  readonly parameters?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly status: number;
}
/** A route with the types of its query and body erased. */
export interface Route {
  readonly specification: RouteSpecification<z.ZodObject, z.ZodType>;
  handle(call: Call<unknown, unknown>, plane: Plane): Promise<Response> | Response;
}

/** One operation: what OpenAPI tells of it, what is checked, and what answers. */
export function route<Q extends z.ZodObject, B extends z.ZodType>(
  specification: RouteSpecification<Q, B>,
  handle: (call: Call<z.output<Q>, z.output<B>>, plane: Plane) => Promise<Response> | Response,
): Route {
  return {
    specification: specification as unknown as Route['specification'],
    handle: handle as Route['handle'],
  };
}

/** The query of a URL by a schema; a parameter that is given twice counts as wrong.
 *  @throws Refusal 400 that names the parameter */
export function checkQuery(
  schema: z.ZodObject | undefined,
  url: URL,
  aliases: Readonly<Record<string, string>> = {},
): unknown {
  if (schema === undefined) return {};
  const given: Record<string, string> = {};
  for (const name of Object.keys(schema.shape)) {
    const values = url.searchParams.getAll(name);
    if (values.length > 1) throw new Refusal(400, `The parameter "${name}" is given more than once.`);
    if (values[0] !== undefined) given[name] = values[0];
  }
  for (const [alias, name] of Object.entries(aliases)) {
    const value = url.searchParams.get(alias);
    if (value !== null) given[name] ??= value;
  }
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Refusal(400, `The parameter "${issue?.path.join('.')}" is wrong: ${issue?.message}.`);
}

const BODY_BYTES_MAX = 4 * 1024 * 1024;
const BODY_DEPTH_MAX = 100;
export const ITEMS_CHECKED_MAX = 1_000;

/** The JSON body of a request by a schema.
 *  @throws Refusal 400 malformed, 413 too large, 415 not JSON, 422 wrong, with the path of what is wrong */
export async function checkBody(
  {
    body: schema,
    dialect,
    itemsBytesMax,
    bodyBytesMax = BODY_BYTES_MAX,
  }: Pick<Route['specification'], 'body' | 'dialect' | 'itemsBytesMax' | 'bodyBytesMax'>,
  request: Request,
): Promise<unknown> {
  if (schema === undefined) return undefined;
  const value =
    itemsBytesMax === undefined
      ? parse(await readText(request, bodyBytesMax, isJson))
      : await readItems(request, itemsBytesMax);
  if (itemsBytesMax !== undefined && Array.isArray(value) && value.length > ITEMS_CHECKED_MAX) return value;
  // Schemas that hold themselves walk a body by recursion.
  if (isDeeper(value, BODY_DEPTH_MAX))
    throw new Refusal(422, `The body is wrong: it is nested deeper than ${BODY_DEPTH_MAX} levels.`);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  // A dialect's shape counts only where it fits whole: what is wrong is told in our own words.
  const translated = dialect?.body.safeParse(value);
  if (translated?.success) return translated.data;
  throw wrongBody(result.error);
}

async function readItems(request: Request, bytesMax: number): Promise<unknown> {
  const text = await readText(request, bytesMax, (type) => isJson(type) || isLines(type));
  if (!isLines(contentType(request))) return parse(text);
  const items: unknown[] = [];
  for (const [index, line] of text.split('\n').entries())
    if (line.trim() !== '') items.push(parse(line, `Line ${index + 1}`));
  return items;
}

const contentType = (request: Request): string =>
  request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
const isJson = (type: string): boolean =>
  type === '' || type === 'application/json' || /^application\/[a-z0-9.-]+\+json$/.test(type);
const isLines = (type: string): boolean => type === 'application/x-ndjson' || type === 'application/jsonl';

function parse(text: string, what = 'The body'): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refusal(400, text.trim() === '' ? 'A JSON body is missing.' : `${what} is no well-formed JSON.`);
  }
}

/** What is wrong with a body, with the paths. */
export const wrongBody = (error: z.ZodError): Refusal => new Refusal(422, `The body is wrong: ${issuesText(error)}.`);

export function issuesText({ issues }: z.ZodError): string {
  const told = issues.slice(0, 5).map((issue) => {
    const unknown = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
    const path = [...issue.path, ...(unknown === undefined ? [] : [unknown])].map(String).join('.');
    const what = unknown === undefined ? issue.message : 'unknown field';
    return path === '' ? what : `${path}: ${what}`;
  });
  return told.join('; ');
}

async function readText(request: Request, bytesMax: number, takes: (type: string) => boolean): Promise<string> {
  const type = contentType(request);
  if (!takes(type)) throw new Refusal(415, `The body must be application/json, not ${type.slice(0, 100)}.`);
  if (request.body === null) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > bytesMax) throw new Refusal(413, `The body is larger than ${bytesMax} bytes.`);
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new Refusal(400, 'The body is no well-formed UTF-8.');
  }
}

export function json(status: number, value: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  const text = JSON.stringify(value);
  // Said, so that nobody has to look whether it is worth compressing.
  const length = String(Buffer.byteLength(text));
  return new Response(text, {
    status,
    headers: { 'content-type': 'application/json', 'content-length': length, ...headers },
  });
}
export const noContent = (headers: Readonly<Record<string, string>> = {}): Response =>
  new Response(null, { status: 204, headers: { ...headers } });
