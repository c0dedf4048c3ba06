import { describe, expect, test } from 'vitest';
import { retryAfterMs } from './error.ts';
import { isRepeatable, isTransient, pause, pauseMs, RETRIES } from './retry.ts';

describe('when a request is sent again', () => {
  test('only what does the same when it is done twice, or bears an Idempotency-Key', () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'get']) expect(isRepeatable(method, new Headers())).toBe(true);
    for (const method of ['POST', 'PATCH']) expect(isRepeatable(method, new Headers())).toBe(false);
    expect(isRepeatable('POST', new Headers({ 'Idempotency-Key': '1' }))).toBe(true);
  });

  test('429 was not carried out, so anything may be sent again; 503 may have been', () => {
    expect(isTransient(429, false)).toBe(true);
    expect(isTransient(503, false)).toBe(false);
    expect(isTransient(503, true)).toBe(true);
    expect(isTransient(500, true)).toBe(false);
    expect(isTransient(404, true)).toBe(false);
  });

  test('pauses grow, with jitter, to a bound', () => {
    const shortest = [1, 2, 3].map((attempt) => pauseMs(attempt, RETRIES, null, 0));
    const longest = [1, 2, 3].map((attempt) => pauseMs(attempt, RETRIES, null, 1));
    expect(shortest).toEqual([125, 250, 500]);
    expect(longest).toEqual([250, 500, 1_000]);
    expect(pauseMs(30, { ...RETRIES, tries: 100 }, null, 1)).toBe(RETRIES.pauseMsMax);
    expect(pauseMs(4, RETRIES, null, 0)).toBe(null);
  });

  test('Retry-After is kept to, and too long a one ends the tries', () => {
    expect(pauseMs(1, RETRIES, 2_000, 0)).toBe(2_000);
    expect(pauseMs(1, RETRIES, RETRIES.pauseMsMax + 1, 0)).toBe(null);
  });

  test.each([
    ['2', 2_000],
    ['0', 0],
    [null, null],
    ['', null],
    ['soon', null],
    ['Thu, 01 Jan 1970 00:00:05 GMT', 4_000],
  ])('Retry-After %j is %j ms', (value, ms) => {
    expect(retryAfterMs(value, 1_000)).toBe(ms);
  });

  test('a signal ends a pause', async () => {
    const stop = new AbortController();
    const paused = pause(3_600_000, stop.signal);
    stop.abort(new Error('enough'));
    await expect(paused).rejects.toThrow('enough');
    await expect(pause(1, stop.signal)).rejects.toThrow('enough');
  });
});
