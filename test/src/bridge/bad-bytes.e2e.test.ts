import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { generate } from 'mqtt-packet';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { LONG, SEED, seeded } from '../crash.ts';
import { eventually, Millrace, Rest } from '../millrace.ts';
import { readiness } from '../publishing.ts';
import type { Identity } from './clients/client.ts';
import { filterText } from './clients/mqtt-topic.ts';
import { RawMqtt, textOf } from './clients/raw-mqtt.ts';
import { MQTT_TOKENS, mqttConversations, WEB_SOCKET_TOKENS, webSocketConversations } from './hostile-bytes.ts';
import { below, mutated, type Next } from './mutation.ts';
import { newChannel, newThing } from './rights.ts';

const CONVERSATIONS = LONG ? 100_000 : 10_000;
const LANES = 16;
/** A node that has not closed by then, though its client has, hangs. */
const END_MS_MAX = 20_000;
const MIB = 1_048_576;
/** Of what the node held when it was warm; a collector that comes late, and a store that merges, need some of it. */
const GROWTH_MAX = 0.2;
const GROWTH_BYTES_MIN = 128 * MIB;

describe('against bytes that no client should send', () => {
  const millrace = new Millrace({
    MILLRACE_HTTP_HEAD_MS_MAX: '2000',
    MILLRACE_MQTT_CONNECT_MS_MAX: '4000',
    MILLRACE_LOG_RETENTION_BYTES: String(16 * MIB),
  });
  let admin: Rest;
  let channel: string;
  let thing: Identity;
  const open: RawMqtt[] = [];

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    channel = await newChannel(admin, 'well-behaved');
    thing = await newThing(admin, 'well-behaved', [channel]);
  }, 120_000);
  afterAll(async () => {
    await Promise.all(open.map((client) => client.cut()));
    await millrace.dispose();
  }, 120_000);

  beforeEach(({ onTestFailed }) => {
    onTestFailed(() => console.log(`the node said last: ${millrace.stderr.slice(-6_000)}`));
  });

  const connected = async (): Promise<RawMqtt> => {
    const { client } = await RawMqtt.connect(millrace, thing);
    open.push(client);
    return client;
  };

  test(`${CONVERSATIONS} mutated conversations by MQTT and WebSocket: no fault, memory flat, others are served (seed ${SEED})`, {
    timeout: LONG ? 1_800_000 : 240_000,
  }, async () => {
    const { pid } = millrace;
    const target = await newChannel(admin, 'target');
    const victim = await newThing(admin, 'victim', [target]);
    const [mqtt, web] = [mqttConversations(victim, target), webSocketConversations(victim, target)];
    let left = CONVERSATIONS;
    let warmBytes = 0;
    const lane = async (index: number): Promise<void> => {
      const next = below(seeded(SEED + index * 7_919));
      while (left-- > 0) {
        if (left === Math.floor(CONVERSATIONS * 0.6)) warmBytes = memoryOf(pid);
        if (next(2) === 0) await send(millrace.mqtt, mutated(mqtt, MQTT_TOKENS, next), next);
        else await send(millrace.url, mutated(web, WEB_SOCKET_TOKENS, next), next);
      }
    };
    const pair = await wellBehaved();
    await Promise.all(Array.from({ length: LANES }, (_, index) => lane(index)));
    const { sent, latenciesMs } = await pair.end();

    expect(millrace.pid).toBe(pid);
    expect(await faults(admin), `seed ${SEED}`).toEqual([]);
    expect(millrace.stderr).not.toMatch(/a fault that nobody caught|a request of the control plane failed/);
    expect(sent).toBeGreaterThan(20);
    const median = latenciesMs.toSorted((a, b) => a - b)[Math.floor(latenciesMs.length / 2)] as number;
    console.log(`${sent} messages of the well-behaved pair came, half of them within ${median.toFixed(1)} ms`);
    expect(median).toBeLessThan(500);
    await eventually('everything to be ready', 30_000, async () => (await readiness(admin)).status === 200);
    const boundBytes = Math.max(warmBytes * (1 + GROWTH_MAX), warmBytes + GROWTH_BYTES_MIN);
    let nowBytes = 0;
    await eventually('memory to be what it was', 60_000, async () => {
      nowBytes = memoryOf(pid);
      if (nowBytes > boundBytes) throw new Error(`${mib(nowBytes)} MiB, it was ${mib(warmBytes)}`);
      return true;
    });
    console.log(`memory ${mib(warmBytes)} MiB when warm, ${mib(nowBytes)} MiB afterwards`);
  });

  test('who says nothing, or a byte a second, is cut off; others do not notice', { timeout: 60_000 }, async () => {
    const pair = await wellBehaved();
    const hello = generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clientId: 'slow',
      clean: true,
      keepalive: 0,
    });
    const slow = await Promise.all(Array.from({ length: 40 }, () => RawMqtt.open(millrace)));
    open.push(...slow);
    let at = 0;
    const timer = setInterval(() => {
      for (const client of slow.slice(0, 20))
        if (client.socket.writable) client.socket.write(hello.subarray(at % hello.length, (at % hello.length) + 1));
      at++;
    }, 1_000);
    try {
      await Promise.all(slow.map((client) => client.closed(40_000)));
    } finally {
      clearInterval(timer);
    }
    await pair.end();
  });

  test('who closes its half while its socket or stream is being opened is not kept', async () => {
    for (const conversation of [0, 2, 8]) {
      // Known to nobody yet: it takes a moment to find out who asks.
      const stranger = await newThing(admin, 'stranger', [channel]);
      const bytes = webSocketConversations(stranger, channel)[conversation] as Buffer;
      const head = bytes.subarray(0, bytes.indexOf('\r\n\r\n') + 4);
      await send(millrace.url, head, () => 0);
    }
  });

  test('a length of 256 MB is not waited for', async () => {
    const pair = await wellBehaved();
    const begin = memoryOf(millrace.pid);
    const clients = await Promise.all(Array.from({ length: 10 }, connected));
    for (const { socket } of clients) {
      socket.write(Buffer.from([0x32, 0xff, 0xff, 0xff, 0x7f]));
      const part = Buffer.alloc(65_536, 0x61);
      const pour = (): void => {
        while (socket.writable && socket.write(part));
      };
      socket.on('drain', pour);
      pour();
    }
    await Promise.all(clients.map((client) => client.closed()));
    expect(memoryOf(millrace.pid) - begin).toBeLessThan(128 * MIB);
    await pair.end();
  });

  test('topics of thousands of levels harm nobody', async () => {
    const pair = await wellBehaved();
    const root = filterText({ channel, subtopic: '' });
    const deep = (segment: string): string => `${root}/${Array.from({ length: 30_000 }, () => segment).join('/')}`;
    for (const topic of [deep('a'), deep('a').slice(0, 65_000)]) {
      const client = await connected();
      client.send({ cmd: 'publish', topic, payload: 'x', qos: 1, retain: true, dup: false, messageId: 1 });
      await client.closed();
    }
    for (const filter of [deep('+'), deep('a'), `${deep('+').slice(0, -1)}#`, `$share/${'g'.repeat(60_000)}/${root}`]) {
      const client = await connected();
      client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 1 }] });
      await client.until('a word or the end', () => client.over || client.packets.some(({ cmd }) => cmd === 'suback'));
    }
    const many = await connected();
    const subscriptions = Array.from({ length: 5_000 }, (_, index) => ({
      topic: `${root}/${index}/+/#`,
      qos: 0 as const,
    }));
    many.send({ cmd: 'subscribe', messageId: 1, subscriptions });
    await many.until('a word or the end', () => many.over || many.packets.some(({ cmd }) => cmd === 'suback'), 30_000);
    await pair.end();
    expect(await faults(admin)).toEqual([]);
  });

  /** A publisher and its subscriber that go on until they are ended.
   *  @returns how to end them: waits until everything that was acknowledged has come, in order */
  async function wellBehaved(): Promise<{ end(): Promise<{ sent: number; latenciesMs: number[] }> }> {
    const [publisher, subscriber] = [await connected(), await connected()];
    const topic = filterText({ channel, subtopic: `pair/${open.length}` });
    const sentMs: number[] = [];
    const latenciesMs: number[] = [];
    subscriber.onPacket = (packet) => {
      if (packet.cmd === 'publish') latenciesMs.push(performance.now() - (sentMs[Number(textOf(packet))] as number));
    };
    await subscriber.subscribe([[topic, 1]]);
    let over = false;
    const publishing = (async () => {
      while (!over) {
        sentMs.push(performance.now());
        await publisher.publish(topic, String(sentMs.length - 1), 1);
        await sleep(5);
      }
    })();
    publishing.catch(() => {});
    return {
      async end() {
        over = true;
        await publishing;
        await subscriber.until('all messages', () => latenciesMs.length >= sentMs.length);
        expect(subscriber.messages.map(textOf)).toEqual(sentMs.map((_, index) => String(index)));
        return { sent: sentMs.length, latenciesMs };
      },
    };
  }
});

/** Sends bytes on a connection of their own, in one piece or two, and waits for its end. */
function send(url: string, bytes: Buffer, next: Next): Promise<void> {
  const { hostname, port } = new URL(url);
  const cut = next(3) === 1 ? next(bytes.length + 1) : bytes.length;
  const leaving = next(4);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    let answer = '';
    const timer = setTimeout(() => {
      socket.destroy();
      const told = `cut at ${cut}, left in way ${leaving}, answered ${JSON.stringify(answer.slice(0, 300))}`;
      reject(new Error(`no end (seed ${SEED}): ${told}: ${bytes.toString('latin1').slice(0, 2_000)}`));
    }, END_MS_MAX);
    socket.setEncoding('latin1').on('data', (text: string) => {
      answer = (answer + text).slice(0, 4_096);
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
    socket.write(bytes.subarray(0, cut));
    if (cut < bytes.length) setImmediate(() => socket.write(bytes.subarray(cut)));
    // Some leave at once, some by a reset, most once they have seen something.
    if (leaving === 0) socket.end();
    else if (leaving === 1) {
      setImmediate(() => {
        socket.resetAndDestroy();
        // There is nothing to wait for; Node may not even tell of this end.
        clearTimeout(timer);
        resolve();
      });
    } else {
      const leave = setTimeout(() => socket.end(), 20);
      socket.once('data', () => {
        clearTimeout(leave);
        setImmediate(() => socket.end());
      });
      socket.once('close', () => clearTimeout(leave));
    }
  });
}

/** Faults that were counted. */
async function faults(rest: Rest): Promise<string[]> {
  const text = await (await rest.raw('GET', '/metrics')).text();
  const lines = text.split('\n').filter((line) => /^millrace_\w*faults_total/.test(line));
  expect(lines.length).toBeGreaterThan(0);
  return lines.filter((line) => !line.endsWith(' 0'));
}

/** Of one process, shared pages in proportion. @units bytes */
function memoryOf(pid: number): number {
  if (process.platform !== 'linux') return 0;
  return 1_024 * Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0);
}

const mib = (bytes: number): string => (bytes / MIB).toFixed(0);
