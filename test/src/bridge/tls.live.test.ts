import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type IClientOptions, type MqttClient, connect as openMqtt } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, Rest } from '../millrace.ts';
import { CertificateMaker, type KeyPair, missingOpenssl } from './clients/certificates.ts';
import type { Identity } from './clients/client.ts';
import { missingProgram, runToEnd } from './clients/program.ts';
import { newChannel, newThing } from './rights.ts';

const missing = missingOpenssl ?? missingProgram('mosquitto_pub', '--help');
/** CONNACK's code for who is not known.  @source MQTT 3.1.1 §3.2.2.3 */
const UNKNOWN = 4;
const CONNECTIONS_MAX = 12;

/** A client that was let in, and what came to it. */
interface Connected {
  readonly client: MqttClient;
  readonly texts: readonly string[];
}

describe.skipIf(missing !== null)(`MQTT over TLS${missing === null ? '' : ` (${missing})`}`, () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-tls-'));
  const maker = new CertificateMaker(directory);
  const clients: MqttClient[] = [];
  let millrace: Millrace | undefined;
  let admin: Rest;
  let channel: string;
  let topic: string;
  /** Of the node. */
  let root: KeyPair;
  let node: KeyPair;
  /** Of the customer. */
  let factory: KeyPair;
  /** Has a key only. */
  let plain: Identity;
  /** Known by a fingerprint. */
  let pinned: Identity;
  let pinnedPair: KeyPair;
  /** Known by an authority. */
  let made: Identity;
  let madePair: KeyPair;
  /** Signed itself, and nobody knows it. */
  let stranger: KeyPair;

  /** Speaks to nobody. */
  let silent: Socket;

  const startNode = async (clientCertificates: string, more: Readonly<Record<string, string>> = {}): Promise<void> => {
    const settings = {
      MILLRACE_MQTTS_PORT: '0',
      MILLRACE_MQTT_TLS_CERT: node.certFile,
      MILLRACE_MQTT_TLS_KEY: node.keyFile,
      MILLRACE_MQTT_TLS_CLIENT_CERTIFICATES: clientCertificates,
      ...more,
    };
    millrace = new Millrace(settings, millrace?.directory);
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
  };
  const openSocket = async (): Promise<Socket> => {
    const { hostname, port } = address();
    const socket = connectTcp(Number(port), hostname).on('error', () => {});
    await once(socket.resume(), 'connect');
    return socket;
  };
  const trust = (identity: Identity, fingerprints: readonly string[], authorities: readonly string[] = []) =>
    admin.json('PUT', `/things/${identity.thing}/certificates`, { fingerprints, authorities });
  const address = (): URL => {
    const ready = readFileSync(join(millrace?.directory ?? '', 'run', 'ready.json'), 'utf8');
    return new URL((JSON.parse(ready) as { mqtts: string }).mqtts);
  };
  const shows = ({ cert, key }: KeyPair): IClientOptions => ({ cert, key });
  const password = ({ thing, key }: Identity): IClientOptions => ({ username: thing, password: key });
  /** Never comes again by itself.  @throws with the code of CONNACK, or with what ended the connection before it */
  const connect = async (...options: readonly IClientOptions[]): Promise<Connected> => {
    const common: IClientOptions = { ca: root.cert, reconnectPeriod: 0, connectTimeout: 20_000 };
    const client = openMqtt(address().href, Object.assign(common, ...options));
    clients.push(client);
    const texts: string[] = [];
    client.on('message', (_topic, payload) => texts.push(payload.toString()));
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.on('error', reject);
      client.once('close', () => reject(new Error('closed')));
    });
    return { client, texts };
  };
  /** The code of CONNACK, or the text of what ended the connection before it. */
  const refusal = async (...options: readonly IClientOptions[]): Promise<number | string> => {
    try {
      await connect(...options);
    } catch (error) {
      const { code, message } = error as { code?: number | string; message: string };
      return typeof code === 'number' ? code : message;
    }
    return 'it was let in';
  };
  const cameTo = ({ texts }: Connected, text: string) =>
    eventually(text, 20_000, async () => texts.filter((each) => each === text).length === 1);

  beforeAll(async () => {
    [root, factory, stranger] = [
      await maker.authority('root'),
      await maker.authority('factory'),
      await maker.authority('factory'),
    ];
    node = await maker.issue(root, 'node', 'IP:127.0.0.1,DNS:localhost');
    await startNode('optional');
    silent = await openSocket();
    channel = await newChannel(admin, 'secured');
    topic = `channels/${channel}/messages`;
    plain = await newThing(admin, 'plain', [channel]);
    pinned = await newThing(admin, 'pinned', [channel]);
    made = await newThing(admin, 'made', [channel]);
    pinnedPair = await maker.authority('whatever');
    madePair = await maker.issue(factory, made.thing);
    await trust(pinned, [pinnedPair.fingerprint]);
    await trust(made, [], [factory.cert]);
  }, 180_000);
  afterEach(async () => {
    await Promise.allSettled(clients.splice(0).map((client) => client.endAsync(true)));
  });
  afterAll(async () => {
    await millrace?.dispose();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  test('takes a key as it is without TLS', async () => {
    const { client } = await connect(password(plain));
    await client.publishAsync(topic, 'by key', { qos: 1 });
    expect(await refusal(password({ ...plain, key: 'wrong' }))).toBe(UNKNOWN);
    expect(await refusal()).toBe(UNKNOWN);
  });

  test('a thing whose fingerprint or authority is known needs no password, and its messages bear its name', async () => {
    const reader = await connect(shows(madePair));
    await reader.client.subscribeAsync(topic, { qos: 1 });
    const writer = await connect(shows(pinnedPair));
    await writer.client.publishAsync(topic, 'by fingerprint', { qos: 1 });
    await cameTo(reader, 'by fingerprint');
    await eventually('it is stored as its own', 60_000, async () => {
      const { payloads } = await admin.json<{ payloads: { publisher: string }[] }>(
        'GET',
        `/channels/${channel}/payloads`,
      );
      return payloads.some(({ publisher }) => publisher === pinned.thing);
    });
  }, 90_000);

  test('mosquitto_pub is let in by its certificate', async () => {
    const reader = await connect(password(plain));
    await reader.client.subscribeAsync(topic, { qos: 1 });
    const { hostname, port } = address();
    const to = ['-h', hostname, '-p', port, '--cafile', root.certFile];
    const as = ['--cert', madePair.certFile, '--key', madePair.keyFile];
    await runToEnd(['mosquitto_pub', ...to, ...as, '-t', topic, '-q', '1', '-s'], Buffer.from('by mosquitto'));
    await cameTo(reader, 'by mosquitto');
  });

  test('a certificate that nobody vouches for is nobody', async () => {
    expect(await refusal(shows(stranger))).toBe(UNKNOWN);
    const forged = await maker.issue(stranger, made.thing);
    expect(await refusal(shows(forged)), 'of an authority that only bears the name of the known one').toBe(UNKNOWN);
    const foreign = await maker.issue(factory, plain.thing);
    expect(await refusal(shows(foreign)), 'in the name of a thing that does not trust its authority').toBe(UNKNOWN);
    const nameless = await maker.issue(factory, 'somebody');
    expect(await refusal(shows(nameless)), 'in the name of no thing').toBe(UNKNOWN);
  });

  test('a password goes before a certificate, so that a wrong one is refused', async () => {
    await connect(shows(stranger), password(plain));
    expect(await refusal(shows(pinnedPair), password({ ...pinned, key: 'wrong' }))).toBe(UNKNOWN);
  });

  test('a session is its thing’s, whatever it shows', async () => {
    const kept: IClientOptions = { clientId: 'kept', clean: false };
    const first = await connect(kept, shows(pinnedPair));
    await first.client.subscribeAsync(topic, { qos: 1 });
    await first.client.endAsync();
    const writer = await connect(password(plain));
    await writer.client.publishAsync(topic, 'while away', { qos: 1 });
    const other = await connect(kept, shows(madePair));
    await cameTo(await connect(kept, password(pinned)), 'while away');
    expect(other.texts).toEqual([]);
  });

  test('who is connected by a certificate that is taken away is cut off, and not let in again', async () => {
    const thing = await newThing(admin, 'withdrawn', [channel]);
    const pair = await maker.authority('withdrawn');
    await trust(thing, [pair.fingerprint]);
    const { client } = await connect(shows(pair));
    expect(client.connected).toBe(true);
    await trust(thing, []);
    await eventually('it is cut off', 20_000, async () => !client.connected);
    expect(await refusal(shows(pair))).toBe(UNKNOWN);
  });

  test('who speaks no TLS is cut off', async () => {
    const socket = await openSocket();
    socket.write(Buffer.from([0x10, 12, 0, 4, ...Buffer.from('MQTT'), 4, 2, 0, 0, 0, 0]));
    await eventually('it is cut off', 20_000, async () => socket.destroyed);
    await connect(password(plain));
  });

  test('who says nothing is cut off in time', async () => {
    await eventually('it is cut off', 60_000, async () => silent.destroyed);
  }, 90_000);

  describe('where a certificate is required', () => {
    beforeAll(async () => {
      expect(await millrace?.end()).toBe(0);
      // Who is silent must not be cut off for that while it is looked at.
      const long = { MILLRACE_MQTT_CONNECT_MS_MAX: '120000' };
      await startNode('required', { MILLRACE_MQTT_CONNECTIONS_MAX: String(CONNECTIONS_MAX), ...long });
    }, 180_000);

    test('one that is known lets in', async () => {
      const { client } = await connect(shows(madePair));
      await client.publishAsync(topic, 'by authority', { qos: 1 });
    });

    test('without one there is no word, not even for a key', async () => {
      const told = await refusal(password(plain));
      expect(told).not.toBeTypeOf('number');
      expect(told).not.toBe('it was let in');
    });

    test('one that anybody can make does not open the door for a key', async () => {
      expect(await refusal(shows(stranger), password(plain))).toBe(UNKNOWN);
      expect(await refusal(shows(stranger))).toBe(UNKNOWN);
    });

    test('a known one counts, whatever else is said', async () => {
      await connect(shows(pinnedPair), password({ ...plain, key: 'wrong' }));
    });

    test('handshakes that are not done count among the connections that there may be', async () => {
      const opened: Socket[] = [];
      while (opened.length <= CONNECTIONS_MAX) opened.push(await openSocket());
      const cutOff = (): number => opened.filter(({ destroyed }) => destroyed).length;
      await eventually('what is too much is cut off', 20_000, async () => cutOff() > 0);
      expect(cutOff()).toBeLessThan(opened.length);
      // What is no TLS ends a handshake at once.
      for (const socket of opened) socket.write('this is no handshake\r\n\r\n');
      await eventually('there is room again', 20_000, async () => connect(shows(pinnedPair)));
    });
  });
});
