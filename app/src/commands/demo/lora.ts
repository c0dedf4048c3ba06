import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Flags } from '../flags.ts';
import { DEMO_APPLICATION, SimulatedChirpStack } from './chirpstack.ts';
import { Client, invalid, target, wholeNumber } from './client.ts';

const NAME = 'Demo ChirpStack';

/** Simulates a ChirpStack with its sensors, and lets the node take their events from its broker.
 *  @throws SetupError where the node does not let itself be asked */
export async function loraDemo(flags: Flags): Promise<void> {
  const count = wholeNumber('--devices', flags.devices ?? '50', 1, 10_000);
  const intervalMs = Math.max(50, Number(flags.interval ?? '10') * 1_000);
  if (!Number.isFinite(intervalMs)) throw invalid('--interval must be a number of seconds');
  const { url, email, password } = target(flags);
  const client = new Client(url);
  await client.login(email, password);
  const channel = await client.channel('Demo LoRaWAN');
  await client.call('PATCH', `/channels/${channel}`, { metadata: { lora: { app_id: DEMO_APPLICATION.id } } });
  const chirpstack = await SimulatedChirpStack.start(count);
  const server = await networkServer(client, chirpstack, count);
  process.stdout.write(
    [
      `A simulated ChirpStack with ${count} sensors at ${chirpstack.connection.url}; each sends every ${intervalMs / 1_000} s. Ctrl-C stops.`,
      `Readings: ${url}/channels/${channel}/messages   (things are made as their sensors are first heard)`,
      `A downlink: publish {"device":"<DevEUI>","data":"AQ=="} to channels/${channel}/messages/down/10`,
      '',
    ].join('\n'),
  );

  const stop = new AbortController();
  setMaxListeners(0, stop.signal);
  process.once('SIGINT', () => stop.abort());
  process.once('SIGTERM', () => stop.abort());
  const { tally } = chirpstack;
  const report = (): void => {
    const line = `${tally.events} events, ${tally.downlinks} downlinks`;
    process.stdout.write(process.stdout.isTTY ? `\r\u001b[K${line}` : `${line}\n`);
  };
  const progress = setInterval(report, process.stdout.isTTY ? 1_000 : 10_000);
  const pause = (ms: number): Promise<unknown> => sleep(ms, undefined, { signal: stop.signal }).catch(() => undefined);
  // Whoever takes the events must be there before the first.
  await connected(client, server, pause);
  await Promise.all(
    chirpstack.sensors.map(async (sensor, index) => {
      await pause((index / count) * intervalMs);
      if (!stop.signal.aborted) await chirpstack.join(sensor);
      while (!stop.signal.aborted) {
        await chirpstack.uplink(sensor, Date.now());
        await pause(intervalMs * (0.9 + Math.random() * 0.2));
      }
    }),
  );
  clearInterval(progress);
  report();
  process.stdout.write('\n');
  // Its broker goes away with this process: the node need not look for it.
  await client.call('POST', `/networkservers/${server}/disable`);
  await chirpstack.stop();
}

const CONNECTED_MS_MAX = 20_000;

/** @throws SetupError when the node does not connect to the broker in time, with what it says about it */
async function connected(client: Client, server: string, pause: (ms: number) => Promise<unknown>): Promise<void> {
  const end = Date.now() + CONNECTED_MS_MAX;
  let said = '';
  while (Date.now() < end) {
    const { nodes } = await client.call<{ nodes: { state: string; detail: string }[] }>(
      'GET',
      `/networkservers/${server}/status`,
    );
    if (nodes.some(({ state }) => state === 'connected')) return;
    said = nodes.map(({ state, detail }) => `${state} ${detail}`.trim()).join(', ');
    await pause(500);
  }
  throw invalid(`the node does not connect to the simulated broker${said === '' ? '' : `: ${said}`}`);
}

/** The node's record of this simulated one: made at the first run, pointed at this run's port at the others. */
async function networkServer(client: Client, chirpstack: SimulatedChirpStack, devices: number): Promise<string> {
  // The simulated broker knows no shared subscriptions.
  const mqtt = { ...chirpstack.connection, share: '' };
  const provisioning = { things_per_day_max: Math.max(1_000, devices) };
  const page = await client.call<{ networkservers: { id: string; name: string }[] }>(
    'GET',
    '/networkservers?limit=100',
  );
  const known = page.networkservers.find(({ name }) => name === NAME);
  if (known === undefined) {
    const body = { name: NAME, kind: 'chirpstack-v4', mqtt, provisioning };
    return (await client.call<{ id: string }>('POST', '/networkservers', body)).id;
  }
  await client.call('PATCH', `/networkservers/${known.id}`, { mqtt, provisioning });
  await client.call('POST', `/networkservers/${known.id}/enable`);
  return known.id;
}
