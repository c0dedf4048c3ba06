import { expect, test } from 'vitest';
import { Stage, until } from './testing/stage.ts';

test('delivers at the lower of the granted and the published QoS', async () => {
  await using stage = new Stage();
  const client = await stage.connect('one', { clean: true });
  expect(
    await client.subscribeAll([
      { topic: 'channels/chan-a/messages', qos: 2 },
      { topic: 'channels/chan-b/messages', qos: 0 },
    ]),
  ).toEqual([2, 0]);
  await stage.publish('chan-a', '', 'zero', { qos: 0 });
  await stage.publish('chan-a', '', 'one', { qos: 1 });
  await stage.publish('chan-a', '', 'two', { qos: 2 });
  await stage.publish('chan-b', '', 'none', { qos: 2 });
  await until('all came', () => client.publishes.length === 4);
  const qos = new Map(client.publishes.map((each) => [each.payload.toString(), each.qos]));
  expect(Object.fromEntries(qos)).toEqual({ zero: 0, one: 1, two: 2, none: 0 });
  expect(client.publishes.map(({ topic }) => topic)).toContain('channels/chan-a/messages');
  await until('QoS 2 was completed', () => client.got('pubrel').length === 1);
});
