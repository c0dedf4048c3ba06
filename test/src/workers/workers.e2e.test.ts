import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import mqtt, { type MqttClient } from 'mqtt';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { readiness } from '../publishing.ts';
import { expectStoredOnce } from '../stored.ts';
import { gone, KeptConnection, samples, startFamily, workersOf, workersWith } from './family.ts';

const WORKERS = 4;
const CONNECTIONS = 12;

describe(`${WORKERS} workers behind one port`, () => {
  const millrace = new Millrace({ MILLRACE_WORKERS: String(WORKERS) });
  const closings: (() => unknown)[] = [];
  let admin: Rest;

  beforeAll(async () => {
    await startFamily(millrace);
    admin = await Rest.asAdmin(millrace);
  }, 300_000);
  afterAll(() => millrace.dispose(), 120_000);
  afterEach(async () => {
    for (const close of closings.splice(0)) await close();
  });

  const connections = (count: number): KeptConnection[] => {
    const made = Array.from({ length: count }, () => new KeptConnection(millrace));
    for (const one of made) closings.push(() => one.close());
    return made;
  };
  const connect = async (
    { thing, key }: Publisher,
    more: Parameters<typeof mqtt.connect>[1] = {},
  ): Promise<MqttClient> => {
    const client = mqtt.connect(millrace.mqtt, {
      username: thing,
      password: key,
      reconnectPeriod: 0,
      connectTimeout: 20_000,
      ...more,
    });
    closings.push(() => client.endAsync(true));
    client.on('error', () => {});
    await new Promise<void>((resolve, reject) => {
      client.once('connect', () => resolve());
      client.once('error', reject);
      client.once('close', () => reject(new Error('closed')));
    });
    return client;
  };

  test('each has clients of every protocol, and what they publish is stored once', async () => {
    const publisher = await newPublisher(admin, 'spread');
    const http = connections(CONNECTIONS);
    const things = await Promise.all(Array.from({ length: CONNECTIONS }, () => connect(publisher)));
    const sockets = await Promise.all(Array.from({ length: CONNECTIONS }, () => openSocket(publisher)));
    await Promise.all([
      ...http.map(async (one, index) => {
        for (const round of [0, 1, 2]) expect((await one.publish(publisher, `h${index}-${round}`)).status).toBe(202);
      }),
      ...things.map((client, index) =>
        client.publishAsync(`channels/${publisher.channel}/messages`, JSON.stringify([{ n: `m${index}`, v: 1 }]), {
          qos: 1,
        }),
      ),
    ]);
    for (const protocol of ['http', 'mqtt', 'ws']) {
      const label = `protocol="${protocol}"`;
      expect((await workersWith(millrace, 'millrace_ingest_connections', label)).size, protocol).toBe(WORKERS);
    }
    for (const protocol of ['http', 'mqtt']) {
      const label = `protocol="${protocol}"`;
      expect((await workersWith(millrace, 'millrace_ingest_messages_total', label)).size, protocol).toBe(WORKERS);
    }
    const names = [0, 1, 2].flatMap((round) => http.map((_, index) => `h${index}-${round}`));
    await expectStoredOnce(publisher.rest, publisher.channel, [...names, ...things.map((_, index) => `m${index}`)]);
    expect(sockets.length).toBe(CONNECTIONS);
  }, 120_000);

  const openSocket = async ({ channel, key }: Publisher): Promise<{ socket: WebSocket; heard: string[] }> => {
    const url = `${millrace.url.replace('http', 'ws')}/channels/${channel}/messages`;
    const socket = new WebSocket(url, { headers: { authorization: `Thing ${key}` } });
    const heard: string[] = [];
    closings.push(() => socket.terminate());
    socket.on('error', () => {});
    socket.on('message', (data) => heard.push(String(data)));
    await new Promise<void>((resolve, reject) => {
      socket.once('open', () => resolve());
      socket.once('close', () => reject(new Error('the WebSocket was closed')));
    });
    return { socket, heard };
  };

  test('what comes to one is heard by the subscribers of all, once', async () => {
    const publisher = await newPublisher(admin, 'everywhere');
    const topic = `channels/${publisher.channel}/messages`;
    const sockets = await Promise.all(Array.from({ length: WORKERS }, () => openSocket(publisher)));
    const heard = await Promise.all(
      Array.from({ length: CONNECTIONS }, async () => {
        const client = await connect(publisher);
        const names: string[] = [];
        client.on('message', (_topic, payload) => names.push(JSON.parse(payload.toString())[0].n));
        await client.subscribeAsync(topic, { qos: 1 });
        return names;
      }),
    );
    const [one] = connections(1);
    const names = ['a', 'b', 'c', 'd', 'e'];
    for (const name of names) expect((await one?.publish(publisher, name))?.status).toBe(202);
    await eventually('everybody has heard', 30_000, async () => heard.every((own) => own.length >= names.length));
    await eventually('the WebSockets, too', 30_000, async () =>
      sockets.every((own) => own.heard.length >= names.length),
    );
    for (const own of heard) expect(own).toEqual(names);
  }, 90_000);

  test('what the control plane has answered holds for the next message, whoever takes it', async () => {
    const publisher = await newPublisher(admin, 'subject');
    const clients = connections(CONNECTIONS);
    const [manager] = connections(1);
    const pair = JSON.stringify({ channel_ids: [publisher.channel], thing_ids: [publisher.thing] });
    const json = { 'content-type': 'application/json' };
    for (let round = 0; round < 4; round++) {
      for (const [path, wanted] of [
        ['/disconnect', 403],
        ['/connect', 202],
      ] as const) {
        const told = await manager?.ask('POST', path, admin.authorization, pair, json);
        expect(told?.status, told?.text).toBeLessThan(300);
        const statuses = await Promise.all(
          clients.map(async (client) => (await client.publish(publisher, 'n')).status),
        );
        expect(new Set(statuses), `after ${path}`).toEqual(new Set([wanted]));
      }
    }
  }, 90_000);

  test('a thing that is disabled is cut off from all of them within a second', async () => {
    const publisher = await newPublisher(admin, 'revoked');
    const clients = await Promise.all(Array.from({ length: CONNECTIONS }, () => connect(publisher)));
    const sockets = await Promise.all(Array.from({ length: WORKERS }, () => openSocket(publisher)));
    const closed = [
      ...clients.map(
        (client) => new Promise<number>((resolve) => client.once('close', () => resolve(performance.now()))),
      ),
      ...sockets.map(
        ({ socket }) => new Promise<number>((resolve) => socket.once('close', () => resolve(performance.now()))),
      ),
    ];
    await admin.json('POST', `/things/${publisher.thing}/disable`);
    const answered = performance.now();
    const last = Math.max(...(await Promise.all(closed))) - answered;
    // What is promised, and what a machine with other work may add.
    expect(last).toBeLessThan(5_000);
    const statuses = await Promise.all(
      connections(CONNECTIONS).map(async (one) => (await one.publish(publisher, 'n')).status),
    );
    expect(new Set(statuses)).toEqual(new Set([403]));
  }, 90_000);

  test('a session is told apart by its client, not by its worker: a second connection takes the first one over', async () => {
    const publisher = await newPublisher(admin, 'twice');
    const options = { clientId: 'the-one', clean: false } as const;
    let last = await connect(publisher, options);
    await last.subscribeAsync(`channels/${publisher.channel}/messages`, { qos: 1 });
    for (let round = 0; round < WORKERS; round++) {
      const closed = new Promise<void>((resolve) => last.once('close', () => resolve()));
      last = await connect(publisher, options);
      await closed;
    }
    const heard: string[] = [];
    last.on('message', (_topic, payload) => heard.push(payload.toString()));
    await connections(1)[0]?.publish(publisher, 'still here');
    await eventually('the session', 30_000, async () => heard.length === 1);
  }, 90_000);

  test('the control plane answers with what it is asked for: lists, problems, documents, nothing to nobody', async () => {
    const [one] = connections(1);
    const things = await one?.ask('GET', '/things?limit=1', admin.authorization);
    expect(JSON.parse(things?.text ?? '').things).toHaveLength(1);
    expect((await one?.ask('GET', '/things', ''))?.status).toBe(401);
    expect((await one?.ask('POST', '/tokens', '', '{"email":', { 'content-type': 'application/json' }))?.status).toBe(
      400,
    );
    expect((await one?.ask('GET', '/no/such/path', ''))?.status).toBe(404);
    expect(JSON.parse((await one?.ask('GET', '/openapi.json', ''))?.text ?? '').openapi).toMatch(/^3\.1/);
    expect((await one?.ask('HEAD', '/version', ''))?.text).toBe('');
    const { status, checks } = await readiness(new Rest(millrace.url, ''));
    expect([status, checks.workers, checks.log]).toEqual([200, 'pass', 'pass']);
  });

  test('who asks is who has connected, whatever the request says of itself', async () => {
    const forged = { 'millrace-relayed-client': '1 1 203.0.113.9 ', 'x-forwarded-for': '203.0.113.9' };
    const body = JSON.stringify({ email: 'admin@millrace.local', password: 'not-the-password' });
    const json = { 'content-type': 'application/json' };
    const refused = await connections(1)[0]?.ask('POST', '/tokens', '', body, { ...json, ...forged });
    expect(refused?.status).toBe(401);
    const audit = await eventually('the audit', 30_000, async () => {
      const text = JSON.stringify(await admin.json('GET', '/audit?limit=50'));
      return text.includes('127.0.0.1') && text;
    });
    expect(audit).not.toContain('203.0.113.9');
  }, 60_000);

  test('metrics tell the processes apart, and each metric is described once', async () => {
    const text = await (await fetch(`${millrace.url}/metrics`)).text();
    const described = text.split('\n').filter((line) => line.startsWith('# TYPE '));
    expect(new Set(described).size).toBe(described.length);
    const memory = await samples(millrace, 'millrace_process_resident_memory_bytes');
    expect([...memory.keys()].sort()).toEqual([
      '',
      ...Array.from({ length: WORKERS }, (_, index) => `worker="${index + 1}"`),
    ]);
    expect((await samples(millrace, 'millrace_workers')).get('state="ready"')).toBe(WORKERS);
  });

  test('what is between the processes is nobody else’s', () => {
    for (const name of ['log.sock', 'relay.sock']) {
      expect(statSync(join(millrace.directory, 'run', name)).mode & 0o777, name).toBe(0o600);
    }
    for (const pid of workersOf(millrace.pid)) {
      const secret = readFileSync(join(millrace.directory, 'secret'), 'utf8').trim();
      const shown = readFileSync(`/proc/${pid}/environ`, 'latin1') + readFileSync(`/proc/${pid}/cmdline`, 'latin1');
      expect(shown).not.toContain(secret);
    }
  });

  test('a second start on the same data directory is refused, and harms nobody', async () => {
    const second = await millrace.command(['start']);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('is in use by');
    expect((await fetch(`${millrace.url}/health/ready`)).status).toBe(200);
    expect(workersOf(millrace.pid)).toHaveLength(WORKERS);
  }, 60_000);

  test('on SIGTERM every request that was taken is answered, and all processes end', async () => {
    const publisher = await newPublisher(admin, 'draining');
    const clients = connections(8);
    const accepted: string[] = [];
    const odd: number[] = [];
    let stopped = false;
    const load = clients.map(async (client, index) => {
      for (let sequence = 0; !stopped; sequence++) {
        const name = `d${index}-${sequence}`;
        try {
          const { status } = await client.publish(publisher, name);
          if (status === 202) accepted.push(name);
          else if (status !== 503) odd.push(status);
          else break;
        } catch {
          break;
        }
      }
    });
    await eventually('load', 30_000, async () => accepted.length > 200);
    const pids = workersOf(millrace.pid);
    expect(await millrace.end('SIGTERM')).toBe(0);
    stopped = true;
    await Promise.all(load);
    await gone(pids);
    expect(odd).toEqual([]);
    await startFamily(millrace);
    const rest = new Rest(millrace.url, publisher.rest.authorization);
    await expectStoredOnce(rest, publisher.channel, accepted, 'acknowledged while the node went down');
  }, 300_000);
});
