import { Switchable } from '../collection.ts';
import type { BodyOf, Json, QueryOf, Schema } from '../schema.ts';
import type { CallOptions, Query, Transport } from '../transport.ts';

export type Webhook = Schema<'Webhook'>;

/** Messages of channels that are sent to URLs. Making one, and a new secret, tell the secret this once. */
export class Webhooks extends Switchable<
  'webhooks',
  Webhook,
  BodyOf<'/webhooks', 'post'>,
  BodyOf<'/webhooks/{id}', 'patch'>,
  QueryOf<'/webhooks'>
> {
  constructor(transport: Transport) {
    super(transport, '/webhooks', 'webhooks');
  }

  /** How far it has come. */
  status(id: string, options: CallOptions = {}): Promise<Json> {
    return this.call('GET', this.at(id, 'status'), options);
  }

  /** Makes one request, and tells how it went. */
  test(id: string, options: CallOptions = {}): Promise<Json> {
    return this.call('POST', this.at(id, 'test'), options);
  }

  /** The old one signs for another day. */
  rotateSecret(id: string, body: BodyOf<'/webhooks/{id}/secret', 'post'> = {}, options: CallOptions = {}) {
    return this.call<Json>('POST', this.at(id, 'secret'), { ...options, body });
  }

  /** The last requests. */
  deliveries(id: string, query: Query = {}, options: CallOptions = {}): Promise<Json> {
    return this.call('GET', this.at(id, 'deliveries'), { ...options, query });
  }

  /** Requests that were given up, the oldest first. */
  letters(id: string, query: Query = {}, options: CallOptions = {}): Promise<Json> {
    return this.call('GET', this.at(id, 'letters'), { ...options, query });
  }

  /** Sends again what was given up. */
  replay(id: string, body: BodyOf<'/webhooks/{id}/replay', 'post'> = {}, options: CallOptions = {}): Promise<Json> {
    return this.call('POST', this.at(id, 'replay'), { ...options, body });
  }
}
