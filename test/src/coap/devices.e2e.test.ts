import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LONG } from '../crash.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { expectStoredOnce, storedNames } from '../stored.ts';
import { expectNoFault, SENML, sumOf } from './hostile-node.ts';
import { loopback, RawDevice } from './raw-device.ts';
import { codeOf, numberOf, OPTION, optionOf, type RawMessage } from './raw-message.ts';

const DEVICES = 5_000;
const SECONDS = LONG ? 120 : 10;
const BULK = 1_000;
/** For so long a device goes on with one message, or with its wish to observe. */
const PATIENT_MS = 60_000;
const NOTIFICATIONS = 3;
const KILLED_DEVICES = 200;
const KILLS = LONG ? 10 : 1;
/** A device that waits for an answer that a killed node owed it gives up then. */
const PATIENCE_MS = 10_000;

interface Thing {
  readonly id: string;
  readonly key: string;
}

/** Things that may publish to a channel. */
async function things(admin: Rest, channel: string, count: number): Promise<Thing[]> {
  const made: Thing[] = [];
  while (made.length < count) {
    const items = Array.from({ length: Math.min(BULK, count - made.length) }, (_, index) => ({ name: `d${index}` }));
    const { things: some } = await admin.json<{ things: Thing[] }>('POST', '/things/bulk', items);
    await admin.json('POST', '/connect', { channel_ids: [channel], thing_ids: some.map(({ id }) => id) });
    made.push(...some);
  }
  return made;
}

describe(`${DEVICES} devices at once`, () => {
  const millrace = new Millrace();
  let admin: Rest;
  let publisher: Publisher;
  let fleet: { readonly device: RawDevice; readonly thing: Thing }[] = [];

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    publisher = await newPublisher(admin, 'fleet');
    fleet = await Promise.all(
      (await things(admin, publisher.channel, DEVICES)).map(async (thing, index) => ({
        device: await RawDevice.open(millrace.coap, loopback(index + 1, 70)),
        thing,
      })),
    );
  }, 180_000);
  afterAll(async () => {
    for (const { device } of fleet) device.close();
    await millrace.dispose();
  }, 120_000);
  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => console.log(`the node said last: ${millrace.stderr.slice(-6_000)}`));
  });

  test(`each publishing once a second for ${SECONDS} s: all is acknowledged, and stored once`, {
    timeout: 300_000 + SECONDS * 2_000,
  }, async () => {
    const names: string[] = [];
    const latenciesMs: number[] = [];
    const codes = new Map<string, number>();
    let laterCount = 0;
    const laterWhy = new Set<string>();
    const begunMs = performance.now() + 500;
    await Promise.all(
      fleet.map(async ({ device, thing }, index) => {
        for (let second = 0; second < SECONDS; second++) {
          // Spread over the second, as no two devices were switched on together.
          const dueMs = begunMs + (second + index / DEVICES) * 1_000;
          await sleep(Math.max(0, dueMs - performance.now()));
          const name = `d${index}-${second}`;
          const askedMs = performance.now();
          const asked = {
            uri: `channels/${publisher.channel}/messages?auth=${thing.key}`,
            format: SENML,
            payload: `[{"n":"${name}","v":${second}}]`,
          };
          let answer = await device.ask(asked, PATIENT_MS);
          // Who is told to come again later does so: nothing was stored.
          for (; codeOf(answer) === '5.03' && performance.now() - askedMs < PATIENT_MS; laterCount++) {
            laterWhy.add(answer.payload.toString());
            await sleep((numberOf(answer, OPTION.MaxAge) ?? 1) * 1_000);
            answer = await device.ask(asked, PATIENT_MS);
          }
          latenciesMs.push(performance.now() - askedMs);
          codes.set(codeOf(answer), (codes.get(codeOf(answer)) ?? 0) + 1);
          names.push(name);
        }
      }),
    );
    const sorted = latenciesMs.sort((one, other) => one - other);
    const at = (share: number): string => (sorted[Math.floor((sorted.length - 1) * share)] as number).toFixed(0);
    const again = fleet.reduce((sum, { device }) => sum + device.retransmissions, 0);
    console.log(
      `${names.length} messages in ${((performance.now() - begunMs) / 1_000).toFixed(1)} s: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms; ${again} datagrams were sent again; ${laterCount} were told to come later ${[...laterWhy].join(' ')}`,
    );
    expect(Object.fromEntries(codes)).toEqual({ '2.04': DEVICES * SECONDS });
    await expectStoredOnce(publisher.rest, publisher.channel, names, '', 120_000);
    await expectNoFault(millrace, admin, 'a fleet that publishes');
  });

  test(`all observing one channel hear each of ${NOTIFICATIONS} messages`, { timeout: 180_000 }, async () => {
    const { channel } = publisher;
    const heard = new Map<RawDevice, string[]>();
    await Promise.all(
      fleet.map(async ({ device, thing }) => {
        const told: string[] = [];
        heard.set(device, told);
        device.onMessage = (message: RawMessage) => {
          const text = message.payload.toString();
          // What was not acknowledged in time comes again, also the first answer, which is empty.
          if (text !== '' && told.at(-1) !== text) told.push(text);
        };
        const uri = `channels/${channel}/messages/news?auth=${thing.key}`;
        const first = await device.ask({ method: 'GET', uri, observe: 0 }, PATIENT_MS);
        expect(codeOf(first)).toBe('2.05');
        expect(optionOf(first, OPTION.Observe)).toBeDefined();
      }),
    );
    expect(await sumOf(admin, 'millrace_coap_observers')).toBe(DEVICES);
    const writer = await RawDevice.open(millrace.coap);
    const sent: string[] = [];
    const begunMs = performance.now();
    for (let index = 0; index < NOTIFICATIONS; index++) {
      const payload = `[{"n":"news-${index}","v":${index}}]`;
      const uri = `channels/${channel}/messages/news?auth=${publisher.key}`;
      expect(codeOf(await writer.ask({ uri, format: SENML, payload }))).toBe('2.04');
      sent.push(payload);
    }
    await eventually('all to hear all', 60_000, async () => {
      const waiting = [...heard.values()].filter((told) => told.length < NOTIFICATIONS).length;
      if (waiting > 0) throw new Error(`${waiting} wait`);
      return true;
    });
    console.log(
      `${DEVICES} observers heard ${NOTIFICATIONS} messages in ${(performance.now() - begunMs).toFixed(0)} ms`,
    );
    for (const told of heard.values()) expect(told).toEqual(sent);
    writer.close();
    await Promise.all(
      fleet.map(({ device, thing }) => {
        const uri = `channels/${channel}/messages/news?auth=${thing.key}`;
        return device.ask({ method: 'GET', uri, observe: 0 }, PATIENT_MS).then(() => {
          device.manner = 'reset';
        });
      }),
    );
    // A device that has forgotten what it observes says so by RST to the next notification.
    const last = await RawDevice.open(millrace.coap);
    const uri = `channels/${channel}/messages/news?auth=${publisher.key}`;
    await eventually('them to be forgotten', 60_000, async () => {
      await last.ask({ uri, format: SENML, payload: '[{"n":"last","v":1}]' });
      return (await sumOf(admin, 'millrace_coap_observers')) === 0;
    });
    last.close();
    await expectNoFault(millrace, admin, 'a fleet that observes');
  });
});

describe('devices whose node is killed', () => {
  test(`nothing that was acknowledged is lost by ${KILLED_DEVICES} devices`, { timeout: 300_000 }, async () => {
    const probe = createSocket('udp4').bind(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address();
    await new Promise<void>((resolve) => probe.close(() => resolve()));
    const millrace = new Millrace({ MILLRACE_COAP_PORT: String(port) });
    const devices: RawDevice[] = [];
    try {
      await millrace.start();
      const { channel, key } = await newPublisher(await Rest.asAdmin(millrace), 'killed');
      for (let index = 0; index < KILLED_DEVICES; index++)
        devices.push(await RawDevice.open(millrace.coap, loopback(index + 1, 71)));
      const acknowledged: string[] = [];
      const unexpected = new Set<string>();
      let over = false;
      let unanswered = 0;
      const publishing = devices.map(async (device, index) => {
        for (let count = 0; !over; count++) {
          const name = `k${index}-${count}`;
          const asked = {
            uri: `channels/${channel}/messages?auth=${key}`,
            format: SENML,
            payload: `[{"n":"${name}","v":1}]`,
          };
          const answer = await device.ask(asked, PATIENCE_MS).catch(() => null);
          if (answer === null) unanswered++;
          else if (codeOf(answer) === '2.04') acknowledged.push(name);
          else if (codeOf(answer) !== '5.03') unexpected.add(codeOf(answer));
          await sleep(20);
        }
      });
      for (let kill = 0; kill < KILLS; kill++) {
        const enough = acknowledged.length + 2_000;
        await eventually('messages to be acknowledged', 60_000, async () => acknowledged.length >= enough);
        expect(await millrace.end('SIGKILL')).toBe('SIGKILL');
        await millrace.start();
      }
      const enough = acknowledged.length + 1_000;
      await eventually('messages to be acknowledged again', 60_000, async () => acknowledged.length >= enough);
      over = true;
      await Promise.all(publishing);
      expect([...unexpected]).toEqual([]);
      const rest = (await Rest.asAdmin(millrace)).as(`Thing ${key}`);
      const stored = await eventually('all that was acknowledged', 120_000, async () => {
        const names = await storedNames(rest, channel);
        const found = new Set(names);
        const missing = acknowledged.filter((name) => !found.has(name));
        if (missing.length > 0) throw new Error(`${missing.length} are missing, as ${missing[0]}`);
        return names;
      });
      const again = devices.reduce((sum, device) => sum + device.retransmissions, 0);
      console.log(
        `${acknowledged.length} acknowledged, ${unanswered} never, ${again} datagrams sent again; ${stored.length - new Set(stored).size} stored twice`,
      );
      expect(again).toBeGreaterThan(0);
    } finally {
      for (const device of devices) device.close();
      await millrace.dispose();
    }
  });
});
