import { expect, test } from 'vitest';
import { Stage, until } from './testing/stage.ts';

const A = 'channels/chan-a/messages';

test('sends what is retained with RETAIN=1 after SUBACK, and what comes live with RETAIN=0', async () => {
  await using stage = new Stage();
  await stage.retain('chan-a', '', 'state');
  const client = await stage.connect('one', { clean: true });
  const filters = [{ topic: A, qos: 1 as const }];
  const results = await client.session.subscribe(filters);
  expect(client.publishes).toHaveLength(0);
  client.session.granted(filters, results);
  await until('it came', () => client.publishes.length === 1);
  await stage.retain('chan-a', '', 'newer');
  await until('both came', () => client.publishes.length === 2);
  expect(client.publishes.map(({ payload, retain, topic }) => [payload.toString(), retain, topic])).toEqual([
    ['state', true, A],
    ['newer', false, A],
  ]);
});

test('keeps the last of each topic, and none once it is cleared', async () => {
  await using stage = new Stage();
  for (const [subtopic, text] of [
    ['t', 'old'],
    ['t', 'new'],
    ['u', 'other'],
    ['v', 'gone'],
    ['v', ''],
  ] as const) {
    await stage.retain('chan-a', subtopic, text);
  }
  const client = await stage.connect('one');
  await client.subscribe(`${A}/+`);
  await until('both came', () => client.publishes.length === 2);
  expect(new Map(client.publishes.map(({ topic, payload }) => [topic, payload.toString()]))).toEqual(
    new Map([
      [`${A}/t`, 'new'],
      [`${A}/u`, 'other'],
    ]),
  );
});

test('matches wildcards, and only what may be read', async () => {
  await using stage = new Stage();
  await stage.retain('chan-a', 'x/temp', 'a', 2);
  await stage.retain('chan-a', 'y/temp', 'b', 1);
  await stage.retain('chan-a', 'x/hum', 'c');
  await stage.retain('chan-b', 'x/temp', 'd', 0);
  await stage.retain('secret', 'x/temp', 'e');
  const client = await stage.connect('one');
  const at = (): string[] => client.texts.toSorted();
  await client.subscribe(`${A}/+/temp`, 1);
  await until('what matches came', () => client.publishes.length === 2);
  expect(at()).toEqual(['a', 'b']);
  expect(client.publishes.every(({ qos }) => qos === 1)).toBe(true);
  await client.subscribe('#', 2);
  await until('all came', () => client.publishes.length === 6);
  expect(at()).toEqual(['a', 'a', 'b', 'b', 'c', 'd']);
  expect(client.publishes.slice(2).find(({ payload }) => payload.toString() === 'a')?.qos).toBe(2);
  expect(await stage.metric('millrace_mqtt_dropped_total', { reason: 'denied' })).toBe(1);
});

test('sends them again when the filter is subscribed again, and not when the session is resumed', async () => {
  await using stage = new Stage();
  await stage.retain('chan-a', '', 'state');
  const client = await stage.connect('one');
  await client.subscribe(A);
  await until('it came', () => client.publishes.length === 1);
  await client.subscribe(A);
  await until('it came again', () => client.acknowledged === 2);
  client.leave();
  await stage.sessions.flush(10_000);
  const again = await stage.connect('one');
  await stage.publish('chan-a', '', 'live');
  await until('the live one came', () => again.publishes.length === 1);
  expect(again.texts).toEqual(['live']);
});

test('sends more of them than the window has room for, and what comes meanwhile after them', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_IN_FLIGHT_MAX: 3 } });
  for (let index = 0; index < 30; index++) await stage.retain('chan-a', `s${index}`, `r${index}`);
  const client = await stage.connect('one', { acks: false });
  await client.subscribe(`${A}/#`);
  await until('the window is full', () => client.publishes.length === 3);
  await stage.publish('chan-a', 's3', 'live');
  client.acks = true;
  for (const packet of client.publishes) client.acknowledge(packet);
  await until('all came', () => client.publishes.length === 31);
  expect(client.texts.at(-1)).toBe('live');
  expect(client.publishes.filter(({ retain }) => retain)).toHaveLength(30);
});

test('goes on live while the store is away, and sends what is retained when it is back', async () => {
  await using stage = new Stage();
  await stage.retain('chan-a', 'kept', 'state');
  stage.retained.away = true;
  const client = await stage.connect('one');
  await client.subscribe(`${A}/#`);
  await stage.publish('chan-a', 'other', 'live');
  await until('the live one came', () => client.publishes.length === 1);
  stage.retained.away = false;
  await until('both came', () => client.publishes.length === 2);
  expect(client.texts).toEqual(['live', 'state']);
});

test('sends at most so many, and counts the rest', async () => {
  await using stage = new Stage({ config: { MILLRACE_MQTT_RETAINED_MAX: 5 } });
  for (let index = 0; index < 9; index++) await stage.retain('chan-a', `s${index}`, 'x');
  const client = await stage.connect('one');
  await client.subscribe(`${A}/#`);
  await stage.publish('chan-a', 'end', 'live');
  await until('the live one came', () => client.texts.includes('live'));
  expect(client.publishes).toHaveLength(6);
  expect(await stage.metric('millrace_mqtt_dropped_total', { reason: 'retained_limit' })).toBe(1);
});

test('sends a retained message again that the log keeps no longer', async () => {
  await using stage = new Stage();
  await stage.retain('chan-a', 't', 'state', 2);
  const client = await stage.connect('one', { acks: false });
  await client.subscribe(`${A}/t`, 2);
  await until('it came', () => client.publishes.length === 1);
  client.leave();
  await stage.sessions.flush(10_000);
  const { partition, offset } = [...stage.retained.messages.values()][0] as { partition: number; offset: number };
  await stage.publish('chan-a', 't', 'live');
  stage.log.trim(partition, offset + 1);
  const again = await stage.connect('one');
  await until('both came', () => again.publishes.length === 2);
  expect(again.publishes).toMatchObject([
    { dup: true, qos: 2, messageId: client.publishes[0]?.messageId },
    { dup: false },
  ]);
});
