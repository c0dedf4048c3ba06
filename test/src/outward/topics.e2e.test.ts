import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { onceEach, publish, readTopics, recordsOf, TOPICS } from './topics.ts';

const node = new Millrace({ ...TOPICS, MILLRACE_COAP_PORT: 'off', MILLRACE_MQTT_PORT: 'off' });
const off = new Millrace({ MILLRACE_COAP_PORT: 'off', MILLRACE_MQTT_PORT: 'off' }, node.directory);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
let publisher: Publisher;

beforeAll(async () => {
  await node.start();
  publisher = await newPublisher(await Rest.asAdmin(node), 'hall');
}, 120_000);
afterAll(() => node.dispose(), 90_000);

const written = (count: number): Promise<boolean> =>
  eventually('records in both topics', 30_000, async () => {
    const counts = [await recordsOf(node, 'millrace.readings'), await recordsOf(node, 'millrace.dead-letters')];
    return counts.every((each) => each >= count);
  });
const told = () => readTopics({}, node.directory);

test('what is stored and what is not comes in the topics, in the order of the channel, once', async () => {
  for (const value of upTo(20)) await publish(publisher, value);
  await written(20);
  await node.end();
  const topics = await told();
  const { channel } = publisher;
  expect(topics.readings.flatMap(({ readings }) => readings.map(({ value }) => value))).toEqual(upTo(20));
  expect(topics.readings[0]).toMatchObject({
    channel,
    publisher: publisher.thing,
    protocol: 'http',
    readings: [{ name: 't', value: 0 }],
  });
  expect(topics.deadLetters).toHaveLength(20);
  expect(topics.deadLetters[0]).toMatchObject({ channel, index: 1, reason: 'many_values' });
  expect(Buffer.from(topics.deadLetters[0]?.payload_base64 ?? '', 'base64').toString()).toContain('two values');
}, 120_000);

test('after kill -9 nothing is missing, and repeats are told by position and index', async () => {
  const anew = (rest: Rest): Publisher => ({ ...publisher, rest: new Rest(node.url, rest.authorization) });
  await node.start();
  for (let value = 20; value < 60; value++) {
    await publish(anew(publisher.rest), value);
    if (value % 13 !== 0) continue;
    await node.end('SIGKILL');
    await node.start();
  }
  await written(1);
  // Nobody waits any more: the last of them is there.
  await eventually('all of them', 30_000, async () => {
    const text = await (await fetch(`${node.url}/metrics`)).text();
    const lag = /^millrace_topic_lag_messages\{topic="millrace.readings"\} (\d+)/m.exec(text)?.[1];
    return lag === '0' && onlyStored(text);
  });
  await node.end();
  const topics = await told();
  expect(onceEach(topics, publisher.channel)).toEqual(upTo(60));
  const dead = new Set(topics.deadLetters.map(({ position, index }) => `${position}.${index}`));
  expect(dead.size).toBe(60);
}, 240_000);

test('a node with the settings off writes and counts nothing, and what it stored comes once they are on', async () => {
  const before = await told();
  await off.start();
  const rest = new Rest(off.url, publisher.rest.authorization);
  await publish({ ...publisher, rest }, 60);
  await eventually('the message stored', 30_000, async () =>
    onlyStored(await (await fetch(`${off.url}/metrics`)).text()),
  );
  expect(await (await fetch(`${off.url}/metrics`)).text()).not.toContain('millrace_topic_');
  await off.end();
  expect(await told()).toEqual(before);
  await node.start();
  await written(1);
  await node.end();
  expect(onceEach(await told(), publisher.channel)).toEqual(upTo(61));
}, 180_000);

/** Whether the processors have come to the end of the log. */
function onlyStored(metrics: string): boolean {
  const lags = [...metrics.matchAll(/^millrace_log_lag_messages\{([^}]*)\} (\d+)/gm)].filter(([, labels = '']) =>
    labels.includes('group="processors"'),
  );
  return lags.length > 0 && lags.every(([, , lag]) => lag === '0');
}
