import { List, Switchable } from '../collection.ts';
import type { BodyOf, Page, QueryOf, Schema } from '../schema.ts';
import { type CallOptions, type Query, segment, type Transport } from '../transport.ts';

export type Policy = Schema<'Policy'>;
export type NewPolicy = BodyOf<'/policies', 'post'>;
export type PolicyPatch = BodyOf<'/policies/{id}', 'patch'>;
export type ApiKey = Schema<'ApiKey'>;
/** With its secret, which is told this once. */
export type MadeApiKey = Schema<'NewApiKey'> & ApiKey & { readonly secret: string };
export type NewApiKey = BodyOf<'/keys', 'post'>;
export type AuditEntry = Schema<'AuditEntry'>;
export type AttachmentKind = 'user' | 'thing' | 'app' | 'group' | 'role';

export class Policies extends Switchable<'policies', Policy, NewPolicy, PolicyPatch, QueryOf<'/policies'>> {
  constructor(transport: Transport) {
    super(transport, '/policies', 'policies');
  }

  versions(id: string, query?: Query, options: CallOptions = {}): Promise<Page<'versions', Schema<'PolicyVersion'>>> {
    return this.call('GET', this.at(id, 'versions'), { ...options, query });
  }

  version(id: string, version: number, options: CallOptions = {}): Promise<Schema<'PolicyVersion'>> {
    return this.call('GET', this.at(id, 'versions', String(version)), options);
  }

  /** The statements of an earlier version, as a new one. */
  rollBack(id: string, version: number, options: CallOptions = {}): Promise<Policy> {
    return this.call('POST', this.at(id, 'rollback'), { ...options, body: { version } });
  }

  attachments(
    id: string,
    query?: Query,
    options: CallOptions = {},
  ): Promise<Page<'attachments', Schema<'Attachment'>>> {
    return this.call('GET', this.at(id, 'attachments'), { ...options, query });
  }

  async attach(id: string, kind: AttachmentKind, target: string, options: CallOptions = {}): Promise<void> {
    await this.call('PUT', this.at(id, 'attachments', kind, segment(target)), options);
  }

  async detach(id: string, kind: AttachmentKind, target: string, options: CallOptions = {}): Promise<void> {
    await this.call('DELETE', this.at(id, 'attachments', kind, segment(target)), options);
  }

  /** Judges a request that never happened, and tells the statement that decided. */
  simulate(request: BodyOf<'/policies/simulate', 'post'>, options: CallOptions = {}): Promise<Schema<'Decision'>> {
    return this.call('POST', `${this.path}/simulate`, { ...options, body: request });
  }
}

export class ApiKeys extends Switchable<
  'keys',
  ApiKey,
  NewApiKey,
  BodyOf<'/keys/{id}', 'patch'>,
  QueryOf<'/keys'>,
  MadeApiKey
> {
  constructor(transport: Transport) {
    super(transport, '/keys', 'keys');
  }
}

export class Audit extends List<'entries', AuditEntry, QueryOf<'/audit'>> {
  constructor(transport: Transport) {
    super(transport, '/audit', 'entries');
  }

  /** All of it, as it comes. */
  export(format: 'ndjson' | 'csv', query: Query = {}, options: CallOptions = {}): Promise<Response> {
    const headers = { accept: format === 'csv' ? 'text/csv' : 'application/x-ndjson', ...options.headers };
    return this.transport.stream('GET', `${this.path}/export`, { ...options, headers, query: { ...query, format } });
  }
}
