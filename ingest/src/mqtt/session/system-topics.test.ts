import { expect, test } from 'vitest';
import { topicMatches } from './system-topics.ts';
import { Stage, until, user } from './testing/stage.ts';

test('shows administrators the state of the broker at once, as retained', async () => {
  await using stage = new Stage();
  const admin = await stage.connect('admin', { principal: user('admin', true) });
  expect(await admin.subscribe('$SYS/#', 1)).toBe(1);
  await until('it came', () => admin.publishes.length > 5);
  const told = new Map(admin.publishes.map(({ topic, payload }) => [topic, payload.toString()]));
  expect(told.get('$SYS/broker/clients/connected')).toBe('1');
  expect(told.get('$SYS/broker/subscriptions/count')).toBe('1');
  expect(told.get('$SYS/broker/version')).toMatch(/^millrace /);
  expect(admin.publishes.every(({ retain, qos }) => retain && qos === 0)).toBe(true);
});

test('shows it to nobody else, and not by a filter that does not name it', async () => {
  await using stage = new Stage();
  const person = await stage.connect('person', { principal: user('person', false) });
  const device = await stage.connect('device');
  const admin = await stage.connect('admin', { principal: user('admin', true) });
  expect(await person.subscribe('$SYS/#')).toBe(128);
  expect(await device.subscribe('$SYS/broker/uptime')).toBe(128);
  expect(await admin.subscribe('#')).toBe(1);
  expect(await admin.subscribe('$SYS/broker/uptime')).toBe(1);
  await until('only that came', () => admin.publishes.length === 1);
  admin.session.unsubscribe(['$SYS/broker/uptime']);
  expect(device.publishes).toHaveLength(0);
});

test('matches topics as filters do', () => {
  const topic = '$SYS/broker/clients/connected';
  for (const filter of ['$SYS/#', topic, '$SYS/+/clients/+', `${topic}/#`])
    expect(topicMatches(filter, topic)).toBe(true);
  for (const filter of ['$SYS/+', '$SYS/broker', `${topic}/x`]) expect(topicMatches(filter, topic)).toBe(false);
});
