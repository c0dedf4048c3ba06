import { StoreError } from '@millrace/core';
import { expect, test } from 'vitest';
import { CHANNEL, KEY } from '../testing/gate.ts';
import type { CoapMessage } from './message/message.ts';
import { Code, Method, Option, Type } from './message/message.ts';
import { openCoap } from './testing/open-coap.ts';
import { numberOf, type RawCoap, textOf } from './testing/raw-coap.ts';

const MESSAGES = `channels/${CHANNEL}/messages`;
const AUTH = `?auth=${KEY}`;
const PUBLISHER = '?auth=many-publisher';

async function observe(
  client: RawCoap,
  path: string,
  more: object = {},
): Promise<{ token: Buffer; first: CoapMessage }> {
  const token = client.newToken();
  const first = await client.request({ method: Method.Get, uri: path + AUTH, observe: 0, token, ...more });
  return { token, first };
}
const publish = async (client: RawCoap, path: string, payload: string, format = 0): Promise<void> => {
  expect((await client.request({ uri: path + PUBLISHER, payload, format })).code).toBe(Code.Changed);
};

test('an observer is given the last message at once, then each that comes, in order', async () => {
  await using coap = await openCoap();
  const [observer, publisher] = [await coap.client(), await coap.client()];
  await publish(publisher, MESSAGES, '0');
  const { token, first } = await observe(observer, MESSAGES);
  expect([first.code, textOf(first)]).toEqual([Code.Content, '0']);
  expect(numberOf(first, Option.Observe)).toBeDefined();
  for (let n = 1; n <= 25; n++) await publish(publisher, MESSAGES, String(n), n % 2 === 0 ? 0 : 50);
  let last = numberOf(first, Option.Observe) ?? 0;
  for (let n = 1; n <= 25; n++) {
    const told = await observer.next(token);
    expect([told.code, textOf(told), numberOf(told, Option.ContentFormat)]).toEqual(
      [Code.Content, String(n), n % 2 === 0 ? undefined : 50].map((value, index) =>
        index === 2 && n % 2 === 0 ? 0 : value,
      ),
    );
    expect(numberOf(told, Option.Observe)).toBeGreaterThan(last);
    last = numberOf(told, Option.Observe) ?? 0;
  }
  expect(await coap.metric('millrace_coap_observers')).toBe(1);
  expect(await coap.metric('millrace_coap_notifications_total')).toBe(25);
});

test('a resource without a message can be observed: the first answer is empty', async () => {
  await using coap = await openCoap();
  const [observer, publisher] = [await coap.client(), await coap.client()];
  const { token, first } = await observe(observer, `${MESSAGES}/new`);
  expect([first.code, textOf(first), numberOf(first, Option.MaxAge)]).toEqual([Code.Content, '', 0]);
  await publish(publisher, `${MESSAGES}/old`, 'not this');
  await publish(publisher, `${MESSAGES}/new`, 'this');
  expect(textOf(await observer.next(token))).toBe('this');
});

test('who observes while the store is away is told of what comes', async () => {
  await using coap = await openCoap();
  const [observer, publisher] = [await coap.client(), await coap.client()];
  coap.store.failure = new StoreError('STORE_UNREACHABLE', 'later');
  const { token, first } = await observe(observer, `${MESSAGES}/away`);
  expect([first.code, textOf(first), numberOf(first, Option.MaxAge)]).toEqual([Code.Content, '', 0]);
  await publish(publisher, `${MESSAGES}/away`, 'news');
  expect(textOf(await observer.next(token))).toBe('news');
});

test('wildcards observe many subtopics, raw or percent-encoded', async () => {
  await using coap = await openCoap();
  const [observer, publisher] = [await coap.client(), await coap.client()];
  const plus = await observe(observer, `${MESSAGES}/a/+`);
  const hash = await observe(observer, `${MESSAGES}/%23`);
  for (const path of ['/a/b', '/a', '', '/c/d']) await publish(publisher, MESSAGES + path, path || 'none');
  expect(textOf(await observer.next(plus.token))).toBe('/a/b');
  for (const path of ['/a/b', '/a', 'none', '/c/d']) expect(textOf(await observer.next(hash.token))).toBe(path);
  expect((await observe(observer, `${MESSAGES}/a/b+`)).first.code).toBe(Code.BadRequest);
});

test('an observer that asked for a format is only told of messages in it', async () => {
  await using coap = await openCoap();
  const [observer, publisher] = [await coap.client(), await coap.client()];
  await publish(publisher, MESSAGES, '[]', 110);
  const { token } = await observe(observer, MESSAGES, { accept: 110 });
  await publish(publisher, MESSAGES, 'text', 0);
  await publish(publisher, MESSAGES, '[1]', 110);
  expect(textOf(await observer.next(token))).toBe('[1]');
});

test('an observation is cancelled by Observe: 1 and by a RST', async () => {
  await using coap = await openCoap();
  const [observer, publisher] = [await coap.client(), await coap.client()];
  const one = await observe(observer, MESSAGES);
  await observer.request({ method: Method.Get, uri: MESSAGES + AUTH, observe: 1, token: one.token });
  await expect.poll(() => coap.metric('millrace_coap_observers'), { timeout: 20_000 }).toBe(0);
  const two = await observe(observer, MESSAGES);
  expect(await coap.metric('millrace_coap_observers')).toBe(1);
  await publish(publisher, MESSAGES, 'x');
  const told = await observer.next(two.token);
  const rst = Buffer.from([0x70, 0, told.messageId >> 8, told.messageId & 0xff]);
  observer.socket.send(rst, observer.port, '127.0.0.1');
  await expect.poll(() => coap.metric('millrace_coap_observers'), { timeout: 20_000 }).toBe(0);
  expect(await coap.metric('millrace_coap_observation_ends_total{reason="reset"}')).toBe(1);
});

test('who loses the right is told so in the last notification, within a second', async () => {
  await using coap = await openCoap();
  const observer = await coap.client();
  const { token } = await observe(observer, MESSAGES);
  const begun = performance.now();
  coap.gate.disabled.add(CHANNEL);
  coap.gate.changed();
  const last = await observer.next(token);
  expect(last.code).toBe(Code.Forbidden);
  expect(numberOf(last, Option.Observe)).toBeUndefined();
  expect(performance.now() - begun).toBeLessThan(5_000);
  expect(await coap.metric('millrace_coap_observers')).toBe(0);
});

test('who loses the key is told so', async () => {
  await using coap = await openCoap();
  const observer = await coap.client();
  const { token } = await observe(observer, MESSAGES);
  coap.gate.take(KEY);
  expect((await observer.next(token)).code).toBe(Code.Unauthorized);
});

test('a slow observer falls behind in the log and misses nothing once it acknowledges again', async () => {
  await using coap = await openCoap({ MILLRACE_COAP_ACK_TIMEOUT_MS: '500', MILLRACE_COAP_RETRANSMIT_MAX: '8' });
  const [observer, publisher] = [await coap.client(), await coap.client()];
  const { token } = await observe(observer, MESSAGES);
  observer.acknowledges = false;
  for (let n = 0; n < 60; n++) await publish(publisher, MESSAGES, String(n));
  const got = new Set<string>();
  while (got.size < 1) got.add(textOf(await observer.next(token)));
  observer.acknowledges = true;
  while (!got.has('59')) got.add(textOf(await observer.next(token)));
  expect([...got]).toEqual(Array.from({ length: 60 }, (_, n) => String(n)));
});

test('draining, observers are told 5.03 and when to come again', async () => {
  await using coap = await openCoap();
  const observer = await coap.client();
  const { token } = await observe(observer, MESSAGES);
  await coap.drain();
  const last = await observer.next(token);
  expect([last.code, numberOf(last, Option.MaxAge)]).toEqual([Code.ServiceUnavailable, 5]);
});

test('an observation ends when its confirmable notification is never acknowledged', async () => {
  await using coap = await openCoap({
    MILLRACE_COAP_ACK_TIMEOUT_MS: '100',
    MILLRACE_COAP_RETRANSMIT_MAX: '1',
    MILLRACE_COAP_OBSERVE_CONFIRM_EVERY: '1',
  });
  const [observer, publisher] = [await coap.client(), await coap.client()];
  const { token } = await observe(observer, MESSAGES);
  observer.acknowledges = false;
  await publish(publisher, MESSAGES, 'x');
  expect((await observer.next(token)).type).toBe(Type.Con);
  await expect.poll(() => coap.metric('millrace_coap_observers'), { timeout: 20_000 }).toBe(0);
});

test('one client takes no more than its part of the observations, from however many addresses', async () => {
  await using coap = await openCoap({ MILLRACE_COAP_OBSERVERS_PER_CLIENT_MAX: '2' });
  const [one, two, three] = [await coap.client(), await coap.client(), await coap.client()];
  const begins = async (client: RawCoap): Promise<boolean> => {
    const { first } = await observe(client, MESSAGES);
    expect(first.code).toBe(Code.Content);
    return numberOf(first, Option.Observe) !== undefined;
  };
  const { token } = await observe(one, MESSAGES);
  expect([await begins(two), await begins(three)]).toEqual([true, false]);
  const other = await three.request({ method: Method.Get, uri: `${MESSAGES}?auth=many-else`, observe: 0 });
  expect(numberOf(other, Option.Observe)).toBeDefined();
  // A place that is given back is free.
  await one.request({ method: Method.Get, uri: MESSAGES + AUTH, observe: 1, token });
  expect(await begins(three)).toBe(true);
});
