import { conditions, type DeleteOptions, List, type UpdateOptions } from '../collection.ts';
import type { BodyOf, Json, QueryOf, Schema } from '../schema.ts';
import type { CallOptions, Transport } from '../transport.ts';
import { rowsOf } from './lines.ts';
import type { FileForm } from './readings.ts';

export type SqlAnswer = Schema<'SqlAnswer'>;
export type SqlSchema = Schema<'SqlSchema'>;
export type SavedQuery = Schema<'SavedQuery'>;
/** Values of `{name:Type}` in a statement: they never become part of its text. */
export type SqlParameters = NonNullable<BodyOf<'/sql', 'post'>['parameters']>;

/** SQL over the organisation's own rows. */
export interface Sql {
  /** The answer as a whole. */
  (query: string, parameters?: SqlParameters, options?: CallOptions): Promise<SqlAnswer>;
  /** Its rows, as they come. */
  rows<Row = Json>(
    query: string,
    parameters?: SqlParameters,
    options?: CallOptions,
  ): AsyncGenerator<Row, void, undefined>;
  /** The answer as a file; its body is read as fast as it is taken. */
  stream(query: string, form: FileForm, parameters?: SqlParameters, options?: CallOptions): Promise<Response>;
  /** Tables, columns and functions that statements may name, and your limits. */
  schema(options?: CallOptions): Promise<SqlSchema>;
}

export function sqlBy(transport: Transport): Sql {
  const stream: Sql['stream'] = (query, form, parameters, options) =>
    transport.stream('POST', '/sql', {
      ...options,
      body: { query, parameters, format: form },
      headers: { accept: '*/*', ...options?.headers },
      repeatable: true,
    });
  const ask = (query: string, parameters?: SqlParameters, options: CallOptions = {}): Promise<SqlAnswer> =>
    transport.call('POST', '/sql', { ...options, body: { query, parameters }, repeatable: true });
  return Object.assign(ask, {
    async *rows<Row = Json>(query: string, parameters?: SqlParameters, options?: CallOptions) {
      yield* rowsOf<Row>(await stream(query, 'ndjson', parameters, options));
    },
    stream,
    schema: (options: CallOptions = {}): Promise<SqlSchema> => transport.call('GET', '/sql/schema', options),
  });
}

/** Statements with a name. */
export class SavedQueries extends List<'queries', SavedQuery, QueryOf<'/sql/queries'>> {
  constructor(transport: Transport) {
    super(transport, '/sql/queries', 'queries');
  }

  get(id: string, options: CallOptions = {}): Promise<SavedQuery> {
    return this.call('GET', this.at(id), options);
  }

  create(body: BodyOf<'/sql/queries', 'post'>, options: CallOptions = {}): Promise<SavedQuery> {
    return this.call('POST', this.path, { ...options, body });
  }

  replace(
    id: string,
    body: BodyOf<'/sql/queries/{id}', 'put'>,
    { ifVersion, ...options }: UpdateOptions = {},
  ): Promise<SavedQuery> {
    const headers = conditions(ifVersion, options.headers);
    return this.call('PUT', this.at(id), { ...options, body, headers });
  }

  async delete(id: string, options: Omit<DeleteOptions, 'cascade'> = {}): Promise<void> {
    await this.call('DELETE', this.at(id), options);
  }

  /** @param parameters over those that are saved */
  run(id: string, parameters: SqlParameters = {}, options: CallOptions = {}): Promise<SqlAnswer> {
    return this.call('POST', this.at(id, 'run'), { ...options, body: { parameters }, repeatable: true });
  }

  /** The answer as a file. */
  stream(id: string, form: FileForm, parameters: SqlParameters = {}, options: CallOptions = {}): Promise<Response> {
    return this.transport.stream('POST', this.at(id, 'run'), {
      ...options,
      body: { parameters, format: form },
      headers: { accept: '*/*', ...options.headers },
      repeatable: true,
    });
  }
}
