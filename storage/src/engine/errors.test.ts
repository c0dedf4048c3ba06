import { expect, test } from 'vitest';
import { insertError, isElsewhere, queryError } from './errors.ts';
import { Turnstile } from './turnstile.ts';

const engineError = (code: number, type: string, message = '') =>
  Object.assign(new Error(`Code: ${code}. DB::Exception: ${message} (${type})`), { code: String(code), type });

test.each([
  [engineError(33, 'CANNOT_READ_ALL_DATA'), 'STORE_REFUSED', 'never'],
  [engineError(53, 'TYPE_MISMATCH'), 'STORE_REFUSED', 'never'],
  [engineError(252, 'TOO_MANY_PARTS', 'Too many partitions for single INSERT block'), 'STORE_REFUSED', 'never'],
  [engineError(252, 'TOO_MANY_PARTS', 'Too many parts (3000)'), 'STORE_UNREACHABLE', 'later'],
  [engineError(241, 'MEMORY_LIMIT_EXCEEDED'), 'STORE_UNREACHABLE', 'later'],
  [engineError(243, 'NOT_ENOUGH_SPACE'), 'STORE_UNREACHABLE', 'later'],
  [engineError(16, 'NO_SUCH_COLUMN_IN_TABLE'), 'STORE_UNREACHABLE', 'later'],
  [engineError(242, 'TABLE_IS_READ_ONLY'), 'STORE_UNREACHABLE', 'later'],
  [engineError(254, 'NO_ACTIVE_REPLICAS'), 'STORE_UNREACHABLE', 'later'],
  [engineError(319, 'UNKNOWN_STATUS_OF_INSERT'), 'STORE_UNREACHABLE', 'later'],
  [engineError(999, 'KEEPER_EXCEPTION'), 'STORE_UNREACHABLE', 'later'],
  [engineError(202, 'TOO_MANY_SIMULTANEOUS_QUERIES'), 'STORE_UNREACHABLE', 'later'],
  [Object.assign(new Error('write'), { code: 'ENOSPC' }), 'STORE_UNREACHABLE', 'later'],
  [Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }), 'STORE_UNREACHABLE', 'later'],
  ['not even an error', 'STORE_UNREACHABLE', 'later'],
])('an insert that fails with %s is %s', (error, code, retry) => {
  expect(insertError(error, { table: 'readings' })).toMatchObject({ code, retry, facts: { table: 'readings' } });
});

test.each([
  [engineError(159, 'TIMEOUT_EXCEEDED'), 'STORE_QUERY_TOO_EXPENSIVE'],
  [engineError(241, 'MEMORY_LIMIT_EXCEEDED'), 'STORE_QUERY_TOO_EXPENSIVE'],
  [engineError(457, 'BAD_QUERY_PARAMETER'), 'STORE_QUERY_INVALID'],
  [Object.assign(new Error('read'), { code: 'ECONNRESET' }), 'STORE_UNREACHABLE'],
])('a question that fails with %s is %s', (error, code) => {
  expect(queryError(error, 'readings').code).toBe(code);
});

test.each([
  [engineError(242, 'TABLE_IS_READ_ONLY'), true],
  [engineError(999, 'KEEPER_EXCEPTION'), true],
  [engineError(319, 'UNKNOWN_STATUS_OF_INSERT'), true],
  [engineError(60, 'UNKNOWN_TABLE'), true],
  [new Error('503 Service Unavailable'), true],
  [Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }), true],
  [engineError(27, 'CANNOT_PARSE'), false],
  [engineError(159, 'TIMEOUT_EXCEEDED'), false],
  [engineError(62, 'SYNTAX_ERROR'), false],
  [insertError(new Error('x'), {}), false],
])('after %s another server is asked: %s', (error, elsewhere) => {
  expect(isElsewhere(error)).toBe(elsewhere);
});

test('does not repeat the engine’s words, which may quote rows', () => {
  expect(insertError(engineError(27, 'CANNOT_PARSE', 'secret of a tenant'), {}).message).not.toContain('secret');
});

test('lets so many through, so many wait in order, and refuses the rest at once', async () => {
  const turnstile = new Turnstile('queries', 1, 2);
  const order: number[] = [];
  const gates: (() => void)[] = [];
  const work = (index: number) => async () => {
    await new Promise<void>((resolve) => gates.push(resolve));
    order.push(index);
  };
  const passed = [0, 1, 2].map((index) => turnstile.pass(work(index)));
  await expect(turnstile.pass(work(3))).rejects.toMatchObject({ code: 'STORE_UNREACHABLE', retry: 'later' });
  for (let done = 0; done < 3; done++) {
    while (gates.length === 0) await Promise.resolve();
    gates.shift()?.();
    await passed[done];
  }
  await Promise.all(passed);
  await turnstile.idle();
  expect(order).toEqual([0, 1, 2]);
  await expect(turnstile.pass(() => Promise.reject(new Error('x')))).rejects.toThrow('x');
  expect(turnstile.running).toBe(0);
});
