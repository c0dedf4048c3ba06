import { createLogger, createMetrics, Protocol, uuidV7 } from '@millrace/core';
import { bench, describe } from 'vitest';
import type { Database } from '../database/database.ts';
import { createPresence } from './presence.ts';

const nothing = { query: async () => [] } as unknown as Database;
const logger = createLogger({ level: 'silent' });
const presence = createPresence({
  database: nothing,
  node: uuidV7(),
  now: Date.now,
  metrics: createMetrics(),
  logger,
  everyMs: 60_000,
});
const things = Array.from({ length: 1_024 }, () => uuidV7());
const floor = new Map(things.map((thing) => [thing, { atMs: 0 }]));
const ROUND = 1_000;
let at = 0;

describe('a thousand signs of life', () => {
  bench('seen', () => {
    for (let index = 0; index < ROUND; index++)
      presence.seen(things[at++ & 1_023] ?? '', 'org', Protocol.mqtt, '192.0.2.1', 1_000);
  });
  bench('floor: a look-up and an assignment', () => {
    for (let index = 0; index < ROUND; index++) {
      const entry = floor.get(things[at++ & 1_023] ?? '');
      if (entry !== undefined) entry.atMs = 1_000;
    }
  });
});
