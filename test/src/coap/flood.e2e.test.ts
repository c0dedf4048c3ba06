import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LONG } from '../crash.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { expectStoredOnce } from '../stored.ts';
import {
  expectAllAccounted,
  expectMemoryFlat,
  expectNoFault,
  FAULT,
  memoryOf,
  SENML,
  sumOf,
  Witness,
} from './hostile-node.ts';
import { loopback, type RawAsked, RawDevice } from './raw-device.ts';
import { codeOf, numberOf, OPTION } from './raw-message.ts';

const FLOOD_MS = LONG ? 60_000 : 2_000;
const PER_SECOND = 10_000;
const TICK_MS = 5;
const TEST_MS_MAX = 240_000 + 4 * FLOOD_MS;
/** Seconds, not minutes. */
const BACK_MS_MAX = 15_000;
const GUESSES = 400;
/** So many of them at once. */
const TURN = 40;

describe('CoAP and addresses that flood', () => {
  const millrace = new Millrace();
  let admin: Rest;
  /** A channel that is none of theirs. */
  let forbidden = '';
  let addresses = 0;

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    forbidden = (await newPublisher(admin, 'forbidden')).channel;
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);
  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => console.log(`the node said last: ${millrace.stderr.slice(-6_000)}`));
  });

  const uriOf = ({ channel, key }: Publisher): string => `channels/${channel}/messages?auth=${key}`;
  const reading = (name: string): Pick<RawAsked, 'format' | 'payload'> => ({
    format: SENML,
    payload: `[{"n":"${name}","v":1}]`,
  });
  const device = (): Promise<RawDevice> => RawDevice.open(millrace.coap, loopback(++addresses, 60));

  /** Sends as fast as it is told to, whatever comes back. */
  async function flood(from: RawDevice, datagramOf: (index: number) => Buffer): Promise<number> {
    const begunMs = performance.now();
    let sent = 0;
    for (let passedMs = 0; passedMs < FLOOD_MS; passedMs = performance.now() - begunMs) {
      for (const due = (passedMs / 1_000) * PER_SECOND; sent < due; sent++) from.send(datagramOf(sent));
      await sleep(TICK_MS);
    }
    return sent;
  }

  test.each<[string, (device: RawDevice, publisher: Publisher, index: number) => Buffer]>([
    [
      'keys that nobody has',
      (from, { channel }) =>
        from.request({ uri: `channels/${channel}/messages?auth=${randomBytes(8).toString('hex')}`, ...reading('x') }),
    ],
    ['what is no CoAP', () => Buffer.concat([Buffer.from([0x4f]), randomBytes(40)])],
    [
      'messages that it may publish',
      (from, publisher, index) => from.request({ uri: uriOf(publisher), ...reading(`f-${index}`) }),
    ],
    [
      'messages that it may not publish',
      (from, { key }, index) =>
        from.request({ uri: `channels/${forbidden}/messages?auth=${key}`, ...reading(`f-${index}`) }),
    ],
    ['questions for the last message', (from, publisher) => from.request({ uri: uriOf(publisher), method: 'GET' })],
    [
      'queries',
      (from, publisher) =>
        from.request({ uri: uriOf(publisher), method: 'FETCH', format: 50, payload: '{"name":"x","limit":1000}' }),
    ],
    ['observations', (from, publisher) => from.request({ uri: uriOf(publisher), method: 'GET', observe: 0 })],
  ])(
    'one that floods with %s is back within seconds, and others are served meanwhile',
    async (what, datagramOf) => {
      const own = await newPublisher(admin, 'behind the address');
      const witness = await Witness.start(millrace, await newPublisher(admin, 'elsewhere'), loopback(++addresses, 61));
      const flooding = await device();
      const behind = await RawDevice.open(millrace.coap, flooding.address);
      expect(codeOf(await behind.ask({ uri: uriOf(own), ...reading('before') }))).toBe('2.04');
      const target = await newPublisher(admin, 'flooded');
      const bytesBefore = memoryOf(millrace.pid);
      const sent = await flood(flooding, (index) => datagramOf(flooding, target, index));
      const overMs = performance.now();
      const answer = await behind.ask({ uri: uriOf(own), ...reading('after') }, 2 * BACK_MS_MAX);
      const backMs = performance.now() - overMs;
      console.log(`after ${sent} datagrams with ${what} the address was back in ${(backMs / 1_000).toFixed(1)} s`);
      expect(codeOf(answer)).toBe('2.04');
      expect(backMs).toBeLessThan(BACK_MS_MAX);
      await witness.end(`beside a flood of ${what}`);
      await expectStoredOnce(own.rest, own.channel, ['before', 'after']);
      flooding.manner = 'ignore';
      await expectAllAccounted(admin);
      await expectMemoryFlat(millrace.pid, bytesBefore);
      await expectNoFault(millrace, admin, what);
      for (const each of [flooding, behind]) each.close();
    },
    TEST_MS_MAX,
  );

  test('one that tries one key after the other is soon not listened to, and nobody else waits', async () => {
    const { channel } = await newPublisher(admin, 'guessed at');
    const guessing = await device();
    const codes = new Map<string, number>();
    guessing.onMessage = (message) => {
      codes.set(codeOf(message), (codes.get(codeOf(message)) ?? 0) + 1);
      if (codeOf(message) === '4.29') expect(numberOf(message, OPTION.MaxAge)).toBeGreaterThan(0);
    };
    const guessesBefore = await sumOf(admin, 'millrace_ingest_messages_total', 'protocol="coap"', '"unauthenticated"');
    const begunMs = performance.now();
    const others: number[] = [];
    for (let index = 0; index < GUESSES; index++) {
      const auth = randomBytes(8).toString('hex');
      guessing.send(guessing.request({ uri: `channels/${channel}/messages?auth=${auth}`, ...reading('x') }));
      if (index % TURN !== 0) continue;
      // Each time one whom the node has not heard of yet.
      const stranger = await newPublisher(admin, 'another');
      const other = await device();
      const askedMs = performance.now();
      expect(codeOf(await other.ask({ uri: uriOf(stranger), ...reading('first') }))).toBe('2.04');
      others.push(performance.now() - askedMs);
      other.close();
    }
    const seconds = (performance.now() - begunMs) / 1_000;
    const looked =
      (await sumOf(admin, 'millrace_ingest_messages_total', 'protocol="coap"', '"unauthenticated"')) - guessesBefore;
    console.log(
      `${GUESSES} guesses in ${seconds.toFixed(1)} s: ${looked} looked up, answers ${JSON.stringify([...codes])}; others waited ${Math.max(...others).toFixed(0)} ms at most`,
    );
    expect(looked).toBeGreaterThan(0);
    // A burst of 100, those that were on their way then, and 20 a second.
    expect(looked).toBeLessThan(100 + 2 * TURN + 20 * seconds);
    expect(Math.max(...others)).toBeLessThan(5_000);
    // It is not shut out for long.
    const own = await newPublisher(admin, 'guesser');
    await eventually('it to be heard again', BACK_MS_MAX, async () => {
      return codeOf(await guessing.ask({ uri: uriOf(own), ...reading('mine') })) === '2.04';
    });
    guessing.close();
  }, 60_000);

  test(
    'a node that is asked to stop amid a flood stops',
    async () => {
      const own = await newPublisher(admin, 'last');
      const flooding = await device();
      flooding.manner = 'ignore';
      const flooded = flood(flooding, (index) =>
        flooding.request({
          uri: uriOf(own),
          ...reading(`l-${index}`),
          ...(index % 2 === 0 ? {} : { method: 'GET' as const }),
        }),
      );
      await sleep(FLOOD_MS / 4);
      expect(await millrace.end('SIGTERM')).toBe(0);
      await flooded;
      flooding.close();
      expect(millrace.stderr).not.toMatch(FAULT);
    },
    TEST_MS_MAX,
  );
});
