import { expect, test } from 'vitest';
import { MemoryLog } from '../../testing/memory-log.ts';
import { MemoryShareGroups } from './testing/memory-stores.ts';
import { Stage, type TestClient, until } from './testing/stage.ts';

const SHARED = '$share/g/channels/chan-a/messages';
const WAIT_MS = 20_000;

const all = (clients: readonly TestClient[]): string[] => clients.flatMap(({ texts }) => texts).toSorted();
const numbered = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `m${from + index}`).toSorted();

async function publish(stage: Stage, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index++) await stage.publish('chan-a', '', `m${index}`);
}

/** Two nodes over one log, the first of which reads the group's partition. */
function open(parts: readonly [number, number] = [1, 0]) {
  const groups = new MemoryShareGroups();
  groups.parts.set('a', parts[0]).set('b', parts[1]);
  const log = new MemoryLog(2);
  const a = new Stage({ log, shareGroups: groups.of('a') });
  const b = new Stage({ log, shareGroups: groups.of('b'), gate: a.gate });
  return { groups, a, b };
}

test('members of another node get nothing of a partition that is not theirs', async () => {
  const { a, b } = open();
  await using _a = a;
  await using _b = b;
  const [one, two] = [await a.connect('one'), await b.connect('two')];
  for (const client of [one, two]) expect(await client.subscribe(SHARED)).toBe(1);
  await publish(a, 0, 20);
  await until('all came', () => one.texts.length === 20);
  expect(two.texts).toEqual([]);
});

test('a partition goes over while messages come, and none is lost or given twice', async () => {
  const { groups, a, b } = open();
  await using _a = a;
  await using _b = b;
  const [one, two] = [await a.connect('one'), await b.connect('two')];
  for (const client of [one, two]) await client.subscribe(SHARED);
  await publish(a, 0, 10);
  groups.parts.set('a', 0).set('b', 1);
  let next = 10;
  while (two.texts.length < 10) {
    await publish(a, next, next + 5);
    next += 5;
    await new Promise((resolve) => setTimeout(resolve, 50));
    if (next > 5_000) throw new Error('it did not go over');
  }
  await until('all came', () => all([one, two]).length >= next, WAIT_MS);
  expect(all([one, two])).toEqual(numbered(0, next));
});

test('what a member has not acknowledged is waited for, then given by who takes over', async () => {
  const { groups, a, b } = open();
  await using _a = a;
  await using _b = b;
  const [one, two] = [await a.connect('one', { acks: false }), await b.connect('two')];
  for (const client of [one, two]) await client.subscribe(SHARED);
  await publish(a, 0, 10);
  await until('all came', () => one.texts.length === 10);
  for (const packet of one.publishes.slice(0, 4)) one.acknowledge(packet);
  groups.parts.set('a', 0).set('b', 1);
  await publish(a, 10, 15);
  await until('the others go to the other', () => two.texts.length === 11, WAIT_MS);
  expect(two.texts.toSorted()).toEqual(numbered(4, 15));
}, 60_000);

test('when a node dies, another goes on from where everything was acknowledged', async () => {
  const { groups, a, b } = open();
  await using _b = b;
  const [one, two] = [await a.connect('one', { acks: false }), await b.connect('two')];
  for (const client of [one, two]) await client.subscribe(SHARED);
  await publish(a, 0, 10);
  await until('all came', () => one.texts.length === 10);
  for (const packet of one.publishes.slice(0, 3)) one.acknowledge(packet);
  await until('it has told how far it came', () => [...groups.cursors.values()][0]?.offset === 3, WAIT_MS);
  groups.parts.set('a', 0).set('b', 1);
  await a.kill();
  groups.bury('a');
  await publish(b, 10, 15);
  await until('the other has the rest', () => two.texts.length === 12, WAIT_MS);
  expect(two.texts.toSorted()).toEqual(numbered(3, 15));
}, 60_000);

test('with the store away a group begins, and reads everything', async () => {
  const { groups, a, b } = open();
  await using _a = a;
  await using _b = b;
  groups.away = true;
  const two = await b.connect('two');
  expect(await two.subscribe(SHARED)).toBe(1);
  await publish(b, 0, 10);
  await until('all came', () => two.texts.length === 10, WAIT_MS);
  groups.away = false;
});
