import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import { CertificateMaker, type KeyPair, missingOpenssl } from '../bridge/clients/certificates.ts';
import type { Identity } from '../bridge/clients/client.ts';
import { newChannel, newThing } from '../bridge/rights.ts';
import { NpmCoap } from '../coap/npm-coap.ts';
import { eventually, freePort, Millrace, Rest } from '../millrace.ts';
import { missingNginx, Nginx } from './nginx.ts';

const missing = missingOpenssl ?? missingNginx;
const SENML = 'application/senml+json';
/** Where requests come from that no policy lets publish. */
const ELSEWHERE = '127.0.0.7';
/** Nobody trusts it. */
const STRANGER = '127.0.0.8';

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

describe.skipIf(missing !== null)(`behind nginx${missing === null ? '' : ` (${missing})`}`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-edge-'));
  const maker = new CertificateMaker(directory);
  const clients: MqttClient[] = [];
  let root: KeyPair;
  let node: Millrace;
  let nginx: Nginx;
  let admin: Rest;
  let channel: string;
  let other: string;
  let device: Identity;
  let pair: KeyPair;
  /** Somebody's own application behind the same nginx. */
  let application: Server;

  beforeAll(async () => {
    root = await maker.authority('edge');
    const certificate = await maker.issue(root, 'localhost', 'DNS:localhost,IP:127.0.0.1');
    node = await new Millrace({
      MILLRACE_HTTP_TRUSTED_PROXIES: '127.0.0.1',
      MILLRACE_MQTT_PROXY_PROTOCOL: '127.0.0.1',
      MILLRACE_MQTT_PROXY_TLS: 'on',
      MILLRACE_COAP_BALANCERS: '127.0.0.1',
    }).start();
    admin = await Rest.asAdmin(node);
    channel = await newChannel(admin, 'hall');
    other = await newChannel(admin, 'vault');
    device = await newThing(admin, 'meter', [channel]);
    pair = await maker.issue(root, 'meter');
    await admin.json('PUT', `/things/${device.thing}/certificates`, {
      fingerprints: [pair.fingerprint],
      authorities: [],
    });
    const { id } = await admin.json<{ id: string }>('POST', '/policies', {
      name: 'not from there',
      statements: [
        {
          effect: 'deny',
          actions: ['publish'],
          resources: [`channels/${channel}/messages*`],
          condition: { address: [`${ELSEWHERE}/32`] },
        },
      ],
    });
    await admin.json('PUT', `/policies/${id}/attachments/thing/${device.thing}`);
    application = createServer((asked, answer) => {
      answer.end(`hello ${asked.headers['x-user']}, ${asked.headers.authorization ?? 'who shows nothing'}`);
    });
    application.listen(0, '127.0.0.1');
    await once(application, 'listening');
    const [http, mqtt, coap] = [new URL(node.url), new URL(node.mqtt), new URL(node.coap)];
    const nobody = `127.0.0.1:${await freePort()}`;
    nginx = await Nginx.start(
      // One of two is down: nobody notices.
      { http: [nobody, http.host], mqtt: [nobody, mqtt.host], coap: [coap.host] },
      certificate,
      `
location = /_millrace/dashboard {
  include decision.conf;
  proxy_pass http://millrace_ingest/auth/decision?action=subscribe&object=channels/${channel}/messages;
}
location /dashboard/ {
  auth_request /_millrace/dashboard;
  auth_request_set $who $upstream_http_x_millrace_subject;
  include client.conf;
  proxy_set_header Authorization "";
  proxy_set_header X-User $who;
  proxy_pass http://127.0.0.1:${(application.address() as AddressInfo).port};
}
`,
    );
  }, 180_000);
  afterAll(async () => {
    for (const client of clients) client.end(true);
    await nginx?.stop();
    application?.close();
    await node?.dispose();
    rmSync(directory, { recursive: true, force: true });
  }, 60_000);

  /** One request to nginx. */
  const ask = (
    method: string,
    path: string,
    options: {
      readonly headers?: Record<string, string>;
      readonly body?: string;
      readonly from?: string;
      readonly port?: number;
      readonly pair?: KeyPair;
    } = {},
  ): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const { headers = {}, body, from = '127.0.0.1', port = nginx.ports.https } = options;
      const sent = request(
        {
          ...{ host: '127.0.0.1', servername: 'localhost', port, method, path, headers, localAddress: from },
          ca: root.cert,
          agent: false,
          ...(options.pair === undefined ? {} : { cert: options.pair.cert, key: options.pair.key }),
        },
        (answer) => {
          let text = '';
          answer.setEncoding('utf8').on('data', (part: string) => {
            text += part;
          });
          answer.on('end', () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text }));
        },
      );
      sent.once('error', reject);
      sent.end(body);
    });
  const mine = (): Record<string, string> => ({ authorization: `Thing ${device.key}`, 'content-type': SENML });
  const reading = (name: string): string => JSON.stringify([{ n: name, v: 1 }]);
  const stored = (name: string): Promise<unknown> =>
    eventually(`${name} to be stored`, 30_000, async () => {
      const { messages } = await admin.json<{ messages: { name: string; publisher: string }[] }>(
        'GET',
        `/channels/${channel}/messages?name=${name}`,
      );
      return messages.length === 1 && messages[0]?.publisher === device.thing;
    });

  test('people without TLS are sent to where there is', async () => {
    const answer = await fetch(`http://127.0.0.1:${nginx.ports.http}/things?a=1`, { redirect: 'manual' });
    expect(answer.status).toBe(308);
    expect(answer.headers.get('location')).toBe('https://127.0.0.1/things?a=1');
  });

  describe('a message', () => {
    const path = () => `/channels/${channel}/messages`;

    test('is let pass, taken and stored', async () => {
      const answer = await ask('POST', path(), { headers: mine(), body: reading('passed') });
      expect([answer.status, JSON.parse(answer.text)]).toMatchObject([202, { response: 'message sent' }]);
      await stored('passed');
      const read = await ask('GET', `${path()}?name=passed`, { headers: mine() });
      expect(JSON.parse(read.text).messages).toHaveLength(1);
    });

    test('is turned away by the decision, before its body is read, in the words of the node', async () => {
      const nobody = await ask('POST', path(), { headers: { 'content-type': SENML }, body: reading('x') });
      expect([nobody.status, nobody.headers['content-type']]).toEqual([401, 'application/problem+json']);
      expect(String(nobody.headers['www-authenticate'])).toContain('Thing');
      expect(JSON.parse(nobody.text)).toMatchObject({ status: 401, title: 'Unauthorized' });
      const denied = await ask('POST', `/channels/${other}/messages`, { headers: mine(), body: reading('x') });
      expect([denied.status, JSON.parse(denied.text).status]).toEqual([403, 403]);
      // It says how much is to come and never sends it.
      const sent = request({
        ...{ host: '127.0.0.1', servername: 'localhost', port: nginx.ports.https, ca: root.cert, agent: false },
        ...{ method: 'POST', path: `/channels/${other}/messages` },
        headers: { ...mine(), 'content-length': '100000' },
      });
      sent.flushHeaders();
      const [answer] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
      expect(answer.statusCode).toBe(403);
      answer.destroy();
    });

    test('is judged by the address that its client has, not by what that says it has', async () => {
      const answer = await ask('POST', path(), { headers: mine(), body: reading('x'), from: ELSEWHERE });
      expect(answer.status).toBe(403);
      const forged = { ...mine(), 'x-forwarded-for': '127.0.0.1', forwarded: 'for=127.0.0.1' };
      expect((await ask('POST', path(), { headers: forged, body: reading('x'), from: ELSEWHERE })).status).toBe(403);
      expect((await ask('POST', path(), { headers: forged, body: reading('from-here') })).status).toBe(202);
      // Around nginx: who is no proxy says nothing about anybody.
      const around = await fetchFrom(STRANGER, node.url, path(), { ...mine(), 'x-forwarded-for': ELSEWHERE });
      expect(around).toBe(202);
    });

    test('may come with a certificate instead of a key, which nobody can only claim to have', async () => {
      const headers = { 'content-type': SENML };
      const port = nginx.ports.certificates;
      const shown = await ask('POST', path(), { headers, body: reading('shown'), port, pair });
      expect(shown.status).toBe(202);
      await stored('shown');
      expect((await ask('GET', path(), { headers, port, pair })).status).toBe(200);
      // Known there too, though a thing may not look at itself.
      expect((await ask('GET', `/things/${device.thing}`, { port, pair })).status).toBe(403);
      const stranger = await maker.issue(root, 'meter');
      expect((await ask('POST', path(), { headers, body: reading('x'), port, pair: stranger })).status).toBe(401);
      const escaped = encodeURIComponent(pair.cert);
      const claims = {
        ...headers,
        'x-client-cert': escaped,
        'client-cert': `:${Buffer.from('x').toString('base64')}:`,
      };
      for (const to of [port, nginx.ports.https]) {
        expect((await ask('POST', path(), { headers: claims, body: reading('x'), port: to })).status).toBe(401);
      }
      expect(await fetchFrom(STRANGER, node.url, path(), { ...headers, 'x-client-cert': escaped })).toBe(401);
    });

    test('that is too large is refused in the same words, by whoever refuses it', async () => {
      const body = 'x'.repeat(2_000_000);
      const answer = await ask('POST', path(), { headers: mine(), body });
      expect([answer.status, JSON.parse(answer.text).title]).toEqual([413, 'Content Too Large']);
    });
  });

  test('an application of somebody else is guarded by the same policies, and told who asks', async () => {
    const passed = await ask('GET', '/dashboard/', { headers: mine() });
    expect([passed.status, passed.text]).toEqual([200, `hello ${device.thing}, who shows nothing`]);
    expect((await ask('GET', '/dashboard/')).status).toBe(401);
    const stranger = await newThing(admin, 'stranger', []);
    const denied = await ask('GET', '/dashboard/', { headers: { authorization: `Thing ${stranger.key}` } });
    expect(denied.status).toBe(403);
  });

  test('what is for nginx alone, or for Prometheus, is not for others', async () => {
    for (const path of ['/metrics', '/auth/decision', '/_millrace/decision']) {
      expect((await ask('GET', path, { headers: mine() })).status).toBe(404);
    }
    expect((await ask('GET', '/health/live')).status).toBe(200);
  });

  test('event streams and WebSockets come through as they are written', async () => {
    const stream = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
      request(
        {
          ...{ host: '127.0.0.1', servername: 'localhost', port: nginx.ports.https, ca: root.cert, agent: false },
          ...{ path: `/channels/${channel}/messages/live`, headers: mine() },
        },
        resolve,
      )
        .once('error', reject)
        .end();
    });
    expect(stream.statusCode).toBe(200);
    let streamed = '';
    stream.setEncoding('utf8').on('data', (part: string) => {
      streamed += part;
    });
    const options: ClientOptions & { readonly servername: string } = {
      ca: root.cert,
      servername: 'localhost',
      headers: { authorization: `Thing ${device.key}` },
    };
    const address = `wss://127.0.0.1:${nginx.ports.https}/ws/channels/${channel}/messages`;
    const socket = new WebSocket(address, options as ClientOptions);
    const heard: string[] = [];
    socket.on('message', (data) => heard.push(String(data)));
    await once(socket, 'open');
    await eventually('a message by both', 30_000, async () => {
      await ask('POST', `/channels/${channel}/messages`, { headers: mine(), body: reading('live') });
      return streamed.includes('live') && heard.some((text) => text.includes('live'));
    });
    stream.destroy();
    socket.close();
  });

  describe('MQTT', () => {
    const open = async (options: IClientOptions = {}): Promise<MqttClient> => {
      const client = await connectAsync(
        `mqtts://localhost:${nginx.ports.mqtts}`,
        {
          ...{ ca: root.cert, host: '127.0.0.1', servername: 'localhost', reconnectPeriod: 0, protocolVersion: 4 },
          ...{ username: device.thing, password: device.key, ...options },
        },
        false,
      );
      client.on('error', () => {});
      clients.push(client);
      return client;
    };
    const topic = () => `channels/${channel}/messages`;

    test('is published and subscribed to through TLS', async () => {
      const client = await open();
      const heard: string[] = [];
      client.on('message', (_, payload) => heard.push(payload.toString()));
      await client.subscribeAsync(`${topic()}/#`, { qos: 1 });
      await client.publishAsync(topic(), reading('by-mqtt'), { qos: 1 });
      await eventually('it to come back', 30_000, async () => heard.some((text) => text.includes('by-mqtt')));
      await stored('by-mqtt');
    });

    test('is judged by the address of the device', async () => {
      const client = await open({ localAddress: ELSEWHERE } as IClientOptions);
      const closed = new Promise<void>((resolve) => client.once('close', () => resolve()));
      client.publish(topic(), reading('x'), { qos: 1 });
      await closed;
      await eventually('the audit to name it', 30_000, async () => {
        const { entries } = await admin.json<{ entries: { address: string; protocol: string; outcome: string }[] }>(
          'GET',
          '/audit?outcome=denied&limit=100',
        );
        return entries.some(({ address, protocol }) => address === ELSEWHERE && protocol === 'mqtt');
      });
    });

    test('is not spoken with who comes from the proxy’s address without its header', async () => {
      const plain = connectAsync(
        node.mqtt,
        { username: device.thing, password: device.key, reconnectPeriod: 0 },
        false,
      );
      await expect(plain).rejects.toThrow();
    });
  });

  test('CoAP: a device publishes and observes; one whose address must be known may not', async () => {
    const coap = new NpmCoap();
    const sensor = await newThing(admin, 'sensor', [channel]);
    const uriOf = ({ key }: Identity) =>
      `coap://127.0.0.1:${nginx.ports.coap}/channels/${channel}/messages?auth=${key}`;
    const publish = (who: Identity) =>
      coap.ask({ method: 'POST', uri: uriOf(who), payload: reading('by-coap'), format: SENML });
    const told: string[] = [];
    const observation = await coap.observe(uriOf(sensor), ({ payload }) => told.push(payload.toString()));
    expect((await publish(sensor)).code).toBe('2.04');
    await eventually('its observer to hear it', 30_000, async () => told.some((text) => text.includes('by-coap')));
    // A balancer can't say whose datagram it is.
    expect((await publish(device)).code).toBe('4.03');
    // Its socket closes with it.
    observation.cancel();
  });

  test('its log holds neither keys nor what comes after the path', async () => {
    await ask('GET', `/ws?authorization=${device.key}`, { headers: mine() });
    await eventually('the log to be written', 20_000, async () => nginx.log.includes('"path":"/ws"'));
    expect(nginx.log).not.toContain(device.key);
    expect(nginx.log).not.toContain('authorization');
    expect(nginx.stderr).not.toContain(device.key);
  });
});

/** Publishes at a node from another address of this machine.  @returns the status */
async function fetchFrom(
  localAddress: string,
  url: string,
  path: string,
  headers: Record<string, string>,
): Promise<number> {
  const { request: plain } = await import('node:http');
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const sent = plain({ host: hostname, port, localAddress, method: 'POST', path, headers }, (answer) => {
      answer.resume();
      resolve(answer.statusCode ?? 0);
    });
    sent.once('error', reject);
    sent.end('[{"n":"around","v":1}]');
  });
}
