import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type MqttClient, connect as openMqtt } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { CertificateMaker, type KeyPair, missingOpenssl } from '../bridge/clients/certificates.ts';
import { missingProgram, runToEnd } from '../bridge/clients/program.ts';
import { eventually, Millrace, Rest } from '../millrace.ts';

const missing = missingOpenssl ?? missingProgram('mosquitto_pub', '--help');
/** CONNACK's code for who is not known.  @source MQTT 3.1.1 §3.2.2.3 */
const UNKNOWN = 4;
const CONNECTIONS = 10;
const CUT_MS_MAX = 1_000;
const ROUNDS = 5;

/** What a client shows. */
interface Shown {
  readonly cert: string;
  readonly key: string;
}

describe.skipIf(missing !== null)(`certificates over TLS${missing === null ? '' : ` (${missing})`}`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-certs-'));
  const maker = new CertificateMaker(directory);
  const clients: MqttClient[] = [];
  let millrace: Millrace | undefined;
  let admin: Rest;
  let root: KeyPair;
  let channel: string;
  let topic: string;
  let made = 0;

  const address = (): URL => {
    const ready = readFileSync(join(millrace?.directory ?? '', 'run', 'ready.json'), 'utf8');
    return new URL((JSON.parse(ready) as { mqtts: string }).mqtts);
  };
  const connect = async ({ cert, key }: Shown): Promise<MqttClient> => {
    const common = { ca: root.cert, reconnectPeriod: 0, connectTimeout: 20_000 };
    const client = openMqtt(address().href, { ...common, cert, key });
    clients.push(client);
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.on('error', reject);
      client.once('close', () => reject(new Error('closed')));
    });
    return client;
  };
  /** The code of CONNACK, or the text of what ended the connection before it. */
  const refusal = async (shown: Shown): Promise<number | string> => {
    try {
      await connect(shown);
    } catch (error) {
      const { code, message } = error as { code?: number | string; message: string };
      return typeof code === 'number' ? code : message;
    }
    return 'it was let in';
  };
  const newThing = async (): Promise<string> => {
    const { id } = await admin.json<{ id: string }>('POST', '/things', { name: 'pump' });
    await admin.json('POST', '/connect', { channel_ids: [channel], thing_ids: [id] });
    return id;
  };
  const issue = async (thing: string): Promise<Shown & { serial: string; chain: string }> => {
    const body = { thing_id: thing, ttl: '1d' };
    const issued = await admin.json<Record<string, string>>('POST', '/certs', body);
    const { serial = '', chain = '', certificate: cert = '', private_key: key = '' } = issued;
    return { serial, chain, cert, key };
  };
  const publishers = async (): Promise<string[]> => {
    const path = `/channels/${channel}/payloads?limit=1000`;
    const { payloads } = await admin.json<{ payloads: { publisher: string }[] }>('GET', path);
    return payloads.map(({ publisher }) => publisher);
  };
  /** Publishes with a program of somebody else. */
  const mosquitto = async ({ cert, key }: Shown, text: string): Promise<void> => {
    const [certFile, keyFile] = ['crt', 'key'].map((end) => join(directory, `shown-${++made}.${end}`)) as [
      string,
      string,
    ];
    writeFileSync(certFile, cert);
    writeFileSync(keyFile, key);
    const { hostname, port } = address();
    const to = ['-h', hostname, '-p', port, '--cafile', root.certFile, '--cert', certFile, '--key', keyFile];
    await runToEnd(['mosquitto_pub', ...to, '-t', topic, '-q', '1', '-s'], Buffer.from(text));
  };

  beforeAll(async () => {
    root = await maker.authority('root');
    const node = await maker.issue(root, 'node', 'IP:127.0.0.1,DNS:localhost');
    millrace = new Millrace({
      MILLRACE_MQTTS_PORT: '0',
      MILLRACE_MQTT_TLS_CERT: node.certFile,
      MILLRACE_MQTT_TLS_KEY: node.keyFile,
      MILLRACE_MQTT_TLS_CLIENT_CERTIFICATES: 'optional',
    });
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    ({ id: channel } = await admin.json<{ id: string }>('POST', '/channels', { name: 'secured' }));
    topic = `channels/${channel}/messages`;
  }, 180_000);
  afterEach(async () => {
    await Promise.allSettled(clients.splice(0).map((client) => client.endAsync(true)));
  });
  afterAll(async () => {
    await millrace?.dispose();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  test('mosquitto_pub is let in by a certificate of the platform, without any password', async () => {
    const thing = await newThing();
    await mosquitto(await issue(thing), 'by certificate');
    await eventually('it is stored as the thing’s', 60_000, async () => (await publishers()).includes(thing));
  }, 90_000);

  test('who is connected by a certificate is cut off at once when it is revoked', async () => {
    const thing = await newThing();
    const tookMs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const shown = await issue(thing);
      const client = await connect(shown);
      await client.publishAsync(topic, 'before', { qos: 1 });
      const closed = new Promise<number>((resolve) => client.once('close', () => resolve(performance.now())));
      const asked = performance.now();
      await admin.json('POST', `/certs/${shown.serial}/revoke`, { reason: 'keyCompromise' });
      tookMs.push((await closed) - asked);
      expect(await refusal(shown)).toBe(UNKNOWN);
    }
    // The machine may be busy once, not each time.
    expect(Math.min(...tookMs)).toBeLessThan(CUT_MS_MAX);
  }, 120_000);

  test('an authority is no client, nor is a thing that one forged', async () => {
    const thing = await newThing();
    const shown = await issue(thing);
    const forged = await maker.issue(root, thing);
    expect(await refusal(forged), 'of an authority that nobody trusts').toBe(UNKNOWN);
    expect(await refusal(await maker.authority('Millrace root'))).toBe(UNKNOWN);
    expect((await connect(shown)).connected).toBe(true);
  }, 60_000);

  test('a certificate of a registered authority becomes a thing, once, however many connect at once', async () => {
    const factory = await maker.authority('factory');
    const { code } = await admin.json<{ code: string }>('POST', '/certs/authorities/code');
    const authority = await admin.json<{ id: string }>('POST', '/certs/authorities', {
      name: 'factory',
      certificate: factory.cert,
      proof: (await maker.issue(factory, code)).cert,
      jit: { channel_ids: [channel], types: ['publish'] },
    });
    const pair = await maker.issue(factory, 'press 7');
    const connected = await Promise.all(Array.from({ length: CONNECTIONS }, () => connect(pair)));
    await Promise.all(connected.map((client) => client.publishAsync(topic, 'new here', { qos: 1 })));
    const { things } = await admin.json<{ things: { id: string }[] }>('GET', '/things?name=press%207');
    expect(things).toHaveLength(1);
    const [{ id }] = things as [{ id: string }];
    await mosquitto(pair, 'by mosquitto');
    await eventually('all is stored as its own', 60_000, async () => {
      const own = (await publishers()).filter((publisher) => publisher === id);
      return own.length === CONNECTIONS + 1;
    });
    await admin.json('DELETE', `/things/${id}`);
    expect(await refusal(pair), 'a deleted thing stays away').toBe(UNKNOWN);
    const path = `/certs/authorities/${authority.id}/registrations`;
    const { registrations } = await admin.json<{ registrations: object[] }>('GET', path);
    expect(registrations).toMatchObject([{ fingerprint: pair.fingerprint, thing_id: null, name: 'press 7' }]);
    await admin.json('DELETE', `${path}/${pair.fingerprint}`);
    expect((await connect(pair)).connected, 'until it is forgotten').toBe(true);
    await admin.json('DELETE', `/certs/authorities/${authority.id}?cascade=true`);
    expect(await refusal(pair)).toBe(UNKNOWN);
  }, 120_000);

  test('OpenSSL asks the node itself', async () => {
    const shown = await issue(await newThing());
    const [leaf, chain] = [join(directory, 'asked.crt'), join(directory, 'asked.pem')];
    writeFileSync(leaf, shown.cert);
    writeFileSync(chain, shown.chain);
    const url = new URL('/certs/ocsp', millrace?.url);
    const about = ['-issuer', chain, '-cert', leaf, '-CAfile', chain, '-url', url.href];
    expect(await runToEnd(['openssl', 'ocsp', ...about], Buffer.alloc(0))).toContain(': good');
    await admin.json('DELETE', `/certs/${shown.serial}`);
    expect(await runToEnd(['openssl', 'ocsp', ...about], Buffer.alloc(0))).toContain(': revoked');
  }, 60_000);
});
