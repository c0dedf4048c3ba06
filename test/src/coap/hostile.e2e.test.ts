import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { below, mutated } from '../bridge/mutation.ts';
import { LONG, SEED, seeded } from '../crash.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { COAP_TOKENS, coapConversations, registration } from './hostile-conversations.ts';
import { expectAllAccounted, expectMemoryFlat, expectNoFault, memoryOf, sumOf, Witness } from './hostile-node.ts';
import { loopback, RawDevice } from './raw-device.ts';
import { CON, codeOf, empty } from './raw-message.ts';

const DATAGRAMS = LONG ? 2_000_000 : 100_000;
const STRANGERS = 100;
/** Sent before the node is waited for, lest the kernel drops what it can't keep. */
const TURN = 50;
const SOURCE_PORT = new URL('./raw-source-port.py', import.meta.url).pathname;

/** Why no datagram can be sent from port 0, or null. */
function missingRaw(): string | null {
  const told = spawnSync('python3', [SOURCE_PORT, '9', '00']);
  return told.status === 0 ? null : 'needs python3, and the right to raw sockets: run it as root';
}
const missing = missingRaw();

describe('CoAP against datagrams that no device should send', () => {
  const millrace = new Millrace({
    // Whoever floods is looked at all the same: here all that is sent shall be read.
    MILLRACE_COAP_FLOOD_PER_SECOND: '1000000',
    MILLRACE_COAP_FLOOD_BURST: '1000000',
    MILLRACE_COAP_ACK_TIMEOUT_MS: '500',
    MILLRACE_LOG_RETENTION_BYTES: String(16 * 1_048_576),
  });
  let admin: Rest;
  let publisher: Publisher;
  let victim: Publisher;

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    publisher = await newPublisher(admin, 'well-behaved');
    victim = await newPublisher(admin, 'victim');
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);
  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => console.log(`the node said last: ${millrace.stderr.slice(-6_000)}`));
  });

  test(`${DATAGRAMS} random and mutated ones: no fault, memory flat, others are served (seed ${SEED})`, {
    timeout: LONG ? 3_600_000 : 240_000,
  }, async () => {
    const told = `seed ${SEED}`;
    const { pid } = millrace;
    const next = below(seeded(SEED));
    const strangers = await Promise.all(
      Array.from({ length: STRANGERS }, (_, index) => RawDevice.open(millrace.coap, loopback(index + 1))),
    );
    const probe = await RawDevice.open(millrace.coap, loopback(1, 17));
    // The victim speaks LwM2M too, so that whoever registers as it is asked in turn.
    await admin.json('PUT', `/things/${victim.thing}/lwm2m`, {
      endpoint: victim.thing,
      channel_id: victim.channel,
      observe: [{ path: '/3303/0/5700' }],
    });
    const registered = await probe.ask(registration(victim));
    expect(codeOf(registered)).toBe('2.01');
    const seeds = coapConversations(victim, probe, registered.options.at(-1)?.[1].toString() ?? '');
    const codes = new Map<string, number>();
    for (const stranger of strangers) {
      stranger.onMessage = (message) => codes.set(codeOf(message), (codes.get(codeOf(message)) ?? 0) + 1);
    }
    const heardBefore = await sumOf(admin, 'millrace_coap_datagrams_total', 'direction="in"');
    const witness = await Witness.start(millrace, publisher, loopback(1, 18));
    let warmBytes = 0;
    for (let sent = 0; sent < DATAGRAMS; ) {
      for (let turn = 0; turn < TURN; turn++, sent++) {
        const stranger = strangers[next(STRANGERS)] as RawDevice;
        stranger.manner = (['acknowledge', 'reset', 'ignore'] as const)[next(3)] ?? 'ignore';
        // Some are what they should be: without them nothing would be under way that the others could disturb.
        const seed = seeds[next(seeds.length)] as Buffer;
        const datagram = Buffer.from(next(5) === 0 ? seed : mutated(seeds, COAP_TOKENS, next));
        // With one number again and again, most of them would be repeats, and not be read.
        if (datagram.length >= 4 && next(8) !== 0) datagram.writeUInt16BE(next(65_536), 2);
        stranger.send(datagram);
      }
      await probe.settled();
      if (warmBytes === 0 && sent >= DATAGRAMS * 0.4) warmBytes = memoryOf(pid);
    }
    expect((await sumOf(admin, 'millrace_coap_datagrams_total', 'direction="in"')) - heardBefore).toBeGreaterThan(
      DATAGRAMS,
    );
    await witness.end(told);

    expect(millrace.pid).toBe(pid);
    await expectNoFault(millrace, admin, told);
    console.log(`answers: ${JSON.stringify(Object.fromEntries([...codes].toSorted()))}`);
    expect(codes.get('5.00'), told).toBeUndefined();
    // Not all of it was nonsense: otherwise this would prove little.
    for (const code of ['2.01', '2.04', '2.05', '2.31', '4.01', '4.02', '4.04', '4.08']) {
      expect(codes.get(code) ?? 0, `${code}, ${told}`).toBeGreaterThan(0);
    }
    for (const stranger of strangers) stranger.manner = 'ignore';
    await expectAllAccounted(admin);
    await expectMemoryFlat(pid, warmBytes);
    for (const device of [...strangers, probe]) device.close();
  });

  test.skipIf(missing !== null)(
    `a datagram from source port 0 is dropped unread${missing === null ? '' : ` (${missing})`}`,
    async () => {
      const device = await RawDevice.open(millrace.coap, loopback(1, 19));
      const { channel, key } = victim;
      const uri = `channels/${channel}/messages?auth=${key}`;
      const datagrams = [
        device.request({ uri, payload: '[{"n":"port-0","v":1}]', format: 110 }),
        device.request({ uri, method: 'GET' }),
        empty(CON, 1),
        Buffer.from([0x40]),
      ];
      const dropped = (): Promise<number> => sumOf(admin, 'millrace_coap_dropped_datagrams_total', '"port_zero"');
      const before = await dropped();
      const { status, stderr } = spawnSync('python3', [
        SOURCE_PORT,
        millrace.coap.split(':').at(-1) ?? '',
        ...datagrams.map((each) => each.toString('hex')),
      ]);
      expect(status, stderr.toString()).toBe(0);
      await eventually('them to be dropped', 20_000, async () => (await dropped()) === before + datagrams.length);
      expect(codeOf(await device.ask({ uri, payload: '[{"n":"port-1","v":1}]', format: 110 }))).toBe('2.04');
      device.close();
      await expectNoFault(millrace, admin, 'source port 0');
    },
  );
});
