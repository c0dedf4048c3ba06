import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import gw from '@chirpstack/chirpstack-api/gw/gw_pb.js';
import integration from '@chirpstack/chirpstack-api/integration/integration_pb.js';
import struct from 'google-protobuf/google/protobuf/struct_pb.js';
import timestamp from 'google-protobuf/google/protobuf/timestamp_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, Rest } from '../millrace.ts';
import { chirpStackEvent, eventFile, type Sensor } from './lora-events.ts';
import { newApplication, readingsOf, untilDead, untilReadings } from './lora-world.ts';

const JSON_TYPE = { 'content-type': 'application/json' };

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly token: string;
  readonly body: Record<string, unknown>;
}

/** The REST interface of a network server. */
class Api {
  readonly asked: Asked[] = [];
  /** What the next request is answered with. */
  status = 200;
  answer: unknown = {};
  readonly #server: Server = createServer((request, response) => {
    void bodyOf(request).then((text) => {
      const { method = '', url = '', headers } = request;
      this.asked.push({
        method,
        path: url,
        token: String(headers.authorization),
        body: text === '' ? {} : JSON.parse(text),
      });
      response.writeHead(this.status, JSON_TYPE).end(JSON.stringify(this.answer));
    });
  });

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }
  stop(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += String(chunk);
  return text;
}

describe('network servers that send by HTTP', { timeout: 180_000 }, () => {
  const millrace = new Millrace();
  const api = new Api();
  let admin: Rest;
  let org: string;
  let apiUrl: string;

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    apiUrl = await api.start();
    const { orgs } = await admin.json<{ orgs: { id: string }[] }>('GET', '/orgs');
    org = orgs[0]?.id ?? '';
  }, 180_000);
  afterAll(async () => {
    await api.stop();
    await millrace.dispose();
  }, 120_000);

  const post = (rest: Rest, query: string, body: Uint8Array | string, headers: Record<string, string> = JSON_TYPE) =>
    rest.raw('POST', `/lora/chirpstack${query}`, body, headers);
  /** An app that may publish to the channel. */
  const appOf = async (channel: string): Promise<Rest> => {
    const { id, key } = await admin.json<{ id: string; key: string }>('POST', '/things', {
      name: 'bridge',
      type: 'app',
    });
    await admin.json('POST', '/connect', { channel_ids: [channel], thing_ids: [id] });
    return admin.as(`Thing ${key}`);
  };

  test('what ChirpStack posts is answered once it is durable, and told again it is not stored twice', async () => {
    const sensor = await newApplication(admin);
    const app = await appOf(sensor.channel);
    const event = chirpStackEvent('up', sensor);
    const first = await post(app, '?event=up', event);
    expect(first.status).toBe(202);
    const { id } = (await first.json()) as { id: string };
    expect((await admin.raw('GET', `/messages/${id}`)).status).toBe(200);
    const again = await post(app, '?event=up', gzipSync(event), { ...JSON_TYPE, 'content-encoding': 'gzip' });
    expect([again.status, await again.json()]).toEqual([202, { id, repeated: true }]);
    await post(app, '?event=up', chirpStackEvent('up', sensor, { fCnt: 3 }));
    const counters = await eventually('both uplinks', 60_000, async () => {
      const found = (await readingsOf(admin, sensor.channel)).filter(({ name }) => name === 'f_cnt');
      return found.length >= 2 && found.map(({ value }) => value);
    });
    expect(counters).toEqual([3, 0]);
  });

  test('who may not publish to the channel, or is not known, is refused, and learns of no channel', async () => {
    const sensor = await newApplication(admin);
    const event = chirpStackEvent('up', sensor);
    expect((await post(admin.as(''), '?event=up', event)).status).toBe(401);
    expect((await post(admin.as('Thing none'), '?event=up', event)).status).toBe(401);
    const { key } = await admin.json<{ key: string }>('POST', '/things', { name: 'nobody', type: 'app' });
    expect((await post(admin.as(`Thing ${key}`), '?event=up', event)).status).toBe(403);
    const stranger = `${randomUUID()}@example.org`;
    await admin.json('POST', '/users', { email: stranger, password: 'a long password of a stranger' });
    const { token } = await admin.json<{ token: string }>('POST', '/tokens', {
      email: stranger,
      password: 'a long password of a stranger',
    });
    const answers = [];
    for (const application of [sensor.application, randomUUID()]) {
      const body = chirpStackEvent('up', { ...sensor, application });
      const answer = await post(admin.as(`Bearer ${token}`), `?event=up&org=${org}`, body);
      answers.push([answer.status, await answer.json()]);
    }
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]?.[0]).toBe(404);
  });

  test('a device tells no events: it could pretend to be any other device of the organisation', async () => {
    const sensor = await newApplication(admin);
    const { id, key } = await admin.json<{ id: string; key: string }>('POST', '/things', { name: 'a mere device' });
    await admin.json('POST', '/connect', { channel_ids: [sensor.channel], thing_ids: [id] });
    const answer = await post(admin.as(`Thing ${key}`), '?event=up', chirpStackEvent('up', sensor));
    expect([answer.status, await answer.text()]).toEqual([403, expect.stringContaining('type app or gateway')]);
    expect((await post(await appOf(sensor.channel), '?event=up', chirpStackEvent('up', sensor))).status).toBe(202);
  });

  test('a user says which organisation it is for', async () => {
    const sensor = await newApplication(admin);
    const event = chirpStackEvent('up', sensor);
    expect((await post(admin, '?event=up', event)).status).toBe(400);
    expect((await post(admin, `?event=up&org=${org}`, event)).status).toBe(202);
    expect((await post(admin, `?event=up&org=${org}&server=${randomUUID()}`, event)).status).toBe(404);
  });

  test('a device that is not connected is spoken for by its caller; one that is disabled is not', async () => {
    const sensor = await newApplication(admin, { device: false });
    const { id } = await admin.json<{ id: string }>('POST', '/things', { name: 'loose', external_id: sensor.devEui });
    const app = await appOf(sensor.channel);
    expect((await post(app, '?event=up', chirpStackEvent('up', sensor))).status).toBe(202);
    const readings = await untilReadings(admin, sensor.channel, ['temperature']);
    expect(readings.find(({ name }) => name === 'temperature')?.publisher).toBe(id);
    await admin.json('POST', `/things/${id}/disable`);
    const answer = await post(app, '?event=up', chirpStackEvent('up', sensor));
    expect([answer.status, await answer.json()]).toEqual([202, expect.objectContaining({ dead_letter: 'forbidden' })]);
  });

  test('an unknown device is a dead letter whose id is answered, so that nobody tries for ever', async () => {
    const sensor = await newApplication(admin, { device: false });
    const answer = await post(await appOf(sensor.channel), '?event=up', chirpStackEvent('up', sensor));
    expect(answer.status).toBe(202);
    const told = (await answer.json()) as { id: string; dead_letter: string; detail: string };
    expect(told).toMatchObject({ dead_letter: 'unknown_device', detail: expect.stringContaining(sensor.devEui) });
    const letter = await untilDead(admin, ({ detail }) => detail.includes(sensor.devEui));
    expect(letter).toMatchObject({ reason: 'unknown_device', channel: sensor.channel });
  });

  test('what is no event is refused with what is wrong', async () => {
    const sensor = await newApplication(admin);
    const app = await appOf(sensor.channel);
    for (const [query, body] of [
      ['?event=up', '{"deviceInfo":[]}'],
      ['?event=up', 'no JSON'],
      ['?event=nothing', JSON.stringify(eventFile('chirpstack-v4/up'))],
      ['', '{}'],
      ['?event=up', ''],
    ] as const) {
      expect((await post(app, query, body)).status, `${query} ${body}`).toBe(400);
    }
    expect((await app.raw('GET', '/lora/chirpstack')).status).toBe(405);
    expect((await post(app, '?event=up', Buffer.alloc(300_000, 32))).status).toBe(413);
  });

  test('protobuf, as ChirpStack itself makes it, is the same', async () => {
    const sensor = await newApplication(admin);
    const event = protobufUplink(sensor);
    const type = { 'content-type': 'application/octet-stream' };
    expect((await post(await appOf(sensor.channel), '?event=up', event, type)).status).toBe(202);
    const readings = await untilReadings(admin, sensor.channel, ['temperature', 'rssi']);
    const of = (name: string) => readings.find((reading) => reading.name === name);
    expect(of('temperature')?.value).toBe(18.5);
    expect(of('rssi')).toMatchObject({ value: -71, unit: 'dBm', time: 1_784_367_255.775 });
    expect(of('f_cnt')?.value).toBe(0);
  });

  test('The Things Stack and ChirpStack v3 are told apart by what they send', async () => {
    const sensor = await newApplication(admin);
    const app = await appOf(sensor.channel);
    const thingsStack = eventFile('tts-v3/up');
    const ids = thingsStack.end_device_ids as object;
    const end_device_ids = {
      ...ids,
      dev_eui: sensor.devEui.toUpperCase(),
      application_ids: { application_id: sensor.application },
    };
    const body = JSON.stringify({ ...thingsStack, end_device_ids });
    expect((await app.raw('POST', '/lora/tts/up', body, JSON_TYPE)).status).toBe(202);
    const readings = await untilReadings(admin, sensor.channel, ['temperature', 'spreading_factor']);
    expect(readings.find(({ name }) => name === 'temperature')).toMatchObject({ subtopic: 'up/15', value: 1 });
    const applicationID = String(Math.floor(Math.random() * 1e9));
    await admin.json('PATCH', `/channels/${sensor.channel}`, { metadata: { lora: { app_id: applicationID } } });
    const devEUI = Buffer.from(sensor.devEui, 'hex').toString('base64');
    const v3 = JSON.stringify({ ...eventFile('chirpstack-v3/up'), applicationID, devEUI });
    await eventually('the channel stands for another application', 60_000, async () => {
      const { status } = await post(app, '?event=up', v3);
      return status === 202;
    });
    await untilReadings(admin, sensor.channel, ['temperatureSensor', 'humiditySensor']);
  });

  test('downlinks are enqueued by HTTP, what waits thrown away before if that is asked', async () => {
    const { id: server } = await admin.json<{ id: string }>('POST', '/networkservers', {
      name: 'by HTTP',
      kind: 'chirpstack-v4',
      http: { url: apiUrl, token: 'the token of the API' },
    });
    try {
      const sensor = await newApplication(admin);
      const itemId = randomUUID();
      api.answer = { id: itemId };
      const { id } = await admin.json<{ id: string }>('POST', `/things/${sensor.thing}/commands`, {
        kind: 'lora.downlink',
        arguments: { f_port: 12, hex: '0102', confirmed: true, flush: true },
      });
      const state = (wanted: string) =>
        eventually(`the command is ${wanted}`, 60_000, async () => {
          const told = await admin.json<{ state: string; detail?: string }>('GET', `/commands/${id}`);
          if (told.state !== wanted) throw new Error(JSON.stringify(told));
          return told;
        });
      await eventually('both requests', 60_000, async () => api.asked.length === 2);
      await state('sent');
      const path = `/api/devices/${sensor.devEui}/queue`;
      expect(api.asked.map(({ method, path: asked }) => [method, asked])).toEqual([
        ['DELETE', path],
        ['POST', path],
      ]);
      expect(api.asked[1]).toMatchObject({
        token: 'Bearer the token of the API',
        body: { queueItem: { confirmed: true, fPort: 12, data: 'AQI=' } },
      });
      const app = await appOf(sensor.channel);
      await post(app, '?event=txack', chirpStackEvent('txack', sensor, { queueItemId: itemId }));
      await state('acknowledged');
      await post(app, '?event=ack', chirpStackEvent('ack', sensor, { queueItemId: itemId, acknowledged: false }));
      expect((await state('failed')).detail).toContain('did not acknowledge');
    } finally {
      await admin.json('DELETE', `/networkservers/${server}`);
    }
  });
});

function protobufUplink({ devEui, application }: Sensor): Uint8Array {
  const device = new integration.DeviceInfo();
  device.setDevEui(devEui);
  device.setApplicationId(application);
  device.setDeviceName('protobuf');
  const time = new timestamp.Timestamp();
  time.setSeconds(1_784_367_255);
  time.setNanos(775_000_000);
  const heard = new gw.UplinkRxInfo();
  heard.setGatewayId('0016c001f153a14c');
  heard.setRssi(-71);
  heard.setSnr(4.5);
  const sent = new gw.UplinkTxInfo();
  sent.setFrequency(868_100_000);
  const event = new integration.UplinkEvent();
  event.setDeduplicationId(randomUUID());
  event.setTime(time);
  event.setDeviceInfo(device);
  event.setFPort(2);
  event.setData(Uint8Array.of(1, 2));
  event.addRxInfo(heard);
  event.setTxInfo(sent);
  event.setObject(struct.Struct.fromJavaScript({ temperature: 18.5 }));
  return event.serializeBinary();
}
