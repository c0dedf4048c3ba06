import { expect, test } from 'vitest';
import { ORG } from '../../testing/gate.ts';
import { SUBSCRIBE_FAILED } from '../contract.ts';
import { Stage, thing, until } from './testing/stage.ts';

const A = 'channels/chan-a/messages';

test('delivers at the lower of the granted and the published QoS', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one', { clean: true });
  const filters = [
    { topic: A, qos: 2 },
    { topic: 'channels/chan-b/messages', qos: 0 },
  ] as const;
  expect(await client.subscribeAll(filters)).toEqual([2, 0]);
  await stage.publish('chan-a', '', 'zero', { qos: 0 });
  await stage.publish('chan-a', '', 'one', { qos: 1 });
  await stage.publish('chan-a', '', 'two', { qos: 2 });
  await stage.publish('chan-b', '', 'none', { qos: 2 });
  await until('all came', () => client.publishes.length === 4);
  const qos = new Map(client.publishes.map((each) => [each.payload.toString(), each.qos]));
  expect(Object.fromEntries(qos)).toEqual({ zero: 0, one: 1, two: 2, none: 0 });
  expect(client.publishes.map(({ topic }) => topic)).toContain(A);
  await until('QoS 2 was completed', () => client.got('pubrel').length === 1);
});

test('sends one copy for overlapping filters, at the highest QoS of them', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  await client.subscribeAll([
    { topic: `${A}/#`, qos: 0 },
    { topic: `${A}/+`, qos: 2 },
    { topic: `${A}/t`, qos: 1 },
  ]);
  await stage.publish('chan-a', 't', 'x', { qos: 2 });
  await stage.publish('chan-a', 'end', 'y');
  await until('both came', () => client.publishes.length === 2);
  expect(client.publishes).toMatchObject([
    { topic: `${A}/t`, qos: 2 },
    { topic: `${A}/end`, qos: 1 },
  ]);
});

test('sends nothing beyond the window, and all of it in order once the client acknowledges', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_IN_FLIGHT_MAX: 4 } });
  const client = await stage.connect('slow', { acks: false });
  const other = await stage.connect('other');
  await client.subscribe(A);
  await other.subscribe(A);
  const texts = Array.from({ length: 50 }, (_, index) => `m${index}`);
  for (const text of texts) await stage.publish('chan-a', '', text);
  await until('the other has all, though one stands still', () => other.publishes.length === 50);
  expect(client.texts).toEqual(texts.slice(0, 4));
  client.acks = true;
  for (const packet of client.publishes) client.acknowledge(packet);
  await until('all came', () => client.publishes.length >= 50);
  expect(client.texts).toEqual(texts);
  expect(client.publishes.every(({ dup }) => !dup)).toBe(true);
});

test('grants what may be read and refuses the rest, each filter by itself', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  const topics = [A, 'channels/secret/messages', 'channels/none/messages', 'nonsense/+/+', '$SYS/#', '#'];
  const results = await client.subscribeAll(topics.map((topic) => ({ topic, qos: 1 })));
  expect(results).toEqual([1, 128, 128, 128, 128, 1]);
  await stage.publish('chan-a', '', 'x');
  await until('it came', () => client.publishes.length === 1);
});

test('gives only the content type, and only the organisation, that a filter names', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  const results = await client.subscribeAll([
    { topic: `${A}/senml-json`, qos: 1 },
    { topic: `m/${ORG}/c/chan-b`, qos: 1 },
    { topic: 'm/another/c/chan-c', qos: 1 },
  ]);
  expect(results).toEqual([1, 1, SUBSCRIBE_FAILED]);
  await stage.publish('chan-a', '', 'no', { contentType: 'application/json' });
  await stage.publish('chan-a', '', 'yes', { contentType: 'application/SenML+JSON; charset=utf-8' });
  await stage.publish('chan-b', '', 'also');
  await until('both came', () => client.publishes.length === 2);
  expect(new Map(client.publishes.map(({ topic, payload }) => [topic, payload.toString()]))).toEqual(
    new Map([
      [`${A}/senml-json`, 'yes'],
      [`m/${ORG}/c/chan-b`, 'also'],
    ]),
  );
});

test('refuses more filters than a session may have', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_SUBSCRIPTIONS_MAX: 3 } });
  const client = await stage.connect('one', { clean: true });
  const asked = [1, 2, 3, 4, 5].map((index) => ({ topic: `channels/chan-${index}/messages`, qos: 1 as const }));
  const results = await client.subscribeAll(asked);
  expect(results.filter((result) => result === 1)).toHaveLength(3);
  const [granted] = asked.filter((_, index) => results[index] === 1);
  client.session.unsubscribe([granted?.topic as string]);
  expect(await client.subscribe('channels/chan-9/messages')).toBe(1);
  expect(await client.subscribe('channels/chan-8/messages')).toBe(SUBSCRIBE_FAILED);
});

test('delivers nothing for a filter before its SUBACK, and loses nothing meanwhile', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  const filters = [{ topic: A, qos: 1 as const }];
  const results = await client.session.subscribe(filters);
  for (const text of ['a', 'b', 'c']) await stage.publish('chan-a', '', text);
  const other = await stage.connect('other');
  await other.subscribe('#');
  await stage.publish('chan-a', '', 'd');
  await until('another has it', () => other.publishes.length === 1);
  expect(client.publishes).toHaveLength(0);
  client.session.granted(filters, results);
  await until('all came', () => client.publishes.length === 4);
  expect(client.texts).toEqual(['a', 'b', 'c', 'd']);
});

test('replaces a filter that is subscribed again: the new QoS, no interruption', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  await client.subscribe(A, 0);
  await stage.publish('chan-a', '', 'first');
  await until('it came', () => client.publishes.length === 1);
  expect(await client.subscribe(A, 1)).toBe(1);
  await stage.publish('chan-a', '', 'second');
  await until('it came', () => client.publishes.length === 2);
  expect(client.publishes.map(({ qos }) => qos)).toEqual([0, 1]);
  expect(await stage.metric('millrace_mqtt_subscriptions')).toBe(1);
});

test('sends nothing more once a filter is given up', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  await client.subscribeAll([
    { topic: A, qos: 1 },
    { topic: 'channels/chan-b/messages', qos: 1 },
  ]);
  client.session.unsubscribe([A, 'never/subscribed']);
  await stage.publish('chan-a', '', 'no');
  await stage.publish('chan-b', '', 'yes');
  await until('the other filter goes on', () => client.publishes.length === 1);
  expect(client.texts).toEqual(['yes']);
});

test('drops a filter whose channel may no longer be read and keeps the connection', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  await client.subscribeAll([
    { topic: A, qos: 1 },
    { topic: 'channels/chan-b/messages', qos: 1 },
  ]);
  stage.gate.unreadable.add(`${client.principal.subject.id}/chan-a`);
  stage.gate.changed();
  const ended = (): Promise<number> => stage.metric('millrace_mqtt_subscriptions_ended_total');
  while ((await ended()) === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  await stage.publish('chan-a', '', 'no');
  await stage.publish('chan-b', '', 'yes');
  await until('the other filter goes on', () => client.publishes.length === 1);
  expect(client.texts).toEqual(['yes']);
  expect(client.closed).toBeNull();
  client.leave();
  await stage.sessions.flush(10_000);
  const key = { owner: client.principal.subject.id, clientId: 'one' };
  expect(stage.store.stateOf(key)?.subscriptions.map(({ topic }) => topic)).toEqual(['channels/chan-b/messages']);
});

test('holds back from a socket that takes nothing, and sends all when it does', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_UNSENT_BYTES_MAX: 65_536 } });
  const client = await stage.connect('one', { clean: true });
  const other = await stage.connect('other', { clean: true });
  await client.subscribe(A, 1);
  await other.subscribe(A, 1);
  client.stuck = true;
  const payload = 'x'.repeat(20_000);
  for (let index = 0; index < 40; index++) await stage.publish('chan-a', '', `${index} ${payload}`);
  await until('the other has all', () => other.publishes.length === 40);
  expect(client.publishes).toHaveLength(4);
  client.take();
  await until('all came', () => client.publishes.length === 40);
  expect(client.texts.map((text) => Number.parseInt(text, 10))).toEqual(Array.from({ length: 40 }, (_, at) => at));
});

test('drops QoS 0 for a client that takes nothing for long, and counts it', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_UNSENT_BYTES_MAX: 65_536 } });
  const client = await stage.connect('one', { clean: true });
  await client.subscribe(A, 0);
  client.stuck = true;
  const payload = 'x'.repeat(40_000);
  for (let index = 0; index < 10; index++) await stage.publish('chan-a', '', `${index} ${payload}`, { qos: 0 });
  const dropped = (): Promise<number> => stage.metric('millrace_mqtt_dropped_total', { reason: 'slow' });
  const end = performance.now() + 20_000;
  while ((await dropped()) < 8 && performance.now() < end) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(await dropped()).toBe(8);
  client.take();
  await stage.publish('chan-a', '', 'after', { qos: 0 });
  await until('it goes on with what comes', () => client.texts.at(-1) === 'after');
  expect(client.publishes).toHaveLength(3);
});

test('knows an inbound QoS 2 publish that comes again until it is released', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_RECEIVED_MAX: 2 } });
  const { session } = await stage.connect('one');
  expect(session.receive(7)).toBe('new');
  expect(session.receive(7)).toBe('known');
  expect(session.receive(8)).toBe('new');
  expect(session.receive(9)).toBe('full');
  session.release(7);
  expect(session.receive(7)).toBe('new');
  session.forget(8);
  expect(session.receive(8)).toBe('new');
});

test('answers PUBREC of what it does not know, so that the client can forget it', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  client.session.onPubrec(99);
  client.session.onPuback(99);
  client.session.onPubcomp(98);
  expect(client.packets).toMatchObject([{ cmd: 'pubrel', messageId: 99 }]);
});

test('gives clients of two owners sessions of their own, though they have one client id', async () => {
  await using stage = new Stage();
  const mine = await stage.connect('same', { thing: 'mine' });
  const yours = await stage.connect('same', { thing: 'yours' });
  expect(mine.closed).toBeNull();
  await mine.subscribe(A);
  await stage.publish('chan-a', '', 'x');
  await until('it came', () => mine.publishes.length === 1);
  expect(yours.publishes).toHaveLength(0);
  expect(stage.sessions.count.connected).toBe(2);
});

test('waits with a filter whose decision is cold, and delivers what came meanwhile', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one');
  const { id } = client.principal.subject;
  let decide = (): void => {};
  const decided = new Promise<void>((resolve) => {
    decide = resolve;
  });
  stage.gate.undecided.set(id, () => decided);
  const subscribed = client.subscribe(A);
  await stage.publish('chan-a', '', 'before');
  stage.gate.undecided.delete(id);
  decide();
  expect(await subscribed).toBe(1);
  await stage.publish('chan-a', '', 'after');
  await until('it came', () => client.texts.includes('after'));
  expect(thing(stage.gate, 'one')).toBe(client.principal);
});
