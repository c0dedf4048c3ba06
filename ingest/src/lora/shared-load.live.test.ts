import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHIRPSTACK_V4_EVENTS } from './events/chirpstack-v4-messages.ts';
import { brokered, MemoryDirectory } from './testing/memory-directory.ts';
import { openLora, until } from './testing/open-lora.ts';

const PROGRAM = existsSync('/usr/sbin/mosquitto') ? '/usr/sbin/mosquitto' : 'mosquitto';
const missing =
  spawnSync(PROGRAM, ['-h'], { stdio: 'ignore' }).error === undefined ? null : 'mosquitto is not installed';
const UP = JSON.parse(
  readFileSync(new URL('../../../test/lora/chirpstack-v4/up.json', import.meta.url), 'utf8'),
) as Record<string, unknown>;
const EVENTS = 200;

describe.skipIf(missing !== null)(`two nodes at one broker${missing === null ? '' : ` (${missing})`}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-share-'));
  let broker: ChildProcess;
  let url: string;
  let chirpStack: MqttClient;

  beforeAll(async () => {
    chmodSync(folder, 0o777);
    const port = await freePort();
    const config = join(folder, 'mosquitto.conf');
    writeFileSync(config, `listener ${port} 127.0.0.1\nallow_anonymous true\n`);
    broker = spawn(PROGRAM, ['-c', config], { stdio: 'ignore' });
    url = `mqtt://127.0.0.1:${port}`;
    chirpStack = await connectAsync(url, { reconnectPeriod: 100, connectTimeout: 20_000 });
  });
  afterAll(async () => {
    await chirpStack?.endAsync(true);
    broker?.kill();
    rmSync(folder, { recursive: true, force: true });
  });

  test('share the events: each of them takes some, none is taken twice', async () => {
    const directory = new MemoryDirectory();
    directory.addChannel('app');
    const devices = Array.from({ length: 20 }, (_, index) => `0101010101010${100 + index}`);
    for (const devEui of devices) directory.addThing(devEui);
    directory.addServer(brokered('shared', url));
    await using one = await openLora({}, { directory, instance: 'one' });
    await until('the first one is connected', () => directory.reports.get('shared')?.state === 'connected');
    directory.reports.clear();
    await using two = await openLora({}, { directory, instance: 'two' });
    await until('the second one is connected', () => directory.reports.get('shared')?.state === 'connected');
    for (let fCnt = 0; fCnt < EVENTS; fCnt++) {
      const devEui = devices[fCnt % devices.length] as string;
      const deviceInfo = { devEui, applicationId: 'app', deviceName: '' };
      const event = JSON.stringify({ ...UP, deduplicationId: randomUUID(), fCnt, deviceInfo });
      await chirpStack.publishAsync(`application/app/device/${devEui}/event/up`, event, { qos: 1 });
    }
    const keys = () =>
      [one, two].map((node) =>
        node.appended().flatMap(({ subtopic, dedupKey }) => (subtopic === 'radio' ? [dedupKey] : [])),
      );
    await until('all are stored', () => keys().flat().length >= EVENTS);
    const [first = [], second = []] = keys();
    expect(new Set([...first, ...second]).size).toBe(EVENTS);
    expect(first.length + second.length).toBe(EVENTS);
    expect(Math.min(first.length, second.length)).toBeGreaterThan(0);
  });

  test('of QoS 2 are taken once, in protobuf too', async () => {
    const directory = new MemoryDirectory();
    directory.addChannel('exact');
    const devEui = '0202020202020202';
    directory.addThing(devEui);
    directory.addServer(brokered('exact', url, { qos: 2, share: '', format: 'protobuf' }));
    await using node = await openLora({}, { directory, instance: 'exact' });
    await until('it is connected', () => directory.reports.get('exact')?.state === 'connected');
    const type = CHIRPSTACK_V4_EVENTS.up as NonNullable<typeof CHIRPSTACK_V4_EVENTS.up>;
    for (let fCnt = 0; fCnt < 20; fCnt++) {
      const deviceInfo = { devEui, applicationId: 'exact', deviceName: '' };
      const event = type.create({
        deduplicationId: randomUUID(),
        fCnt,
        deviceInfo,
        data: Uint8Array.of(fCnt),
        fPort: 1,
      });
      const topic = `application/exact/device/${devEui}/event/up`;
      await chirpStack.publishAsync(topic, Buffer.from(type.toBinary(event)), { qos: 2 });
    }
    const payloads = () =>
      node
        .appended()
        .flatMap(({ channel, subtopic, text }) => (channel === 'chan-exact' && subtopic === 'up/1' ? [text] : []));
    await until('all are stored', () => payloads().length >= 20);
    expect(payloads()).toEqual(Array.from({ length: 20 }, (_, index) => String.fromCharCode(index)));
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
