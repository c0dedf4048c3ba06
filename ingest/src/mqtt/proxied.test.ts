import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { KEY, THING } from '../testing/gate.ts';
import { type OpenMqtt, openMqtt, TOPIC } from './testing/open-mqtt.ts';
import { connectPacket, generate, RawMqtt } from './testing/raw-mqtt.ts';
import { until } from './testing/until.ts';

const LOOPBACK = { MILLRACE_MQTT_PROXY_PROTOCOL: '127.0.0.1' };
const HEADER = Buffer.from('PROXY TCP4 203.0.113.9 10.0.0.1 4660 1883\r\n');
const CONNECT = generate(connectPacket({ username: THING, password: Buffer.from(KEY) }));
const PUBLISH = generate({
  cmd: 'publish',
  topic: TOPIC,
  payload: 'x',
  qos: 1,
  messageId: 1,
  dup: false,
  retain: false,
});

let mqtt: OpenMqtt;
const clients: RawMqtt[] = [];
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await mqtt.close();
});
function opened(): RawMqtt {
  const client = new RawMqtt(mqtt.port);
  clients.push(client);
  return client;
}
const judged = () => mqtt.gate.contexts.map(({ remoteAddress, tls }) => ({ remoteAddress, tls }));

describe('a connection that a proxy passes on', () => {
  test('is judged by the address that the proxy names, however the bytes are cut', async () => {
    mqtt = await openMqtt(LOOPBACK);
    const all = Buffer.concat([HEADER, CONNECT, PUBLISH]);
    for (const cut of [all.length, 3, HEADER.length, HEADER.length + 1, HEADER.length + CONNECT.length]) {
      mqtt.gate.contexts.length = 0;
      const client = opened();
      client.send(all.subarray(0, cut));
      await new Promise((resolve) => setImmediate(resolve));
      if (cut < all.length) client.send(all.subarray(cut));
      expect((await client.next('connack')).returnCode).toBe(0);
      await client.next('puback');
      expect(judged()).toEqual([{ remoteAddress: '203.0.113.9', tls: false }]);
    }
  });

  test('came by TLS where the operator says so', async () => {
    mqtt = await openMqtt({ ...LOOPBACK, MILLRACE_MQTT_PROXY_TLS: 'on' });
    const client = opened().send(HEADER, CONNECT, PUBLISH);
    await client.next('puback');
    expect(judged()).toEqual([{ remoteAddress: '203.0.113.9', tls: true }]);
  });

  test('is the proxy’s own when it says that it does not know whose it is', async () => {
    mqtt = await openMqtt(LOOPBACK);
    const client = opened().send(Buffer.from('PROXY UNKNOWN\r\n'), CONNECT, PUBLISH);
    await client.next('puback');
    expect(judged()).toEqual([{ remoteAddress: '127.0.0.1', tls: false }]);
  });

  test('is closed when it has no header, and counted', async () => {
    mqtt = await openMqtt(LOOPBACK);
    await opened().send(CONNECT).end();
    await opened().send(Buffer.from('PROXY TCP4 nonsense\r\n')).end();
    expect(await refusals('malformed')).toBe(2);
  });

  test('is closed when the header does not come in time', async () => {
    mqtt = await openMqtt({ ...LOOPBACK, MILLRACE_MQTT_CONNECT_MS_MAX: '100' });
    const client = opened().send(HEADER.subarray(0, 10));
    await client.end();
    expect(await refusals('malformed')).toBe(1);
  });

  test('is nothing that anybody else can say', async () => {
    mqtt = await openMqtt({ MILLRACE_MQTT_PROXY_PROTOCOL: '192.0.2.0/24' });
    await opened().send(HEADER, CONNECT).end();
    const client = opened().send(CONNECT, PUBLISH);
    await client.next('puback');
    expect(judged()).toEqual([{ remoteAddress: '127.0.0.1', tls: false }]);
  });

  test('is let go with the rest', async () => {
    mqtt = await openMqtt(LOOPBACK);
    const client = opened().send(HEADER.subarray(0, 10));
    await until('it is there', () => client.socket.readyState === 'open');
    await mqtt.close();
    await client.end();
    mqtt = await openMqtt();
  });

  describe('with TLS inside', () => {
    let directory: string;
    beforeAll(() => {
      directory = mkdtempSync(join(tmpdir(), 'millrace-proxied-'));
      const certificate = ['-keyout', join(directory, 'key.pem'), '-out', join(directory, 'cert.pem'), '-days', '2'];
      execFileSync(
        'openssl',
        ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', ...certificate].concat([
          '-subj',
          '/CN=localhost',
        ]),
        { stdio: 'ignore' },
      );
    });
    afterAll(() => rmSync(directory, { recursive: true, force: true }));

    test('is judged by the address that the proxy names', async () => {
      mqtt = await openMqtt({
        ...LOOPBACK,
        MILLRACE_MQTT_PORT: 'off',
        MILLRACE_MQTTS_PORT: '0',
        MILLRACE_MQTT_TLS_CERT: join(directory, 'cert.pem'),
        MILLRACE_MQTT_TLS_KEY: join(directory, 'key.pem'),
      });
      const raw: Socket = connectTcp({ port: mqtt.port, host: '127.0.0.1' });
      await new Promise<void>((resolve, reject) => {
        raw.once('error', reject);
        raw.write(HEADER, () => resolve());
      });
      const secure = connectTls({
        socket: raw,
        ca: readFileSync(join(directory, 'cert.pem')),
        servername: 'localhost',
      });
      secure.write(Buffer.concat([CONNECT, PUBLISH]));
      let received = 0;
      secure.on('data', (chunk: Buffer) => {
        received += chunk.length;
      });
      // CONNACK and PUBACK, of four bytes each.
      await until('it is answered', () => received === 8);
      expect(judged()).toEqual([{ remoteAddress: '203.0.113.9', tls: true }]);
      secure.destroy();
    });
  });
});

const refusals = (reason: string): Promise<number> =>
  mqtt.count('millrace_ingest_messages_total', { protocol: 'mqtt', outcome: 'refused', reason });
