import { randomUUID } from 'node:crypto';
import type { MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, Rest } from '../millrace.ts';
import { chirpStackEvent, eventTopicOf, newDevEui, thingsStackEvent } from './lora-events.ts';
import {
  newApplication,
  newDevice,
  newServer,
  readingsOf,
  untilConnected,
  untilDead,
  untilReadings,
} from './lora-world.ts';
import { Mosquitto, missingMosquitto } from './mosquitto.ts';

describe.skipIf(missingMosquitto !== null)(
  `a network server's broker${missingMosquitto === null ? '' : ` (${missingMosquitto})`}`,
  { timeout: 180_000 },
  () => {
    const broker = new Mosquitto();
    const millrace = new Millrace();
    let admin: Rest;
    /** ChirpStack's own connection. */
    let chirpStack: MqttClient;
    let server: string;
    const downlinks: { readonly topic: string; readonly text: string }[] = [];

    beforeAll(async () => {
      await broker.start();
      await millrace.start();
      admin = await Rest.asAdmin(millrace);
      server = await newServer(admin, broker.tlsUrl, {}, { ca: broker.authority?.cert });
      chirpStack = await broker.client();
      chirpStack.on('message', (topic, payload) => downlinks.push({ topic, text: payload.toString() }));
      await chirpStack.subscribeAsync('application/+/device/+/command/#', { qos: 1 });
      await untilConnected(millrace.url, admin.authorization, 1);
    }, 180_000);
    afterAll(async () => {
      await chirpStack?.endAsync(true);
      await millrace.dispose();
      await broker.dispose();
    }, 120_000);

    const tell = (topic: string, payload: Buffer) => chirpStack.publishAsync(topic, payload, { qos: 1 });

    test('an uplink becomes readings of its device, and how it was heard others, at the time of the event', async () => {
      const sensor = await newApplication(admin);
      const time = '2026-07-18T09:34:15.775023242+00:00';
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor, { time }));
      const readings = await untilReadings(admin, sensor.channel, ['temperature', 'rssi', 'f_cnt']);
      const of = (name: string) => readings.find((reading) => reading.name === name);
      expect(of('temperature')).toMatchObject({
        subtopic: 'up/1',
        publisher: sensor.thing,
        protocol: 'lora',
        value: 21.5,
        time: Date.parse('2026-07-18T09:34:15.775Z') / 1_000 + 0.000023,
      });
      expect(of('rssi')).toMatchObject({ subtopic: 'radio', unit: 'dBm', value: -36, publisher: sensor.thing });
      expect(of('snr')).toMatchObject({ unit: 'dB', value: 10.5 });
      expect(of('spreading_factor')?.value).toBe(11);
      expect(of('frequency')).toMatchObject({ unit: 'Hz', value: 867_100_000 });
      expect(of('gateway')?.string_value).toBe('0016c001f153a14c');
      expect(of('gateway_count')?.value).toBe(2);
      expect(of('gateway_latitude')).toMatchObject({ unit: 'lat', value: 52.3740364 });
      // What proto3 JSON leaves out.
      expect(of('f_cnt')?.value).toBe(0);
      expect(of('adr')?.bool_value).toBe(false);
    });

    test('an event that is told again is stored once', async () => {
      const sensor = await newApplication(admin);
      const event = chirpStackEvent('up', sensor);
      for (let index = 0; index < 3; index++) await tell(eventTopicOf(sensor, 'up'), event);
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor, { fCnt: 7 }));
      await eventually('the second uplink', 60_000, async () =>
        (await readingsOf(admin, sensor.channel)).some(({ name, value }) => name === 'f_cnt' && value === 7),
      );
      const readings = await readingsOf(admin, sensor.channel);
      expect(readings.filter(({ name }) => name === 'f_cnt').map(({ value }) => value)).toEqual([7, 0]);
      expect(readings.filter(({ name }) => name === 'temperature')).toHaveLength(2);
    });

    test('a device that nobody has made is a dead letter that names it, and is heard once it is made', async () => {
      const sensor = await newApplication(admin, { device: false });
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor));
      const letter = await untilDead(admin, ({ detail }) => detail.includes(sensor.devEui));
      expect(letter).toMatchObject({ reason: 'unknown_device', channel: sensor.channel });
      await newDevice(admin, sensor.channel, sensor.devEui.toUpperCase());
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor));
      await untilReadings(admin, sensor.channel, ['temperature', 'rssi']);
    });

    test('an application without a channel, an event that is none, and a disabled device are dead letters', async () => {
      const sensor = await newApplication(admin);
      const nowhere = { ...sensor, application: randomUUID() };
      await tell(eventTopicOf(nowhere, 'up'), chirpStackEvent('up', nowhere));
      await tell(eventTopicOf(sensor, 'up'), Buffer.from('{"deviceInfo": 7}'));
      const unknown = await untilDead(admin, ({ detail }) => detail.includes(nowhere.application));
      expect(unknown).toMatchObject({ reason: 'unknown_application', channel: server });
      const bad = await untilDead(admin, ({ reason, channel }) => reason === 'bad_event' && channel === sensor.channel);
      expect(bad.detail).toContain('deviceInfo');
      await admin.json('POST', `/things/${sensor.thing}/disable`);
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor));
      const forbidden = await untilDead(admin, ({ detail }) => detail.includes(sensor.thing));
      expect(forbidden.reason).toBe('forbidden');
    });

    test('what else the network server tells is read on event/<type>', async () => {
      const sensor = await newApplication(admin);
      for (const name of ['join', 'status', 'location', 'log']) {
        await tell(eventTopicOf(sensor, name), chirpStackEvent(name, sensor));
      }
      const readings = await untilReadings(admin, sensor.channel, ['dev_addr', 'battery', 'latitude', 'description']);
      const of = (name: string) => readings.find((reading) => reading.name === name);
      expect(of('battery')).toMatchObject({ subtopic: 'event/status', unit: '%EL', value: 48 });
      expect(of('margin')).toMatchObject({ unit: 'dB', value: 5 });
      expect(of('latitude')).toMatchObject({ subtopic: 'event/location', unit: 'lat', value: 52.3740364 });
      expect(of('dev_addr')).toMatchObject({ subtopic: 'event/join', string_value: '00189440' });
      expect(of('code')).toMatchObject({ subtopic: 'event/log', string_value: 'DOWNLINK_PAYLOAD_SIZE' });
    });

    test('devices are made for a server that provisions', async () => {
      await admin.json('PATCH', `/networkservers/${server}`, { provisioning: { things_per_day_max: 5 } });
      try {
        const sensor = await newApplication(admin, { device: false });
        await eventually('a provisioned device', 60_000, async () => {
          await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor));
          const [reading] = await readingsOf(admin, sensor.channel);
          return reading !== undefined;
        });
        const found = await admin.json<{ things: { external_id: string }[] }>('GET', '/things?limit=1000');
        expect(found.things.filter(({ external_id }) => external_id === sensor.devEui)).toHaveLength(1);
      } finally {
        await admin.json('PATCH', `/networkservers/${server}`, { provisioning: null });
        await untilConnected(millrace.url, admin.authorization, 1);
      }
    });

    test('a codec decodes what the network server did not; where it fails the bytes are kept, and a dead letter says why', async () => {
      const codec = await admin.json<{ id: string }>('POST', '/codecs', {
        name: `codec ${randomUUID()}`,
        kind: 'javascript',
        script: `function decodeUplink({ bytes, fPort }) {
          if (bytes[0] === 255) throw new Error('no such frame');
          return { data: { level: bytes[0] * 2, port: fPort } };
        }`,
      });
      const sensor = await newApplication(admin, { device: false });
      await newDevice(admin, sensor.channel, sensor.devEui, { metadata: { lora: { codec: codec.id } } });
      const data = (byte: number) => ({ data: Buffer.from([byte]).toString('base64'), object: null, fPort: 3 });
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor, data(21)));
      const readings = await untilReadings(admin, sensor.channel, ['level']);
      expect(readings.find(({ name }) => name === 'level')).toMatchObject({ subtopic: 'up/3', value: 42 });
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor, data(255)));
      const letter = await untilDead(
        admin,
        ({ reason, channel }) => reason === 'codec_failed' && channel === sensor.channel,
      );
      expect(letter.detail).toContain('no such frame');
      const payloads = await eventually('the bytes', 60_000, async () => {
        const { payloads: all } = await admin.json<{ payloads: { subtopic: string; id: string }[] }>(
          'GET',
          `/channels/${sensor.channel}/payloads`,
        );
        return all.length > 0 && all;
      });
      expect(payloads[0]?.subtopic).toBe('up/3');
    });

    test('a downlink goes out as it was published, and is told of until the device has acknowledged it', async () => {
      const sensor = await newApplication(admin);
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor));
      await untilReadings(admin, sensor.channel, ['rssi']);
      const answer = await admin.raw(
        'POST',
        `/channels/${sensor.channel}/messages/down/10`,
        JSON.stringify({ hex: '0a0b', confirmed: true, expires_in: 600 }),
        { 'content-type': 'application/json' },
      );
      expect(answer.status).toBe(202);
      const { id } = (await answer.json()) as { id: string };
      const topic = `application/${sensor.application}/device/${sensor.devEui}/command/down`;
      const sent = await eventually('the downlink', 60_000, async () => downlinks.find((each) => each.topic === topic));
      expect(JSON.parse(sent.text)).toMatchObject({
        id,
        devEui: sensor.devEui,
        confirmed: true,
        fPort: 10,
        data: Buffer.from('0a0b', 'hex').toString('base64'),
      });
      const command = (state: string) =>
        eventually(`the command is ${state}`, 60_000, async () => {
          const told = await admin.json<{ state: string }>('GET', `/commands/${id}`);
          if (told.state !== state) throw new Error(JSON.stringify(told));
          return told;
        });
      await command('sent');
      await tell(eventTopicOf(sensor, 'txack'), chirpStackEvent('txack', sensor, { queueItemId: id }));
      await command('acknowledged');
      await tell(eventTopicOf(sensor, 'ack'), chirpStackEvent('ack', sensor, { queueItemId: id }));
      await command('done');
      const readings = await untilReadings(admin, sensor.channel, ['message_id', 'acknowledged']);
      const told = readings.filter(({ name }) => name === 'message_id');
      expect(told.map(({ string_value }) => string_value)).toEqual([id, id]);
      expect(new Set(told.map(({ subtopic }) => subtopic))).toEqual(new Set(['event/ack', 'event/txack']));
    });

    test('bytes published to down/<fPort>/<DevEUI> are the payload; unconfirmed, it is over when it was transmitted', async () => {
      const sensor = await newApplication(admin);
      await newDevice(admin, sensor.channel, newDevEui());
      const path = `/channels/${sensor.channel}/messages/down/5`;
      const type = { 'content-type': 'application/octet-stream' };
      await admin.raw('POST', path, Buffer.from([1, 2, 3]), type);
      const letter = await untilDead(admin, ({ channel }) => channel === sensor.channel);
      expect(letter.detail).toContain('Several devices');
      const { id } = (await (
        await admin.raw('POST', `${path}/${sensor.devEui}`, Buffer.from([1, 2, 3]), type)
      ).json()) as {
        id: string;
      };
      const topic = `application/${sensor.application}/device/${sensor.devEui}/command/down`;
      const sent = await eventually('the downlink', 60_000, async () => downlinks.find((each) => each.topic === topic));
      const { id: queueItemId, data, fPort } = JSON.parse(sent.text);
      expect({ data, fPort }).toEqual({ data: 'AQID', fPort: 5 });
      await tell(eventTopicOf(sensor, 'txack'), chirpStackEvent('txack', sensor, { queueItemId }));
      await eventually('the command is done', 60_000, async () => {
        const told = await admin.json<{ state: string }>('GET', `/commands/${id}`);
        return told.state === 'done';
      });
    });

    test('a device of The Things Stack is heard, and reached by the id that it has there', async () => {
      const own = await newServer(admin, broker.url, { kind: 'tts-v3' });
      try {
        await untilConnected(millrace.url, admin.authorization, 2);
        const sensor = await newApplication(admin);
        const device = `v3/${sensor.application}@tenant1/devices/dev1`;
        await chirpStack.subscribeAsync(`${device}/down/push`, { qos: 1 });
        await tell(`${device}/up`, thingsStackEvent('up', sensor));
        const readings = await untilReadings(admin, sensor.channel, ['temperature', 'rssi']);
        expect(readings.find(({ name }) => name === 'temperature')).toMatchObject({ subtopic: 'up/15', value: 1 });
        const { id } = await admin.json<{ id: string }>('POST', `/things/${sensor.thing}/commands`, {
          kind: 'lora.downlink',
          arguments: { f_port: 15, hex: 'ff', confirmed: true },
        });
        const topic = `${device}/down/push`;
        const sent = await eventually('the downlink', 60_000, async () =>
          downlinks.find((each) => each.topic === topic),
        );
        const correlation_ids = [`millrace:${id}`];
        const downlink = { f_port: 15, frm_payload: '/w==', confirmed: true, correlation_ids };
        expect(JSON.parse(sent.text)).toMatchObject({ downlinks: [downlink] });
        await tell(
          `${device}/down/ack`,
          thingsStackEvent('downlink-ack', sensor, { downlink_ack: { ...downlink, f_cnt: 1 } }),
        );
        await eventually('the command is done', 60_000, async () => {
          const { state } = await admin.json<{ state: string }>('GET', `/commands/${id}`);
          return state === 'done';
        });
      } finally {
        await admin.json('DELETE', `/networkservers/${own}`);
        await untilConnected(millrace.url, admin.authorization, 1);
      }
    });

    test('nothing is lost where the broker is restarted', async () => {
      const sensor = await newApplication(admin);
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor, { fCnt: 1 }));
      await untilReadings(admin, sensor.channel, ['f_cnt']);
      await broker.end();
      await eventually('the node has noticed', 60_000, async () => {
        const text = await (await admin.raw('GET', '/metrics')).text();
        return /millrace_lora_servers\{state="connected"\} 0/.test(text);
      });
      await broker.start();
      await eventually('ChirpStack is connected', 60_000, async () => chirpStack.connected);
      await tell(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor, { fCnt: 2 }));
      await eventually('the uplink after it', 90_000, async () =>
        (await readingsOf(admin, sensor.channel)).some(({ name, value }) => name === 'f_cnt' && value === 2),
      );
    });
  },
);
