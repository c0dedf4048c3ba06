import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LONG } from '../crash.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { expectStoredOnce, storedNames } from '../stored.ts';
import { expectNoFault, SENML, sumOf, Witness } from './hostile-node.ts';
import { loopback, type RawAsked, RawDevice } from './raw-device.ts';
import { block, codeOf, numberOf, OPTION, type RawMessage } from './raw-message.ts';

const VICTIMS = LONG ? 2_000 : 200;
const BURST = LONG ? 10_000 : 4_000;
const PEERS_MAX = 2_048;
const TRANSFERS_MAX = 256;
const OBSERVERS_MAX = 500;
/** A ping, and once more, and an acknowledgement ahead of the answer. */
const PROOF_BYTES = 12;
/** A notification of 64 bytes that has to be acknowledged, and once more. */
const NOTIFICATION_BYTES = 2 * 110;
/** What anybody may be answered with, however little it sent.  @source RFC 9175 §2.6 */
const SMALL_BYTES = 136;
const SZX = 6;
const BLOCK_BYTES = 16 << SZX;

describe('CoAP among strangers', () => {
  const millrace = new Millrace({
    MILLRACE_COAP_PEERS_MAX: String(PEERS_MAX),
    MILLRACE_COAP_TRANSFERS_MAX: String(TRANSFERS_MAX),
    MILLRACE_COAP_OBSERVERS_MAX: String(OBSERVERS_MAX),
    MILLRACE_COAP_DEDUPLICATION_ENTRIES_MAX: '4096',
    MILLRACE_COAP_PAYLOAD_BYTES_MAX: '65536',
    MILLRACE_COAP_ACK_TIMEOUT_MS: '300',
    MILLRACE_COAP_RETRANSMIT_MAX: '2',
  });
  let admin: Rest;
  let publisher: Publisher;
  let open: RawDevice[] = [];
  const uri = (rest = '', { channel, key } = publisher): string => `channels/${channel}/messages${rest}?auth=${key}`;
  const device = async (address: string): Promise<RawDevice> => {
    const opened = await RawDevice.open(millrace.coap, address);
    open.push(opened);
    return opened;
  };
  const devices = (count: number, net: number): Promise<RawDevice[]> =>
    Promise.all(Array.from({ length: count }, (_, index) => device(loopback(index + 1, net))));
  const pack = (name: string, bytes = 0): string =>
    JSON.stringify([{ n: name, ...(bytes === 0 ? { v: 1 } : { vs: 'x'.repeat(bytes) }) }]);
  /** Nothing of ours is repeated any more. */
  const silence = (): Promise<boolean> =>
    eventually('the node to fall silent', 30_000, async () => {
      return (await sumOf(admin, 'millrace_coap_unacknowledged')) === 0;
    });

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    publisher = await newPublisher(admin, 'large');
    const writer = await device('127.0.0.1');
    const readings = Array.from({ length: 20 }, (_, index) => ({ n: `reading-${index}`, v: index }));
    expect(codeOf(await writer.ask({ uri: uri(), format: SENML, payload: JSON.stringify(readings) }))).toBe('2.04');
    await eventually('readings to ask for', 30_000, async () => {
      return (await storedNames(publisher.rest, publisher.channel)).length === readings.length;
    });
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);
  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => console.log(`the node said last: ${millrace.stderr.slice(-6_000)}`));
  });
  afterEach(() => {
    for (const each of open) each.close();
    open = [];
  });

  test.each<[string, (device: RawDevice) => RawAsked]>([
    ['the last message', () => ({ method: 'GET', uri: uri() })],
    ['the first block of it', () => ({ method: 'GET', uri: uri(), options: [[OPTION.Block2, block(0, false, SZX)]] })],
    ['a later block of it', () => ({ method: 'GET', uri: uri(), options: [[OPTION.Block2, block(1, false, 4)]] })],
    ['a query', () => ({ method: 'FETCH', uri: uri(), format: 50, payload: '{"limit":100}' })],
    ['what there is', () => ({ method: 'GET', uri: '.well-known/core' })],
    ['what there is not', () => ({ method: 'GET', uri: 'x' })],
    ['to publish with a key that nobody has', () => ({ uri: 'channels/c/messages?auth=k', payload: 'x' })],
    ['for an option that nobody knows', () => ({ uri: 'x', options: [[65_001, Buffer.from('x')]] })],
    ['without being confirmable', () => ({ method: 'GET', uri: uri(), type: 1 })],
  ])(
    'an address that is forged to ask for %s gets little more than was sent',
    async (what, asked) => {
      const victims = await devices(VICTIMS, 32);
      for (const victim of victims) {
        victim.manner = 'ignore';
        victim.send(victim.request(asked(victim)));
      }
      await eventually('an answer', 60_000, async () => victims.every(({ received }) => received > 0));
      await silence();
      const worst = victims.reduce((one, other) =>
        other.receivedBytes / other.sentBytes > one.receivedBytes / one.sentBytes ? other : one,
      );
      console.log(`${what}: ${worst.sentBytes} bytes brought ${worst.receivedBytes} in ${worst.received} datagrams`);
      for (const { receivedBytes, sentBytes } of victims)
        expect(receivedBytes).toBeLessThanOrEqual(Math.max(3 * sentBytes, SMALL_BYTES) + PROOF_BYTES);
    },
    120_000,
  );

  test('an address that is forged to observe hears of one message at most, and is forgotten', async () => {
    const before = await sumOf(admin, 'millrace_coap_observers');
    const victims = await devices(VICTIMS, 33);
    for (const victim of victims) {
      victim.manner = 'ignore';
      victim.send(victim.request({ method: 'GET', uri: uri(), observe: 0 }));
    }
    await eventually('an answer', 60_000, async () => victims.every(({ received }) => received > 0));
    await silence();
    const writer = await device('127.0.0.1');
    for (let index = 0; index < 20; index++) {
      expect(codeOf(await writer.ask({ uri: uri(), format: SENML, payload: pack(`heard-${index}`, 2_000) }))).toBe(
        '2.04',
      );
    }
    await eventually('them to be forgotten', 30_000, async () => {
      return (await sumOf(admin, 'millrace_coap_observers')) === before;
    });
    await silence();
    const worst = victims.reduce((one, other) => (other.receivedBytes > one.receivedBytes ? other : one));
    console.log(`to observe: ${worst.sentBytes} bytes brought ${worst.receivedBytes} in ${worst.received} datagrams`);
    for (const { receivedBytes, sentBytes } of victims)
      expect(receivedBytes).toBeLessThanOrEqual(
        Math.max(3 * sentBytes, SMALL_BYTES) + PROOF_BYTES + NOTIFICATION_BYTES,
      );
  }, 150_000);

  test(`${BURST} forged addresses leave nothing behind but what has a bound`, async () => {
    const witness = await Witness.start(millrace, await newPublisher(admin, 'beside a burst'), '127.50.0.1');
    const forged = await devices(BURST, 34);
    const probe = await device('127.50.0.2');
    const kinds: RawAsked[] = [
      { method: 'GET', uri: uri() },
      { method: 'GET', uri: uri(), observe: 0 },
      { method: 'GET', uri: uri('/#'), observe: 0, type: 1 },
      { uri: uri('/begun'), payload: Buffer.alloc(64), options: [[OPTION.Block1, block(0, true, 2)]] },
      { uri: uri('/begun'), payload: Buffer.alloc(BLOCK_BYTES), options: [[OPTION.Block1, block(0, true, SZX)]] },
      { uri: 'channels/c/messages?auth=nobody', payload: 'x' },
    ];
    const bounds: readonly [string, number][] = [
      ['millrace_coap_peers', PEERS_MAX],
      ['millrace_coap_transfers', 3 * TRANSFERS_MAX],
      ['millrace_coap_observers', OBSERVERS_MAX],
    ];
    for (const [index, each] of forged.entries()) {
      each.manner = 'ignore';
      each.send(each.request(kinds[index % kinds.length] as RawAsked));
      if (index % 50 === 49) await probe.settled();
      if (index % 1_000 === 999)
        for (const [metric, max] of bounds) expect(await sumOf(admin, metric), metric).toBeLessThanOrEqual(max);
    }
    for (const [metric, max] of bounds) expect(await sumOf(admin, metric), metric).toBeLessThanOrEqual(max);
    await witness.end('beside a burst of forged addresses');
    // One of them is told something: who does not answer is forgotten.
    const writer = await device('127.0.0.1');
    for (let index = 0; index < 3; index++)
      expect(codeOf(await writer.ask({ uri: uri(), format: SENML, payload: pack(`after-${index}`) }))).toBe('2.04');
    await silence();
    await expectNoFault(millrace, admin, 'a burst of forged addresses');
  }, 120_000);

  describe('blocks', () => {
    let target: Publisher;
    beforeAll(async () => {
      target = await newPublisher(admin, 'blocks');
    });
    const parts = (body: string): Buffer[] =>
      Array.from({ length: Math.ceil(body.length / BLOCK_BYTES) }, (_, index) =>
        Buffer.from(body.slice(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES)),
      );
    /** One block, with a token of its own. */
    const asked = (bodyParts: readonly Buffer[], index: number, more: Partial<RawAsked> = {}): RawAsked => ({
      uri: uri('', target),
      format: SENML,
      payload: bodyParts[index] as Buffer,
      ...more,
      options: [[OPTION.Block1, block(index, index < bodyParts.length - 1, SZX)], ...(more.options ?? [])],
    });

    test('out of order are refused with 4.08, and the message can be sent anew', async () => {
      const sender = await device('127.40.0.1');
      const body = parts(pack('ordered', 4 * BLOCK_BYTES));
      const send = async (index: number): Promise<string> => codeOf(await sender.ask(asked(body, index)));
      expect(await send(1)).toBe('4.08');
      expect(await send(0)).toBe('2.31');
      expect(await send(2)).toBe('4.08');
      expect(await send(4)).toBe('4.08');
      for (const index of [0, 1, 1, 2, 2, 3]) expect(await send(index)).toBe('2.31');
      expect(await send(4)).toBe('2.04');
      // The last one once more has nothing before it.
      expect(await send(4)).toBe('4.08');
      await expectStoredOnce(target.rest, target.channel, ['ordered']);
    });

    test('each datagram sent twice make one message', async () => {
      const sender = await device('127.40.0.2');
      const heard: RawMessage[] = [];
      sender.onMessage = (message) => heard.push(message);
      const body = parts(pack('twice', 5 * BLOCK_BYTES));
      for (let index = 0; index < body.length; index++) {
        const datagram = sender.request(asked(body, index));
        sender.send(datagram);
        sender.send(datagram);
        // The last one is worked on when it comes again, which is acknowledged only.
        await eventually('both answers', 20_000, async () => heard.length + sender.acknowledged >= 2 * (index + 1));
      }
      const codes = heard.map(codeOf);
      expect(codes.filter((code) => code === '2.31').length).toBe(2 * (body.length - 1));
      expect(codes.at(-1)).toBe('2.04');
      await expectStoredOnce(target.rest, target.channel, ['twice']);
    });

    test('of several messages at once are told apart by Request-Tag', async () => {
      const sender = await device('127.40.0.3');
      const names = Array.from({ length: 8 }, (_, index) => `tagged-${index}`);
      const bodies = names.map((name) => parts(pack(name, 3 * BLOCK_BYTES)));
      for (let index = 0; index < 4; index++)
        for (const [at, body] of bodies.entries()) {
          const options = [[OPTION.RequestTag, Buffer.from([at])]] as const;
          expect(codeOf(await sender.ask(asked(body, index, { options })))).toBe(index < 3 ? '2.31' : '2.04');
        }
      await expectStoredOnce(target.rest, target.channel, names);
    });

    test('that would be too large are refused with 4.13 and Size1, also before they are', async () => {
      const sender = await device('127.40.0.4');
      const body = [Buffer.alloc(BLOCK_BYTES), Buffer.alloc(BLOCK_BYTES)];
      for (const each of [
        asked(body, 0, { options: [[OPTION.Size1, Buffer.from([0, 0xff, 0xff, 0xff])]] }),
        { ...asked(body, 0), options: [[OPTION.Block1, block(0xf_ff_ff, true, SZX)]] },
      ] as const) {
        const answer = await sender.ask(each);
        expect([codeOf(answer), numberOf(answer, OPTION.Size1)]).toEqual(['4.13', 65_536]);
      }
      for (let index = 0; index < 64; index++) {
        const more = { ...asked(body, 0), options: [[OPTION.Block1, block(index, true, SZX)]] } as const;
        expect(codeOf(await sender.ask(more))).toBe('2.31');
      }
      const beyond = { ...asked(body, 0), options: [[OPTION.Block1, block(64, true, SZX)]] } as const;
      expect(codeOf(await sender.ask(beyond))).toBe('4.13');
    });

    test('of messages that are begun by thousands and abandoned take a bounded place, and stop nobody who goes on', async () => {
      const sender = await device('127.40.0.5');
      const beginners = await devices(50, 41);
      const body = parts(pack('gone-on', 20 * BLOCK_BYTES));
      expect(codeOf(await sender.ask(asked(body, 0)))).toBe('2.31');
      for (let index = 1; index < body.length; index++) {
        for (let count = 0; count < 100; count++) {
          const beginner = beginners[count % beginners.length] as RawDevice;
          const options = [[OPTION.RequestTag, Buffer.from([index, count])]] as const;
          beginner.send(beginner.request(asked(body, 0, { options })));
        }
        expect(codeOf(await sender.ask(asked(body, index)))).toBe(index < body.length - 1 ? '2.31' : '2.04');
        if (index === 1) expect(codeOf(await sender.ask(asked(body, 1)))).toBe('2.31');
      }
      expect(await sumOf(admin, 'millrace_coap_transfers')).toBeLessThanOrEqual(3 * TRANSFERS_MAX);
      await expectStoredOnce(target.rest, target.channel, ['gone-on']);
      await expectNoFault(millrace, admin, 'abandoned messages');
    }, 60_000);
  });

  describe('tokens and message ids', () => {
    let target: Publisher;
    beforeAll(async () => {
      target = await newPublisher(admin, 'tokens');
    });
    const heardBy = (each: RawDevice): RawMessage[] => {
      const heard: RawMessage[] = [];
      each.onMessage = (message) => heard.push(message);
      return heard;
    };
    const asked = (name: string, more: Partial<RawAsked>): RawAsked => ({
      uri: uri('', target),
      format: SENML,
      payload: pack(name),
      ...more,
    });

    test('one token for many requests, at once too: each is a request', async () => {
      const sender = await device('127.42.0.1');
      const heard = heardBy(sender);
      const names = Array.from({ length: 50 }, (_, index) => `one-token-${index}`);
      for (const name of names) sender.send(sender.request(asked(name, { token: Buffer.from('t') })));
      await eventually('all answers', 20_000, async () => heard.length >= names.length);
      expect(new Set(heard.map(codeOf))).toEqual(new Set(['2.04']));
      await expectStoredOnce(target.rest, target.channel, names);
    });

    test('one message id with other tokens, and without one: each is a request', async () => {
      const sender = await device('127.42.0.2');
      const heard = heardBy(sender);
      const names = Array.from({ length: 9 }, (_, index) => `one-id-${index}`);
      for (const [index, name] of names.entries())
        sender.send(sender.request(asked(name, { messageId: 4_711, token: Buffer.alloc(index, 1) })));
      await eventually('all answers', 20_000, async () => heard.length >= names.length);
      expect(new Set(heard.map(codeOf))).toEqual(new Set(['2.04']));
      await expectStoredOnce(target.rest, target.channel, names);
    });

    test('a datagram a hundred times, before the answer and after it, is one message', async () => {
      const sender = await device('127.42.0.3');
      const heard = heardBy(sender);
      const datagram = sender.request(asked('storm', {}));
      for (let count = 0; count < 50; count++) sender.send(datagram);
      await eventually('an answer', 60_000, async () => heard.length > 0);
      for (let count = 0; count < 50; count++) sender.send(datagram);
      await sender.settled();
      expect(new Set(heard.map(codeOf))).toEqual(new Set(['2.04']));
      // Whether or not it was answered yet, each was acknowledged.
      expect(heard.length + sender.acknowledged).toBeGreaterThanOrEqual(100);
      await expectStoredOnce(target.rest, target.channel, ['storm']);
    });

    test('the same numbers from another address are another message', async () => {
      const senders = await devices(20, 43);
      const told: Promise<void>[] = [];
      for (const [index, sender] of senders.entries()) {
        const heard = heardBy(sender);
        sender.send(sender.request(asked(`same-${index}`, { messageId: 1, token: Buffer.from('t') })));
        told.push(eventually('its answer', 20_000, async () => heard.length > 0).then(() => {}));
      }
      await Promise.all(told);
      await expectStoredOnce(
        target.rest,
        target.channel,
        senders.map((_, index) => `same-${index}`),
      );
    });
  });
});
