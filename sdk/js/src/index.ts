export type * from './asking/live.ts';
export type * from './asking/readings.ts';
export type * from './asking/sql.ts';
export { type Client, type ClientOptions, createClient, type TypedCall } from './client.ts';
export type { Collection, DeleteOptions, List, ManyOptions, Switchable, UpdateOptions } from './collection.ts';
export type * from './entities/access.ts';
export type * from './entities/data.ts';
export type * from './entities/devices.ts';
export type * from './entities/inventory.ts';
export type * from './entities/outward.ts';
export type * from './entities/people.ts';
export type * from './entities/platform.ts';
export * from './error.ts';
export type { components, operations, paths } from './generated/api.ts';
export {
  bytesOf,
  type LiveMessage,
  type Payload,
  type PublishOptions,
  type SubscribeOptions,
} from './messages/message.ts';
export type { Messages, Reading, ReadingsQuery } from './messages/messages.ts';
export type { RetryOptions } from './retry.ts';
export type { BodyOf, Json, Page, QueryOf, Schema } from './schema.ts';
export type { AuthOptions, TokenStore, Tokens } from './session.ts';
export type { CallOptions, Query } from './transport.ts';
export type { WaitOptions } from './waiting.ts';
