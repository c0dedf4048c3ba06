import type { Log } from '@millrace/core';
import { afterEach, expect, test, vi } from 'vitest';
import { MemoryLog } from '../../testing/memory-log.ts';
import { EarlierPublishes } from './earlier-publishes.ts';

const MINUTE_MS = 60_000;
afterEach(() => {
  vi.useRealTimers();
});

test('what was found on the log is forgotten in time, however often it is asked for', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const log = new MemoryLog(1);
  log.append(0, 'channel', new Uint8Array(8), { appended: () => {}, refused: () => {} });
  log.commit();
  const earlier = new EarlierPublishes(log as unknown as Log);
  const asked = { publisher: 'thing', clientId: 'one', packetId: 1, partition: 0, channel: 'c', subtopic: '' };
  const readsAt = async (): Promise<number> => {
    expect(await earlier.find({ ...asked, payload: new Uint8Array() })).toBeNull();
    return log.peeked.count;
  };
  const first = await readsAt();
  expect(first).toBeGreaterThan(0);
  expect(await readsAt(), 'it is remembered').toBe(first);
  for (let minute = 0; minute < 4; minute++) {
    vi.advanceTimersByTime(MINUTE_MS);
    expect(await readsAt()).toBe(first);
  }
  vi.advanceTimersByTime(2 * MINUTE_MS);
  expect(await readsAt(), 'it is read anew').toBeGreaterThan(first);
  earlier.stop();
});
