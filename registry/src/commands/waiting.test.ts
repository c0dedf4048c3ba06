import { createLogger, uuidV7 } from '@millrace/core';
import { expect, test } from 'vitest';
import { Waiting } from './waiting.ts';

test('an organisation whose devices are all asleep leaves room for others to wait for theirs', async () => {
  const waiting = new Waiting({ query: async () => [] }, createLogger({ level: 'silent' }));
  const wait = (org: string, id = uuidV7()) => waiting.ended({ id, org }, 60_000);
  const all = Array.from({ length: 500 }, () => wait('asleep'));
  expect(waiting.count).toBe(500);
  await wait('asleep');
  const heard = uuidV7();
  const other = wait('other', heard);
  expect(waiting.count).toBe(501);
  waiting.tell(heard);
  await other;
  expect(waiting.count).toBe(500);
  waiting.stop();
  await Promise.all(all);
  expect(waiting.count).toBe(0);
});
