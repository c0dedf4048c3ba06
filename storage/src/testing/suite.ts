import type { Questions, ReadingsQuery, ReadingsStore, StoredStream } from '@millrace/core';
import { RECEIVED_US } from './batches.ts';

/** What a suite needs of a test runner: vitest, or node:test. */
export interface Runner {
  describe(name: string, body: () => void): void;
  test(name: string, body: () => Promise<void>): void;
  beforeAll(work: () => Promise<void>): void;
  afterAll(work: () => Promise<void>): void;
}
export interface OpenedStore {
  readonly store: ReadingsStore & { readonly questions: Questions; readonly stream: StoredStream };
  /** Rows of a statement in the store's own database. */
  rows<Row>(statement: string): Promise<Row[]>;
  close(): Promise<void>;
}

export const T0 = RECEIVED_US;
/** The newest page of a channel, or what else a test makes of it. */
export const newest = (channel: string, more: Partial<ReadingsQuery> = {}): ReadingsQuery => ({
  org: 'acme',
  channel,
  offset: 0,
  limit: 10,
  order: 'time',
  direction: 'desc',
  total: 'estimate',
  ...more,
});
