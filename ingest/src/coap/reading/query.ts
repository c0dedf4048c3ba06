import { protocolNames, type ReadingsQuery } from '@millrace/core';
import { Decoder } from 'cbor-x';
import { z } from 'zod';
import { Format } from '../message/message.ts';

const LIMIT = 100;
const PROBLEMS_MAX = 4;
const TEXT_CHARACTERS_MAX = 1_024;
const RFC3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

const word = z
  .string()
  .max(TEXT_CHARACTERS_MAX)
  .refine((text) => !text.includes('\0'), 'holds a character that cannot be kept');
/** @units in: s since 1970, or RFC 3339; out: µs */
const time = z.union([z.number(), z.string().regex(RFC3339)]).transform((given, context) => {
  const us = Math.round(typeof given === 'number' ? given * 1e6 : Date.parse(given) * 1_000);
  if (Number.isSafeInteger(us)) return BigInt(us);
  context.addIssue({ code: 'custom', message: 'is no time' });
  return z.NEVER;
});

/** What a FETCH may ask: the parameters of `GET /channels/<id>/messages`, in their own types. */
const Query = z.strictObject({
  name: word.optional(),
  subtopic: word.optional(),
  publisher: word.optional(),
  protocol: z.enum(protocolNames).optional(),
  from: time.optional(),
  to: time.optional(),
  v: z.number().optional(),
  vs: word.optional(),
  vb: z.boolean().optional(),
  comparator: z.enum(['eq', 'lt', 'le', 'gt', 'ge']).optional(),
  order: z.enum(['time', 'name']).optional(),
  dir: z.enum(['asc', 'desc']).optional(),
  offset: z.int().min(0).max(1_000_000).optional(),
  limit: z.int().min(1).max(1_000).optional(),
});
export type FetchQuery = z.output<typeof Query>;

export type ReadQuery =
  | { readonly kind: 'query'; readonly query: FetchQuery }
  /** The payload is not what its format says. */
  | { readonly kind: 'malformed' }
  /** It asks for what there is not. */
  | { readonly kind: 'unprocessable'; readonly detail: string }
  | { readonly kind: 'format' };

const decoder = new Decoder({ useRecords: false, mapsAsObjects: true });

/** Reads the payload of a FETCH. An empty one asks for the newest readings.  @throws never */
export function readQuery(payload: Buffer, format: number | null): ReadQuery {
  let value: unknown;
  try {
    if (payload.length === 0) value = {};
    else if (format === Format.Cbor) value = decoder.decode(payload);
    else if (format === null || format === Format.Json) {
      value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
    } else return { kind: 'format' };
  } catch {
    return { kind: 'malformed' };
  }
  const read = Query.safeParse(value);
  if (read.success) return { kind: 'query', query: read.data };
  const problems = read.error.issues.slice(0, PROBLEMS_MAX);
  return {
    kind: 'unprocessable',
    detail: problems.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '),
  };
}

/** What the store is asked.  @param subtopic the one that the client may read; undefined: it may read all of them */
export function readingsQuery(
  query: FetchQuery,
  org: string,
  channel: string,
  subtopic: string | undefined,
): ReadingsQuery {
  const { comparator = 'eq', order = 'time', v, vs, vb } = query;
  return {
    org,
    channel,
    offset: query.offset ?? 0,
    limit: query.limit ?? LIMIT,
    order,
    direction: query.dir ?? (order === 'time' ? 'desc' : 'asc'),
    total: 'estimate',
    ...(query.name === undefined ? {} : { name: query.name }),
    ...(subtopic === undefined ? {} : { subtopic }),
    ...(query.publisher === undefined ? {} : { publisher: query.publisher }),
    ...(query.protocol === undefined ? {} : { protocol: query.protocol }),
    ...(query.from === undefined ? {} : { fromUs: query.from }),
    ...(query.to === undefined ? {} : { toUs: query.to }),
    ...(v === undefined ? {} : { value: { comparator, operand: v } }),
    ...(vs === undefined ? {} : { stringValue: { comparator, operand: vs } }),
    ...(vb === undefined ? {} : { boolValue: vb }),
  };
}
