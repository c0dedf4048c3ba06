import type { MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, Rest } from '../millrace.ts';
import { expectStoredOnce } from '../stored.ts';
import { chirpStackEvent, eventTopicOf } from './lora-events.ts';
import { newApplication, newServer, untilConnected, untilReadings } from './lora-world.ts';
import { Mosquitto, missingMosquitto } from './mosquitto.ts';

const EVENTS = 300;

describe.skipIf(missingMosquitto !== null)(
  `LoRaWAN through kill -9${missingMosquitto === null ? '' : ` (${missingMosquitto})`}`,
  { timeout: 240_000 },
  () => {
    const broker = new Mosquitto();
    const millrace = new Millrace();
    let admin: Rest;
    let chirpStack: MqttClient;

    beforeAll(async () => {
      await broker.start();
      await millrace.start();
      admin = await Rest.asAdmin(millrace);
      await newServer(admin, broker.url);
      chirpStack = await broker.client();
      await untilConnected(millrace.url, admin.authorization, 1);
    }, 180_000);
    afterAll(async () => {
      await chirpStack?.endAsync(true);
      await millrace.dispose();
      await broker.dispose();
    }, 120_000);

    const restart = async (): Promise<void> => {
      await millrace.end('SIGKILL');
      await millrace.start();
      admin = await Rest.asAdmin(millrace);
      await untilConnected(millrace.url, admin.authorization, 1);
    };

    test('each event is stored, and none twice, though the node is killed in the middle of them', async () => {
      const sensor = await newApplication(admin);
      const names = Array.from({ length: EVENTS }, (_, index) => `event-${index}`);
      const events = names.map((name, fCnt) => chirpStackEvent('up', sensor, { fCnt, object: { [name]: 1 } }));
      const told = events.map((event) => chirpStack.publishAsync(eventTopicOf(sensor, 'up'), event, { qos: 1 }));
      await eventually('some are stored', 60_000, async () => {
        const { messages } = await admin.json<{ messages: unknown[] }>('GET', `/channels/${sensor.channel}/messages`);
        return messages.length > 0;
      });
      await restart();
      await Promise.all(told);
      // As if the broker had not heard of the first ones' acknowledgements.
      for (const event of events.slice(0, 50)) {
        await chirpStack.publishAsync(eventTopicOf(sensor, 'up'), event, { qos: 1 });
      }
      const last = { fCnt: EVENTS, object: { last: 1 } };
      await chirpStack.publishAsync(eventTopicOf(sensor, 'up'), chirpStackEvent('up', sensor, last), { qos: 1 });
      await untilReadings(admin, sensor.channel, ['last'], '&name=last');
      const reader = { json: (method: string, path: string) => admin.json(method, `${path}&subtopic=up/1`) } as Rest;
      await expectStoredOnce(reader, sensor.channel, names, 'events through kill -9');
    });

    test('a downlink that was accepted goes out, though the node is killed', async () => {
      const sensor = await newApplication(admin);
      const topic = `application/${sensor.application}/device/${sensor.devEui}/command/down`;
      const seen: string[] = [];
      chirpStack.on('message', (at, payload) => {
        if (at === topic) seen.push(payload.toString());
      });
      await chirpStack.subscribeAsync(topic, { qos: 1 });
      const path = `/channels/${sensor.channel}/messages/down/9`;
      const answer = await admin.raw('POST', path, Buffer.from([7]), { 'content-type': 'application/octet-stream' });
      expect(answer.status).toBe(202);
      const { id } = (await answer.json()) as { id: string };
      await restart();
      await eventually('the downlink', 90_000, async () => {
        if (seen.length === 0) throw new Error(await (await admin.raw('GET', `/commands/${id}`)).text());
        return true;
      });
      expect(JSON.parse(seen[0] as string)).toMatchObject({ fPort: 9, data: 'Bw==' });
      await eventually('the command is sent', 90_000, async () => {
        const { state } = await admin.json<{ state: string }>('GET', `/commands/${id}`);
        return state === 'sent';
      });
    });
  },
);
