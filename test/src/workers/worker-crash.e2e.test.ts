import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import mqtt from 'mqtt';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LONG, publishThroughCrashes, SEED, seeded } from '../crash.ts';
import { eventually, freePort, Millrace, newPublisher, Rest } from '../millrace.ts';
import { readiness } from '../publishing.ts';
import { gone, samples, startFamily, workersOf } from './family.ts';

const WORKERS = 3;
const CRASHES = LONG ? 20 : 3;

describe('kill -9 with several workers', () => {
  let millrace: Millrace;
  let port = 0;

  beforeAll(async () => {
    port = await freePort();
    millrace = new Millrace({ MILLRACE_WORKERS: String(WORKERS), MILLRACE_HTTP_PORT: String(port) });
    await startFamily(millrace);
  }, 300_000);
  afterAll(() => millrace.dispose(), 120_000);

  const allThere = (): Promise<unknown> =>
    eventually('all workers', 120_000, async () => {
      const { status, checks } = await readiness(new Rest(millrace.url, ''));
      if (status !== 200) throw new Error(JSON.stringify(checks));
      return workersOf(millrace.pid).length === WORKERS;
    });

  test(`of a worker: nothing acknowledged is lost or doubled, and the port never refuses (seed ${SEED})`, {
    timeout: 600_000,
  }, async () => {
    const refused: unknown[] = [];
    let [tried, watching] = [0, true];
    const watch = (async () => {
      for (; watching; tried++) {
        const socket = connect(port, '127.0.0.1');
        await new Promise<void>((resolve) => {
          socket.once('connect', resolve);
          socket.once('error', (error) => {
            refused.push(error);
            resolve();
          });
        });
        socket.destroy();
        await sleep(5);
      }
    })();
    const random = seeded(SEED);
    const { acknowledged } = await publishThroughCrashes(millrace, {
      clients: 6,
      crashes: CRASHES,
      seed: SEED,
      async crash() {
        const pids = workersOf(millrace.pid);
        // The last time all at once.
        const victims = random() < 0.34 ? pids : [pids[Math.floor(random() * pids.length)] as number];
        for (const pid of victims) process.kill(pid, 'SIGKILL');
        await gone(victims);
        await allThere();
      },
    });
    watching = false;
    await watch;
    expect(refused).toEqual([]);
    expect(tried).toBeGreaterThan(50);
    const restarts = (await samples(millrace, 'millrace_worker_restarts_total')).get('') ?? 0;
    expect(restarts).toBeGreaterThanOrEqual(CRASHES);
    console.log(`${acknowledged} acknowledged messages stored once each through ${restarts} ends of workers`);
  });

  test('of a worker: its sessions go on elsewhere, with what came meanwhile', { timeout: 180_000 }, async () => {
    await allThere();
    const publisher = await newPublisher(await Rest.asAdmin(millrace), 'session');
    const heard: string[] = [];
    const options = { username: publisher.thing, password: publisher.key, clientId: 'steady', clean: false };
    const client = mqtt.connect(millrace.mqtt, { ...options, reconnectPeriod: 0 });
    client.on('error', () => {});
    client.on('message', (_topic, payload) => heard.push(JSON.parse(payload.toString())[0].n));
    const publish = async (name: string): Promise<void> => {
      await eventually(`${name} is accepted`, 60_000, async () => {
        const path = `/channels/${publisher.channel}/messages`;
        return (await publisher.rest.raw('POST', path, JSON.stringify([{ n: name, v: 1 }]))).status === 202;
      });
    };
    try {
      await new Promise<void>((resolve) => client.once('connect', () => resolve()));
      await client.subscribeAsync(`channels/${publisher.channel}/messages`, { qos: 1 });
      await publish('before');
      await eventually('the first', 30_000, async () => heard.includes('before'));
      let open = true;
      client.once('close', () => {
        open = false;
      });
      for (const pid of workersOf(millrace.pid)) {
        if (open) process.kill(pid, 'SIGKILL');
        await gone([pid].filter(() => open));
        for (let waited = 0; open && waited < 1_000; waited += 20) await sleep(20);
      }
      expect(open).toBe(false);
      await publish('meanwhile');
      await allThere();
      client.reconnect();
      await eventually('the second', 60_000, async () => heard.includes('meanwhile'));
    } finally {
      await client.endAsync(true);
    }
  });

  test('of the main process: the workers end by themselves, and the next start knows all that was acknowledged', {
    timeout: 600_000,
  }, async () => {
    const { acknowledged } = await publishThroughCrashes(millrace, {
      clients: 4,
      crashes: LONG ? 10 : 2,
      seed: SEED,
      async crash() {
        const pids = workersOf(millrace.pid);
        expect(pids.length).toBe(WORKERS);
        expect(await millrace.end('SIGKILL')).toBe('SIGKILL');
        await gone(pids, 20_000);
        await startFamily(millrace);
      },
    });
    expect(acknowledged).toBeGreaterThan(0);
  });
});
