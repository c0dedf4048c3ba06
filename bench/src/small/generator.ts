import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectAsync, type MqttClient } from 'mqtt';
import { childOptions, tell } from '../floors/options.ts';
import { Histogram } from '../load/histogram.ts';
import { senmlPack } from '../pack.ts';
import type { SmallLoad, SmallPlan } from './plan.ts';

/** The devices, in a process of their own. */
const ANSWERS_MS_MAX = 60_000;
const STEP_MS = 2;

type Publish = (body: string) => Promise<string>;

const agent = new Agent({ keepAlive: true });

/** @returns what it was answered; 202 is the only one that counts */
function byHttp(base: string, { channel, key }: SmallPlan['targets'][number]): Publish {
  const url = `${base}/channels/${channel}/messages`;
  const headers = { authorization: `Thing ${key}`, 'content-type': 'application/senml+json' };
  return (body) =>
    new Promise((resolve) => {
      const asked = request(url, { method: 'POST', agent, headers }, (answer) => {
        answer.resume();
        answer.once('end', () => resolve(String(answer.statusCode)));
        answer.once('error', () => resolve('lost'));
      });
      asked.once('error', () => resolve('lost'));
      asked.end(body);
    });
}

function byMqtt(client: MqttClient, channel: string): Publish {
  const topic = `channels/${channel}/messages`;
  return async (body) => {
    try {
      await client.publishAsync(topic, body, { qos: 1 });
      return '202';
    } catch {
      return 'lost';
    }
  };
}

async function run(plan: SmallPlan): Promise<SmallLoad> {
  const clients: MqttClient[] = [];
  const devices: Publish[] = [];
  for (const [index, target] of plan.targets.entries()) {
    if (index % 2 === 0) {
      devices.push(byHttp(plan.http, target));
      continue;
    }
    const client = await connectAsync(plan.mqtt, { username: target.thing, password: target.key, reconnectPeriod: 0 });
    client.on('error', () => undefined);
    clients.push(client);
    devices.push(byMqtt(client, target.channel));
  }
  const latency = new Histogram();
  const refused: Record<string, number> = {};
  let accepted = 0;
  let readings = 0;
  let offered = 0;
  let waiting = 0;
  const send = async (index: number, dueAt: number): Promise<void> => {
    const device = index % devices.length;
    // Which device it is must say nothing of how many readings it sends.
    const count = Math.floor(index / devices.length) % plan.tenEvery === device % plan.tenEvery ? 10 : 1;
    waiting++;
    const answer = await (devices[device] as Publish)(senmlPack(device, count, index));
    waiting--;
    if (answer !== '202') {
      refused[answer] = (refused[answer] ?? 0) + 1;
      return;
    }
    accepted++;
    readings += count;
    latency.add((performance.now() - dueAt) * 1_000);
  };
  const start = performance.now();
  const total = Math.floor(plan.seconds * plan.messagesPerSecond);
  while (offered < total) {
    const due = Math.min(total, Math.floor(((performance.now() - start) * plan.messagesPerSecond) / 1_000));
    while (offered < due) {
      void send(offered, start + (offered * 1_000) / plan.messagesPerSecond);
      offered++;
    }
    await sleep(STEP_MS);
  }
  const seconds = (performance.now() - start) / 1_000;
  const end = performance.now() + ANSWERS_MS_MAX;
  while (waiting > 0 && performance.now() < end) await sleep(5);
  if (waiting > 0) refused.unanswered = waiting;
  for (const client of clients) await client.endAsync(true);
  agent.destroy();
  const [ackP50, ackP99] = [latency.quantile(0.5) / 1_000, latency.quantile(0.99) / 1_000];
  return { offered, accepted, readings, refused: { ...refused }, seconds, ackP50, ackP99 };
}

tell(await run(childOptions<SmallPlan>()));
process.disconnect?.();
