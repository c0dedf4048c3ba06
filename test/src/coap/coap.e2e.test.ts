import { setTimeout as sleep } from 'node:timers/promises';
import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import WebSocket from 'ws';
import { seeded } from '../crash.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { expectStoredOnce } from '../stored.ts';
import { counted } from './counted.ts';
import { type CoapTold, NpmCoap, type NpmObservation } from './npm-coap.ts';

const SENML = 'application/senml+json';

describe('CoAP beside the other protocols', { timeout: 120_000 }, () => {
  const millrace = new Millrace();
  const coap = new NpmCoap();
  let admin: Rest;

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
  }, 120_000);
  afterAll(async () => {
    coap.close();
    await millrace.dispose();
  }, 120_000);

  const uriOf = ({ channel, key }: Publisher, subtopic = ''): string =>
    `${millrace.coap}/channels/${channel}/messages${subtopic === '' ? '' : `/${subtopic}`}?auth=${key}`;
  const publish = async (publisher: Publisher, payload: string, subtopic = ''): Promise<void> => {
    const { code } = await coap.ask({ uri: uriOf(publisher, subtopic), payload, format: SENML });
    expect(code).toBe('2.04');
  };
  /** Observes, and gathers what comes after the first answer. */
  const observed = async (
    publisher: Publisher,
    subtopic = '',
  ): Promise<{ told: CoapTold[]; observation: NpmObservation }> => {
    const before = await counted(admin, 'millrace_coap_observers');
    const told: CoapTold[] = [];
    const observation = await coap.observe(uriOf(publisher, subtopic), (each) => told.push(each));
    await eventually('the observation', 20_000, async () => {
      return (await counted(admin, 'millrace_coap_observers')) > before;
    });
    told.length = 0;
    return { told, observation };
  };

  test('what is published by CoAP is stored, and live by MQTT, WebSocket and Observe', async () => {
    const publisher = await newPublisher(admin, 'out-of-coap');
    const { thing, key, channel } = publisher;
    const byMqtt: string[] = [];
    const client = await mqtt.connectAsync(millrace.mqtt, { username: thing, password: key, reconnectPeriod: 0 });
    const byWs: string[] = [];
    const socket = new WebSocket(`${millrace.url.replace('http', 'ws')}/channels/${channel}/messages?subtopic=%23`, {
      headers: { authorization: `Thing ${key}` },
    });
    const opened = new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject));
    try {
      client.on('message', (_topic, payload) => byMqtt.push(payload.toString()));
      await client.subscribeAsync(`channels/${channel}/messages/#`);
      socket.on('message', (data) => byWs.push(data.toString()));
      await opened;
      const { told: byObserve } = await observed(publisher, 'room');
      const pack = '[{"n":"out","u":"Cel","v":0}]';
      await publish(publisher, pack, 'room');
      await eventually('it everywhere', 20_000, async () => {
        if (byMqtt.length > 0 && byObserve.length > 0 && byWs.length > 0) return true;
        throw new Error(`MQTT ${byMqtt.length}, Observe ${byObserve.length}, WebSocket ${byWs.length}`);
      });
      expect(byMqtt).toEqual([pack]);
      expect(byObserve.map(({ payload }) => payload.toString())).toEqual([pack]);
      const { messages } = await eventually('the reading', 20_000, async () => {
        const page = await publisher.rest.json<{ messages: object[] }>('GET', `/channels/${channel}/messages`);
        return page.messages.length > 0 && page;
      });
      expect(messages[0]).toMatchObject({ name: 'out', value: 0, unit: 'Cel', protocol: 'coap', subtopic: 'room' });
    } finally {
      socket.terminate();
      await client.endAsync(true);
    }
  });

  test('what is published by HTTP and MQTT reaches observers, and is the last message of its address', async () => {
    const publisher = await newPublisher(admin, 'into-coap');
    const { thing, key, channel, rest } = publisher;
    const { told } = await observed(publisher, 'a');
    const answer = await rest.raw('POST', `/channels/${channel}/messages/a`, 'by http', {
      'content-type': 'text/plain',
    });
    expect(answer.status).toBe(202);
    const client = await mqtt.connectAsync(millrace.mqtt, { username: thing, password: key, reconnectPeriod: 0 });
    await client.publishAsync(`channels/${channel}/messages/a`, 'by mqtt', { qos: 1 });
    await client.endAsync(true);
    await eventually('both', 20_000, async () => told.length === 2);
    expect(told.map(({ code, payload }) => [code, payload.toString()])).toEqual([
      ['2.05', 'by http'],
      ['2.05', 'by mqtt'],
    ]);
    const last = async (): Promise<string> =>
      (await coap.ask({ method: 'GET', uri: uriOf(publisher, 'a') })).payload.toString();
    expect(await last()).toBe('by mqtt');
    // Also once it is processed, and the log need not be searched for it.
    await eventually('its payload', 20_000, async () => {
      const page = await rest.json<{ payloads: { subtopic: string }[] }>('GET', `/channels/${channel}/payloads`);
      return page.payloads.length === 2;
    });
    expect(await last()).toBe('by mqtt');
    expect((await coap.ask({ method: 'GET', uri: uriOf(publisher, 'b') })).code).toBe('4.04');
  });

  test('what the control plane has answered holds for the next request', async () => {
    const publisher = await newPublisher(admin, 'revoked');
    const code = async (): Promise<string> =>
      (await coap.ask({ uri: uriOf(publisher), payload: '[{"n":"x","v":1}]', format: SENML })).code;
    expect([await code(), await code()]).toEqual(['2.04', '2.04']);
    await admin.json('POST', `/things/${publisher.thing}/disable`);
    expect(['4.01', '4.03']).toContain(await code());
    await admin.json('POST', `/things/${publisher.thing}/enable`);
    expect(await code()).toBe('2.04');
    const pair = { channel_ids: [publisher.channel], thing_ids: [publisher.thing] };
    await admin.json('POST', '/disconnect', pair);
    expect(await code()).toBe('4.03');
    await admin.json('POST', '/connect', pair);
    expect(await code()).toBe('2.04');
    await admin.json('PATCH', `/things/${publisher.thing}/key`, {});
    expect(await code()).toBe('4.01');
  });

  test.each([
    ['disconnected', ['4.03']],
    ['disabled', ['4.01', '4.03']],
    ['deleted', ['4.01', '4.03']],
  ])('an observer that is %s is told so as the last word', async (what, codes) => {
    const publisher = await newPublisher(admin, what);
    const before = await counted(admin, 'millrace_coap_observers');
    const { observation } = await observed(publisher);
    const { thing, channel } = publisher;
    if (what === 'disconnected')
      await admin.json('POST', '/disconnect', { channel_ids: [channel], thing_ids: [thing] });
    else if (what === 'disabled') await admin.json('POST', `/things/${thing}/disable`);
    else await admin.json('DELETE', `/things/${thing}`);
    const begun = performance.now();
    await eventually('the end', 20_000, async () => (await counted(admin, 'millrace_coap_observers')) === before);
    console.log(`an observation was cut after ${(performance.now() - begun).toFixed(0)} ms`);
    await eventually('the last word', 20_000, async () => observation.lastCode() !== '2.05');
    expect(codes).toContain(observation.lastCode());
  });

  test('a refusal is in the audit trail', async () => {
    const publisher = await newPublisher(admin, 'audited');
    const pair = { channel_ids: [publisher.channel], thing_ids: [publisher.thing] };
    await admin.json('POST', '/disconnect', pair);
    const { code } = await coap.ask({ uri: uriOf(publisher), payload: '1' });
    expect(code).toBe('4.03');
    await eventually('the line', 30_000, async () => {
      const { entries } = await admin.json<{ entries: { object: string }[] }>('GET', '/audit?limit=100');
      return entries.some((entry) => JSON.stringify(entry).includes(publisher.channel));
    });
  });
});

describe('CoAP and the end of a node', () => {
  test('every message that was acknowledged with 2.04 is stored once after kill -9', { timeout: 300_000 }, async () => {
    const millrace = new Millrace();
    const random = seeded(Date.now());
    try {
      await millrace.start();
      const admin = await Rest.asAdmin(millrace);
      const publisher = await newPublisher(admin, 'killed');
      const acknowledged: string[] = [];
      for (let round = 0; round < 3; round++) {
        // A socket of its own, on the port of this start: what was not acknowledged is not sent to the next one.
        const clients = Array.from({ length: 4 }, () => new NpmCoap());
        let stopped = false;
        let end: () => void = () => {};
        const stop = new Promise<void>((resolve) => {
          end = resolve;
        });
        const publishing = clients.map(async (client, index) => {
          for (let sequence = 0; !stopped; sequence++) {
            const name = `r${round}-c${index}-${sequence}`;
            const uri = `${millrace.coap}/channels/${publisher.channel}/messages?auth=${publisher.key}`;
            const asked = { uri, payload: `[{"n":"${name}","v":${sequence}}]`, format: SENML };
            const answer = await Promise.race([client.ask(asked).catch(() => null), stop.then(() => null)]);
            if (answer?.code === '2.04') acknowledged.push(name);
          }
        });
        const enough = acknowledged.length + 50;
        await eventually('messages to be acknowledged', 30_000, async () => acknowledged.length >= enough);
        await sleep(random() * 300);
        expect(await millrace.end('SIGKILL')).toBe('SIGKILL');
        stopped = true;
        end();
        await Promise.all(publishing);
        for (const client of clients) client.close();
        await millrace.start();
      }
      const rest = (await Rest.asAdmin(millrace)).as(`Thing ${publisher.key}`);
      await expectStoredOnce(rest, publisher.channel, acknowledged, '', 120_000);
      console.log(`${acknowledged.length} acknowledged messages stored once each`);
    } finally {
      await millrace.dispose();
    }
  });

  test('a node that is asked to stop tells its observers, and ends with 0', { timeout: 120_000 }, async () => {
    const millrace = new Millrace();
    const coap = new NpmCoap();
    try {
      await millrace.start();
      const publisher = await newPublisher(await Rest.asAdmin(millrace), 'stopping');
      const uri = `${millrace.coap}/channels/${publisher.channel}/messages?auth=${publisher.key}`;
      const observation = await coap.observe(uri, () => {});
      expect(observation.lastCode()).toBe('2.05');
      expect(await millrace.end('SIGTERM')).toBe(0);
      await eventually('the last word', 20_000, async () => observation.lastCode() === '5.03');
    } finally {
      coap.close();
      await millrace.dispose();
    }
  });
});
