import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Actor, actingAs, currentActor, setActor } from './actor.ts';

const named = (name: string): Actor => ({
  kind: 'user',
  id: name,
  name,
  via: null,
  address: null,
  protocol: null,
});
/** Who is behind it, before and after waiting. */
const ask = async (): Promise<(string | null)[]> => {
  const before = currentActor().id;
  await setImmediate();
  return [before, currentActor().id];
};

test('each request keeps its own actor while others come and go', async () => {
  const long = actingAs(named('long'), async () => {
    const seen: (string | null)[] = [];
    for (let turn = 0; turn < 50; turn++) seen.push(...(await ask()));
    return seen;
  });
  for (let index = 0; index < 20; index++)
    expect(await actingAs(named(`short-${index}`), ask)).toEqual([`short-${index}`, `short-${index}`]);
  expect(new Set(await long)).toEqual(new Set(['long']));
});

test('when nobody asks any more it is the platform itself, and the next request is told apart again', async () => {
  await expect(actingAs(named('one'), () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await ask()).toEqual([null, null]);
  const inner = await actingAs(named('outer'), async () => {
    const seen = [await actingAs(named('inner'), ask), await ask()];
    setActor(named('later'));
    return [...seen, await ask()];
  });
  expect(inner).toEqual([
    ['inner', 'inner'],
    ['outer', 'outer'],
    ['later', 'later'],
  ]);
});
