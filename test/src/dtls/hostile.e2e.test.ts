import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DtlsClient } from '@millrace/ingest/dtls-client';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { below } from '../bridge/mutation.ts';
import { expectMemoryFlat, expectNoFault, memoryOf, SENML, sumOf, Witness } from '../coap/hostile-node.ts';
import { loopback, RawDevice, UdpWire } from '../coap/raw-device.ts';
import { codeOf } from '../coap/raw-message.ts';
import { LONG, SEED, seeded } from '../crash.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { expectStoredOnce } from '../stored.ts';
import { SecureWire } from './hostile-session.ts';

const HELLOS = LONG ? 50_000 : 5_000;
const NOISE = LONG ? 500_000 : 20_000;
const SESSIONS = LONG ? 20_000 : 2_000;
const SESSIONS_MAX = 500;
const HANDSHAKES_MAX = 300;
const HANDSHAKE_S_MAX = 8;
const GUESSES = 300;
const FAILURES_PER_SECOND = 5;
/** Sent before the node is waited for. */
const TURN = 50;
const TEST_MS_MAX = LONG ? 1_800_000 : 240_000;

describe('CoAPS among strangers', () => {
  const millrace = new Millrace({
    MILLRACE_COAPS_PORT: '0',
    MILLRACE_COAPS_SESSIONS_MAX: String(SESSIONS_MAX),
    MILLRACE_COAPS_HANDSHAKES_MAX: String(HANDSHAKES_MAX),
    MILLRACE_COAPS_HANDSHAKE_S_MAX: String(HANDSHAKE_S_MAX),
    MILLRACE_COAPS_ADDRESS_FAILURES_PER_SECOND: String(FAILURES_PER_SECOND),
  });
  let admin: Rest;
  let publisher: Publisher;
  let coaps = '';
  let witness: Witness;
  let witnessWire: SecureWire;

  beforeAll(async () => {
    await millrace.start();
    coaps = (
      JSON.parse(readFileSync(join(millrace.directory, 'run', 'ready.json'), 'utf8')) as { readonly coaps: string }
    ).coaps;
    admin = await Rest.asAdmin(millrace);
    publisher = await newPublisher(admin, 'target');
    const own = await newPublisher(admin, 'well-behaved');
    witnessWire = await wireOf(loopback(1, 90), own);
    expect(await witnessWire.handshake()).toBe(true);
    witness = Witness.by(new RawDevice(witnessWire, '127.90.0.1'), own);
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);
  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => console.log(`seed ${SEED}; the node said last: ${millrace.stderr.slice(-6_000)}`));
  });

  const wireOf = (
    address: string,
    { thing, key }: Publisher,
    spoil?: (datagram: Buffer) => Buffer,
  ): Promise<SecureWire> =>
    SecureWire.open(coaps, address, { identity: thing, key, ...(spoil === undefined ? {} : { spoil }) });
  const refused = (reason: string): Promise<number> =>
    sumOf(admin, 'millrace_coaps_records_refused_total', `"${reason}"`);
  const sessions = (): Promise<number> => sumOf(admin, 'millrace_coaps_sessions');
  const handshakes = (): Promise<number> => sumOf(admin, 'millrace_coaps_handshakes');
  const publish = async (device: RawDevice, name: string): Promise<string> =>
    codeOf(
      await device.ask(
        { uri: `channels/${publisher.channel}/messages`, format: SENML, payload: `[{"n":"${name}","v":1}]` },
        60_000,
      ),
    );

  test(
    `${HELLOS} ClientHellos of forged addresses bring each no more than it sent, and leave nothing behind`,
    async () => {
      const before = await sessions();
      let question = Buffer.alloc(0);
      const client = new DtlsClient({
        psk: { identity: publisher.thing, key: Buffer.from(publisher.key) },
        send: (datagram) => {
          question = Buffer.from(datagram);
        },
      });
      let answers = 0;
      let largest = 0;
      for (let sent = 0; sent < HELLOS; sent += TURN) {
        const wires = await Promise.all(
          Array.from({ length: TURN }, (_, index) => UdpWire.open(coaps, loopback(sent + index + 1, 91))),
        );
        let heard = 0;
        for (const wire of wires) {
          wire.onDatagram = (datagram) => {
            heard++;
            largest = Math.max(largest, datagram.length / question.length);
          };
          // With a new random each time.
          client.start();
          wire.send(question);
        }
        await eventually('the answers', 30_000, async () => heard >= TURN);
        answers += heard;
        for (const wire of wires) wire.close();
      }
      console.log(`${answers} answers of ${largest.toFixed(2)} times the question at most`);
      expect(answers).toBe(HELLOS);
      expect(largest).toBeLessThanOrEqual(1);
      expect([await handshakes(), await sessions()]).toEqual([0, before]);
    },
    TEST_MS_MAX,
  );

  test('a session that is recorded and sent again, whole, is counted once and disturbs nobody', async () => {
    const wire = await wireOf(loopback(1, 92), publisher);
    expect(await wire.handshake()).toBe(true);
    const device = new RawDevice(wire, '127.92.0.1');
    const names = Array.from({ length: 20 }, (_, index) => `recorded-${index}`);
    for (const name of names) expect(await publish(device, name)).toBe('2.04');
    const recorded = [...wire.recorded];
    const before = await refused('replayed');
    const elsewhere = await UdpWire.open(coaps, loopback(2, 92));
    for (let round = 0; round < 3; round++)
      for (const datagram of recorded) {
        wire.transmit(datagram);
        elsewhere.send(datagram);
      }
    await eventually('them to be recognised', 20_000, async () => (await refused('replayed')) >= before + names.length);
    // The session goes on.
    expect(await publish(device, 'goes-on')).toBe('2.04');
    expect(wire.closed).toBe(null);
    await expectStoredOnce(publisher.rest, publisher.channel, [...names, 'goes-on']);
    elsewhere.close();
    device.close();
    await eventually('half of a handshake to be forgotten', 30_000, async () => (await handshakes()) === 0);
  }, 90_000);

  test(
    'a network that spoils three datagrams of ten delays messages, and changes none',
    async () => {
      const next = below(seeded(SEED));
      const before = await refused('forged');
      const wire = await wireOf(loopback(1, 93), publisher, (datagram) => {
        if (next(10) >= 3) return datagram;
        const spoiled = Buffer.from(datagram);
        for (let count = next(4); count >= 0; count--) spoiled[next(spoiled.length)] = next(256);
        return next(5) === 0 ? spoiled.subarray(0, next(spoiled.length)) : spoiled;
      });
      // A handshake may fail by this, as it may by anybody in between.
      await eventually('a handshake', 60_000, () => wire.handshake(4_000));
      const device = new RawDevice(wire, '127.93.0.1');
      const names = Array.from({ length: 8 }, (_, index) => `spoiled-${index}`);
      expect(await Promise.all(names.map((name) => publish(device, name)))).toEqual(names.map(() => '2.04'));
      for (let count = 0; count < 200; count++) wire.send(Buffer.from([0x40, 0, 0, count]));
      await eventually('spoiled ones to be seen', 20_000, async () => (await refused('forged')) > before);
      await expectStoredOnce(publisher.rest, publisher.channel, names);
      device.close();
    },
    TEST_MS_MAX,
  );

  test(
    `${NOISE} datagrams of noise that looks like records (seed ${SEED})`,
    async () => {
      const next = below(seeded(SEED));
      const wires = await Promise.all(
        Array.from({ length: 40 }, (_, index) => UdpWire.open(coaps, loopback(index + 1, 94))),
      );
      const { pid } = millrace;
      const bytes = memoryOf(pid);
      const before = (await refused('malformed')) + (await refused('unknown'));
      for (let sent = 0; sent < NOISE; sent++) {
        const datagram = Buffer.from(Array.from({ length: next(160) }, () => next(256)));
        if (next(4) > 0 && datagram.length >= 13) {
          datagram[0] = 20 + next(6);
          datagram.writeUInt16BE(0xfefd, 1);
          datagram.writeUInt16BE(next(3), 3);
          if (next(4) > 0) datagram.writeUInt16BE(datagram.length - 13, 11);
        }
        (wires[next(wires.length)] as UdpWire).send(datagram);
        // The well-behaved device shows by its answers that the node keeps pace.
        if (sent % (2 * TURN) === 0) {
          const { length } = witness.names;
          await eventually('the node to keep pace', 30_000, async () => witness.names.length > length);
        }
      }
      expect((await refused('malformed')) + (await refused('unknown'))).toBeGreaterThan(before + NOISE / 4);
      for (const wire of wires) wire.close();
      await expectNoFault(millrace, admin, `seed ${SEED}`);
      await expectMemoryFlat(pid, bytes);
    },
    TEST_MS_MAX,
  );

  test(
    `${SESSIONS} sessions that are opened and left, and handshakes that stop half-way, take a bounded place`,
    async () => {
      const owners: Publisher[] = [];
      for (let index = 0; index < SESSIONS / 50; index++) owners.push(await newPublisher(admin, `owner-${index}`));
      let warmBytes = 0;
      const before = await sumOf(admin, 'millrace_coaps_handshakes_total', '"established"');
      let most = 0;
      for (let opened = 0; opened < SESSIONS; opened += TURN) {
        const owner = owners[opened / TURN] as Publisher;
        const wires = await Promise.all(
          Array.from({ length: TURN }, (_, index) => wireOf(loopback(opened + index + 1, 95), owner)),
        );
        expect(await Promise.all(wires.map((wire) => wire.handshake()))).toEqual(wires.map(() => true));
        for (const wire of wires) wire.close();
        most = Math.max(most, await sessions());
        if (opened === SESSIONS / 2) warmBytes = memoryOf(millrace.pid);
      }
      expect((await sumOf(admin, 'millrace_coaps_handshakes_total', '"established"')) - before).toBe(SESSIONS);
      expect(most).toBeLessThanOrEqual(SESSIONS_MAX);

      const halves = await Promise.all(
        Array.from({ length: 2 * HANDSHAKES_MAX }, async (_, index) => {
          const udp = await UdpWire.open(coaps, loopback(index + 1, 96));
          const client: DtlsClient = new DtlsClient({
            psk: { identity: publisher.thing, key: Buffer.from(publisher.key) },
            // The cookie is shown, and then nothing more is said.
            send: (datagram) => sent++ < 2 && udp.send(datagram),
          });
          let sent = 0;
          udp.onDatagram = (datagram) => client.receive(datagram);
          client.start();
          return udp;
        }),
      );
      await eventually('handshakes to stop half-way', 20_000, async () => (await handshakes()) > HANDSHAKES_MAX / 2);
      expect(await handshakes()).toBeLessThanOrEqual(HANDSHAKES_MAX);
      await eventually('them to be forgotten', (HANDSHAKE_S_MAX + 20) * 1_000, async () => (await handshakes()) === 0);
      for (const udp of halves) udp.close();
      await expectMemoryFlat(millrace.pid, warmBytes);
    },
    TEST_MS_MAX,
  );

  test('an address that guesses keys is slowed; another one is let in', async () => {
    const before = await sumOf(admin, 'millrace_coaps_handshakes_total', '"wrong_key"');
    const begunMs = performance.now();
    const guesses = await Promise.all(
      Array.from({ length: GUESSES }, () =>
        SecureWire.open(coaps, '127.97.0.1', { identity: publisher.thing, key: 'a guess' }),
      ),
    );
    const ends = guesses.map((wire) => wire.handshake(3_000).catch(() => false));
    const other = await wireOf(loopback(2, 97), publisher);
    const askedMs = performance.now();
    expect(await other.handshake()).toBe(true);
    const waitedMs = performance.now() - askedMs;
    expect(await Promise.all(ends)).toEqual(guesses.map(() => false));
    const guessed = (await sumOf(admin, 'millrace_coaps_handshakes_total', '"wrong_key"')) - before;
    const seconds = (performance.now() - begunMs) / 1_000;
    console.log(
      `${guessed} of ${GUESSES} guesses were judged; another address was let in after ${waitedMs.toFixed(0)} ms`,
    );
    expect(guessed).toBeGreaterThan(0);
    // Ten seconds' worth at once.
    expect(guessed).toBeLessThanOrEqual((10 + seconds) * FAILURES_PER_SECOND + 1);
    expect(waitedMs).toBeLessThan(5_000);
    const device = new RawDevice(other, '127.97.0.2');
    expect(await publish(device, 'let-in')).toBe('2.04');
    for (const each of [...guesses, device]) each.close();
  }, 60_000);

  test('the device that was there all the time lost nothing, nor its session', async () => {
    await witness.end('beside all of this');
    expect(witnessWire.closed).toBe(null);
    expect(witnessWire.recorded.length).toBeGreaterThan(witness.names.length);
    await expectNoFault(millrace, admin, 'all of this');
  }, 90_000);
});
