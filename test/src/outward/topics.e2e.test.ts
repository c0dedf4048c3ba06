import { afterAll, beforeAll, expect, test } from 'vitest';
import { LONG } from '../crash.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { allWritten, onceEach, publish, readTopics, TOPICS } from './topics.ts';

const node = new Millrace({ ...TOPICS, MILLRACE_COAP_PORT: 'off', MILLRACE_MQTT_PORT: 'off' });
const off = new Millrace({ MILLRACE_COAP_PORT: 'off', MILLRACE_MQTT_PORT: 'off' }, node.directory);
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
let publisher: Publisher;

beforeAll(async () => {
  await node.start();
  publisher = await newPublisher(await Rest.asAdmin(node), 'hall');
}, 120_000);
afterAll(async () => {
  await off.end('SIGKILL');
  await node.dispose();
}, 90_000);

const told = () => readTopics({}, node.directory);

test('what is stored and what is not comes in the topics, in the order of the channel, once', async () => {
  for (const value of upTo(20)) await publish(publisher, value);
  await allWritten(node);
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
    if (!(LONG ? value % 13 === 0 : value === 39)) continue;
    await node.end('SIGKILL');
    await node.start();
  }
  await allWritten(node);
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
  const admin = await Rest.asAdmin(off);
  await publish({ ...publisher, rest }, 60);
  await eventually('the message stored', 30_000, async () => {
    const stored = await admin.raw('GET', `/channels/${publisher.channel}/messages?limit=1`);
    return stored.ok && /"value":60\b/.test(await stored.text());
  });
  expect(await (await fetch(`${off.url}/metrics`)).text()).not.toContain('millrace_topic_');
  await off.end();
  expect(await told()).toEqual(before);
  await node.start();
  await allWritten(node);
  await node.end();
  expect(onceEach(await told(), publisher.channel)).toEqual(upTo(61));
}, 180_000);
