import type { components, paths } from './generated/api.ts';

/** A JSON object whose members this version of the client does not know. */
export type Json = { readonly [member: string]: unknown };

type Schemas = components['schemas'];

/** A schema of the API by its name; any JSON object where the API of this version has none. */
export type Schema<Name extends string> = Name extends keyof Schemas ? Schemas[Name] : Json;

type Operation<Path extends string, Method extends string> = Path extends keyof paths
  ? Method extends keyof paths[Path]
    ? paths[Path][Method]
    : unknown
  : unknown;

/** What an operation takes as its JSON body. */
export type BodyOf<Path extends string, Method extends string> =
  Operation<Path, Method> extends { requestBody: { content: { 'application/json': infer Body } } } ? Body : Json;

/** What an operation takes as its query. Numbers, booleans, dates and objects may be given as such. */
export type QueryOf<Path extends string, Method extends string = 'get'> =
  Operation<Path, Method> extends { parameters: { query?: infer Query } } ? Loose<NonNullable<Query>> : Json;

type Loose<Query> = {
  readonly [Name in keyof Query]?: Query[Name] | (string extends NonNullable<Query[Name]> ? Given : never) | undefined;
};
type Given = number | boolean | Date | object;

/** A page of a list, as the API answers it. */
export type Page<Items extends string, One> = {
  readonly total: number;
  readonly offset: number;
  readonly limit: number;
  readonly cursor?: string;
} & { readonly [Name in Items]: readonly One[] };
