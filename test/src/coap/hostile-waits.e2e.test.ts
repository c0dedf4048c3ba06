import { mkdtempSync, rmSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLogger, type Started } from '@millrace/core';
import { type EmbeddedPostgres, embeddedPostgres } from '@millrace/registry';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually, freePort, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { Relay } from '../relay.ts';
import { expectStoredOnce, storedNames } from '../stored.ts';
import { expectNoFault, SENML, sumOf } from './hostile-node.ts';
import { loopback, RawDevice } from './raw-device.ts';
import { codeOf, numberOf, OPTION, type RawMessage } from './raw-message.ts';

const REPEATS = 20;
/** Of a message that fills the log. */
const BYTES = 20_000;
/** Longer than a request waits for its acknowledgement. */
const HELD_MS = 1_800;

describe('CoAP while the registry is slow or away', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-postgres-'));
  let postgres: Started<EmbeddedPostgres>;
  let relay: Relay;
  let millrace: Millrace;
  let admin: Rest;

  beforeAll(async () => {
    // mkdtemp makes 0700, which PostgreSQL's own user could not pass.
    await chmod(directory, 0o755);
    const logger = createLogger({ level: 'silent' });
    postgres = await embeddedPostgres({ directory: join(directory, 'postgres'), logger }).start();
    const { username, password, port, pathname, searchParams } = new URL(postgres.value.url);
    const directoryOfSocket = searchParams.get('host');
    relay = await Relay.to(
      directoryOfSocket === null ? Number(port) : join(directoryOfSocket, `.s.PGSQL.${searchParams.get('port')}`),
    );
    const url = `postgresql://${username}:${password}@127.0.0.1:${relay.port}${pathname}`;
    millrace = new Millrace({ MILLRACE_POSTGRES_URL: url });
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
  }, 120_000);
  afterAll(async () => {
    relay?.release();
    await millrace?.dispose();
    await relay?.close();
    await postgres?.stop();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);
  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => console.log(`the node said last: ${millrace.stderr.slice(-6_000)}`));
  });

  const uriOf = ({ channel }: Publisher, auth: string): string => `channels/${channel}/messages?auth=${auth}`;
  const requests = (): Promise<number> => sumOf(admin, 'millrace_coap_requests_total', 'method="POST"');
  async function heardBy(address: string): Promise<{ device: RawDevice; heard: RawMessage[] }> {
    const device = await RawDevice.open(millrace.coap, address);
    const heard: RawMessage[] = [];
    device.onMessage = (message) => heard.push(message);
    return { device, heard };
  }

  test('a request that is repeated while its sender is looked up is worked on once, and answered once', async () => {
    const publisher = await newPublisher(admin, 'looked-up');
    const { device, heard } = await heardBy(loopback(1, 80));
    const [before, duplicates] = [await requests(), await sumOf(admin, 'millrace_coap_duplicates_total')];
    const payload = '[{"n":"once","v":1}]';
    const datagram = device.request({ uri: uriOf(publisher, publisher.key), format: SENML, payload });
    relay.hold();
    try {
      for (let count = 0; count < REPEATS; count++) {
        device.send(datagram);
        await sleep(HELD_MS / REPEATS);
      }
      expect(heard.map(codeOf)).toEqual([]);
      await eventually('each repeat to be acknowledged', 20_000, async () => device.acknowledged >= REPEATS - 1);
      expect(heard.map(codeOf)).toEqual([]);
    } finally {
      relay.release();
    }
    await eventually('the answer', 30_000, async () => heard.length > 0);
    device.send(datagram);
    await device.settled();
    expect(heard.length).toBe(1);
    // On a machine so slow that a connection to the registry could not be opened in time it is to come later.
    const [code = ''] = heard.map(codeOf);
    expect(['2.04', '5.03']).toContain(code);
    expect((await requests()) - before).toBe(1);
    expect((await sumOf(admin, 'millrace_coap_duplicates_total')) - duplicates).toBe(REPEATS);
    await expectStoredOnce(publisher.rest, publisher.channel, code === '2.04' ? ['once'] : []);
    device.close();
  }, 90_000);

  test('without it, who is known goes on; who is not is told 5.03 with Max-Age, once for all repeats', async () => {
    const publisher = await newPublisher(admin, 'known');
    const stranger = await newPublisher(admin, 'not known yet');
    const known = await heardBy(loopback(2, 80));
    const ask = (name: string): Promise<RawMessage> =>
      known.device.ask({
        uri: uriOf(publisher, publisher.key),
        format: SENML,
        payload: `[{"n":"${name}","v":1}]`,
      });
    expect(codeOf(await ask('before'))).toBe('2.04');
    const names = ['before'];
    await postgres.stop();
    try {
      for (let index = 0; index < 10; index++) {
        names.push(`away-${index}`);
        expect(codeOf(await ask(`away-${index}`))).toBe('2.04');
      }
      const before = await requests();
      const { device, heard } = await heardBy(loopback(3, 80));
      const datagram = device.request({
        uri: uriOf(stranger, stranger.key),
        format: SENML,
        payload: '[{"n":"s","v":1}]',
      });
      for (let count = 0; count < REPEATS; count++) device.send(datagram);
      await eventually('the refusal', 30_000, async () => heard.length > 0);
      for (let count = 0; count < REPEATS; count++) device.send(datagram);
      await device.settled();
      expect(new Set(heard.map(codeOf))).toEqual(new Set(['5.03']));
      expect(numberOf(heard[0] as RawMessage, OPTION.MaxAge)).toBeGreaterThan(0);
      expect((await requests()) - before).toBe(1);
      device.close();
    } finally {
      const logger = createLogger({ level: 'silent' });
      postgres = await embeddedPostgres({ directory: join(directory, 'postgres'), logger }).start();
    }
    await expectStoredOnce(publisher.rest, publisher.channel, names);
    await expectNoFault(millrace, admin, 'the registry away');
    known.device.close();
  }, 120_000);
});

describe('CoAP while the log is full', () => {
  test('says 5.03 with Max-Age, loses nothing that was acknowledged, and goes on', { timeout: 180_000 }, async () => {
    // No store: what is published stays on the log.
    let millrace = new Millrace({
      MILLRACE_CLICKHOUSE_URL: `http://127.0.0.1:${await freePort()}`,
      MILLRACE_LOG_BYTES_MAX: String(2 * 1_048_576),
      MILLRACE_DRAIN_MS_MAX: '1000',
    });
    const { directory } = millrace;
    try {
      await millrace.start();
      const admin = await Rest.asAdmin(millrace);
      const { channel, key } = await newPublisher(admin, 'full');
      const uri = `channels/${channel}/messages?auth=${key}`;
      const device = await RawDevice.open(millrace.coap, loopback(1, 81));
      const acknowledged: string[] = [];
      const publish = async (name: string): Promise<RawMessage> => {
        const payload = JSON.stringify([{ n: name, vs: 'x'.repeat(BYTES) }]);
        const answer = await device.ask({ uri, format: SENML, payload });
        if (codeOf(answer) === '2.04') acknowledged.push(name);
        return answer;
      };
      let refusal = await publish('m-0');
      for (let count = 1; codeOf(refusal) === '2.04' && count < 1_000; count++) refusal = await publish(`m-${count}`);
      expect(codeOf(refusal)).toBe('5.03');
      expect(numberOf(refusal, OPTION.MaxAge)).toBeGreaterThan(0);
      // Many at once are refused, each of them once for all its repeats.
      const refusedBefore = await sumOf(admin, 'millrace_ingest_messages_total', 'protocol="coap"', '"refused"');
      const heard: RawMessage[] = [];
      device.onMessage = (message) => heard.push(message);
      for (let count = 0; count < REPEATS; count++) {
        const datagram = device.request({
          uri,
          format: SENML,
          payload: `[{"n":"no-${count}","vs":"${'x'.repeat(BYTES)}"}]`,
        });
        for (let times = 0; times < 3; times++) device.send(datagram);
      }
      await device.settled();
      await eventually('refusals', 20_000, async () => heard.length + device.acknowledged >= 3 * REPEATS);
      expect(new Set(heard.map(codeOf))).toEqual(new Set(['5.03']));
      expect(
        (await sumOf(admin, 'millrace_ingest_messages_total', 'protocol="coap"', '"refused"')) - refusedBefore,
      ).toBe(REPEATS);
      await expectNoFault(millrace, admin, 'a full log');
      device.close();
      await millrace.end('SIGKILL');
      millrace = await new Millrace({}, directory).start();
      const reader = (await Rest.asAdmin(millrace)).as(`Thing ${key}`);
      await expectStoredOnce(reader, channel, acknowledged);
      expect(new Set(await storedNames(reader, channel)).size).toBe(acknowledged.length);
      const again = await RawDevice.open(millrace.coap, loopback(1, 81));
      expect(codeOf(await again.ask({ uri, format: SENML, payload: '[{"n":"room","v":1}]' }))).toBe('2.04');
      again.close();
    } finally {
      await millrace.dispose();
    }
  });
});
