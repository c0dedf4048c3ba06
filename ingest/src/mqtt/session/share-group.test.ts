import { expect, test } from 'vitest';
import { Stage, type TestClient, until, user } from './testing/stage.ts';

const SHARED = '$share/g/channels/chan-a/messages/#';

const all = (clients: readonly TestClient[]): string[] => clients.flatMap(({ texts }) => texts).toSorted();
const numbered = (count: number): string[] => Array.from({ length: count }, (_, index) => `m${index}`).toSorted();

async function publish(stage: Stage, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index++) await stage.publish('chan-a', '', `m${index}`);
}

test('gives each message to one member of a group, in turn, and all to who is not in it', async () => {
  await using stage = new Stage();
  const members: TestClient[] = [];
  for (const name of ['one', 'two', 'three']) {
    const client = await stage.connect(name);
    expect(await client.subscribe(SHARED)).toBe(1);
    members.push(client);
  }
  const alone = await stage.connect('alone');
  await alone.subscribe('channels/chan-a/messages');
  const others = await stage.connect('others');
  await others.subscribe('$share/h/channels/chan-a/messages');
  await publish(stage, 0, 30);
  await until('all came', () => all(members).length === 30 && alone.texts.length === 30 && others.texts.length === 30);
  expect(all(members)).toEqual(numbered(30));
  for (const { texts } of members) expect(texts).toHaveLength(10);
  expect(members[0]?.publishes[0]?.topic).toBe('channels/chan-a/messages');
});

test('passes over a member without room, and waits when none has any', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_IN_FLIGHT_MAX: 2 } });
  const slow = await stage.connect('slow', { acks: false });
  const quick = await stage.connect('quick');
  await slow.subscribe(SHARED);
  await quick.subscribe(SHARED);
  await publish(stage, 0, 20);
  await until('all came', () => all([slow, quick]).length === 20);
  expect(slow.texts).toHaveLength(2);
  quick.acks = false;
  await publish(stage, 20, 30);
  await until('both are full', () => quick.texts.length === 20);
  slow.acks = true;
  for (const packet of slow.publishes) slow.acknowledge(packet);
  await until('all came', () => all([slow, quick]).length === 30);
  expect(all([slow, quick])).toEqual(numbered(30));
});

test('gives what a member left unacknowledged to another', async () => {
  await using stage = new Stage();
  const first = await stage.connect('first', { acks: false, clean: true });
  const kept = await stage.connect('kept', { acks: false });
  const last = await stage.connect('last');
  for (const client of [first, kept, last]) await client.subscribe(SHARED);
  await publish(stage, 0, 30);
  await until('all came', () => all([first, kept, last]).length === 30);
  first.leave();
  kept.leave();
  await until('the last has all', () => last.texts.length === 30);
  expect(last.texts.toSorted()).toEqual(numbered(30));
  await stage.sessions.flush(10_000);
  expect(stage.store.stateOf({ owner: 'many-kept', clientId: 'kept' })?.inFlight).toEqual([]);
  await publish(stage, 30, 35);
  await until('it goes on', () => last.texts.length === 35);
});

test('keeps QoS 2 with the member that will come back for it', async () => {
  await using stage = new Stage();
  const kept = await stage.connect('kept', { acks: false });
  const last = await stage.connect('last');
  for (const client of [kept, last]) await client.subscribe(SHARED, 2);
  for (let index = 0; index < 10; index++) await stage.publish('chan-a', '', `m${index}`, { qos: 2 });
  await until('all came', () => all([kept, last]).length === 10);
  kept.leave();
  await stage.sessions.flush(10_000);
  const again = await stage.connect('kept');
  await until('it has its own again', () => again.texts.length === 5);
  expect(all([again, last])).toEqual(numbered(10));
  expect(again.publishes.every(({ dup }) => dup)).toBe(true);
});

test('goes on where it stood when a member that is kept comes back, though no member was there', async () => {
  await using stage = new Stage();
  const one = await stage.connect('one');
  const two = await stage.connect('two');
  await one.subscribe(SHARED);
  await two.subscribe(SHARED);
  await publish(stage, 0, 10);
  await until('all were acknowledged', () => one.acknowledged + two.acknowledged === 10);
  one.leave();
  await publish(stage, 10, 15);
  await until('the other has them', () => two.acknowledged === 10);
  two.leave();
  await stage.sessions.flush(10_000);
  await publish(stage, 15, 25);
  const again = await stage.connect('one');
  await until('it has what nobody had', () => again.texts.length === 10);
  expect(again.texts.toSorted()).toEqual(Array.from({ length: 10 }, (_, index) => `m${index + 15}`));
});

test('loses nothing when all members leave at once with messages unacknowledged, and come back', async () => {
  await using stage = new Stage();
  const names = ['one', 'two'];
  const before = await Promise.all(names.map((name) => stage.connect(name, { acks: false })));
  for (const client of before) await client.subscribe(SHARED);
  await publish(stage, 0, 10);
  await until('all came', () => all(before).length === 10);
  for (const client of before) client.leave();
  await stage.sessions.flush(10_000);
  const after = await Promise.all(names.map((name) => stage.connect(name)));
  await until('all came again', () => new Set(all(after)).size === 10);
});

test('does not give a message to a member who may not read it', async () => {
  await using stage = new Stage();
  const one = await stage.connect('one');
  const two = await stage.connect('two');
  await one.subscribe('$share/g/#');
  await two.subscribe('$share/g/#');
  stage.gate.unreadable.add('many-two/chan-a');
  stage.gate.changed();
  await publish(stage, 0, 10);
  await until('all came', () => one.texts.length === 10);
  expect(two.texts).toEqual([]);
});

test('goes on with the others when the first member may no longer read', async () => {
  await using stage = new Stage();
  const one = await stage.connect('one');
  const two = await stage.connect('two');
  await one.subscribe(SHARED);
  await two.subscribe(SHARED);
  await publish(stage, 0, 4);
  await until('all came', () => all([one, two]).length === 4);
  stage.gate.unreadable.add('many-one/chan-a');
  stage.gate.changed();
  const ended = (): Promise<number> => stage.metric('millrace_mqtt_subscriptions_ended_total');
  while ((await ended()) === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  const had = one.texts.length;
  await publish(stage, 4, 12);
  await until('all came', () => all([one, two]).length === 12);
  expect(one.texts).toHaveLength(had);
});

test('never mixes members of two owners in one group', async () => {
  await using stage = new Stage();
  const one = await stage.connect('one', { principal: user('u1', false) });
  const two = await stage.connect('two', { principal: user('u2', false) });
  await one.subscribe('$share/g/#');
  await two.subscribe('$share/g/#');
  await publish(stage, 0, 6);
  await until('each has all', () => one.texts.length === 6 && two.texts.length === 6);
});

test('refuses a member who may not read what the group reads, as first and later', async () => {
  await using stage = new Stage();
  const one = await stage.connect('one');
  const two = await stage.connect('two');
  expect(await two.subscribe('$share/g/channels/secret/messages')).toBe(128);
  await one.subscribe(SHARED);
  stage.gate.unreadable.add('many-two/chan-a');
  stage.gate.changed();
  expect(await two.subscribe(SHARED)).toBe(128);
});
