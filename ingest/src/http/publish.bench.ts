// What publishing costs beside an empty answer: `node ingest/dist/http/publish.bench.js` after a build.
// Both servers run in a process of their own, driven in turn by the same generator (bench/), also in its own.

import uWS from 'uWebSockets.js';
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { createLogger, createMetrics, type Log, readConfig } from '@millrace/core';
import { KEY, TestGate } from '../testing/gate.ts';
import { MemoryLog } from '../testing/memory-log.ts';
import { HttpIngestConfig } from './config.ts';
import { httpServer } from './server.ts';

const ROUNDS = 5;
const SERVERS = ['empty uWebSockets.js 202', 'publish'] as const;
type ServerName = (typeof SERVERS)[number];

async function serve(name: ServerName): Promise<number> {
  if (name === 'publish') {
    const log = new MemoryLog();
    log.records = null;
    const started = await httpServer({
      host: '127.0.0.1',
      port: 0,
      config: readConfig(HttpIngestConfig, {}),
      metrics: createMetrics(),
      logger: createLogger(),
      publish: { log: log as unknown as Log, gate: new TestGate() },
    }).start();
    return started.value.port;
  }
  return new Promise((resolve) => {
    uWS
      .App()
      .any('/*', (response) => {
        response.onAborted(() => {});
        response.onData((_chunk, last) => {
          if (last) response.writeStatus('202 Accepted').end('{"response":"message sent"}');
        });
      })
      .listen('127.0.0.1', 0, (socket) => resolve(socket === false ? 0 : uWS.getSocketPort(socket)));
  });
}

const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000_000;
};

async function drive(port: number): Promise<{ accepted: number; acceptedPerSecond: number }> {
  const pack = JSON.stringify(Array.from({ length: 10 }, (_, index) => ({ n: `sensor${index}`, u: 'Cel', v: 20.5 })));
  const options = {
    port,
    connections: 256,
    durationMs: 2_000,
    paths: Array.from({ length: 8 }, (_, index) => `/channels/chan-${index}/messages`),
    payloads: [pack],
    authorization: `Thing ${KEY}`,
    contentType: 'application/senml+json',
  };
  const program = fileURLToPath(new URL('../../../bench/dist/http-load.js', import.meta.url));
  const child = spawn(process.execPath, [program, JSON.stringify(options)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  for await (const chunk of child.stdout) output += String(chunk);
  return JSON.parse(output) as { accepted: number; acceptedPerSecond: number };
}

const told = <T>(child: ChildProcess): Promise<T> => new Promise((resolve) => child.once('message', resolve as never));
const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? 0;

async function compare(): Promise<void> {
  const rates = new Map<ServerName, number[]>(SERVERS.map((name) => [name, []]));
  const costs = new Map<ServerName, number[]>(SERVERS.map((name) => [name, []]));
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of SERVERS) {
      const child = fork(fileURLToPath(import.meta.url), [name]);
      const port = await told<number>(child);
      await drive(port);
      child.send('cpu');
      const before = await told<number>(child);
      const load = await drive(port);
      child.send('cpu');
      const spent = (await told<number>(child)) - before;
      rates.get(name)?.push(load.acceptedPerSecond);
      costs.get(name)?.push((spent / load.accepted) * 1_000_000);
      child.kill();
    }
  }
  for (const name of SERVERS) {
    const rate = Math.round(median(rates.get(name) ?? [])).toLocaleString('en');
    process.stdout.write(
      `${name.padEnd(28)} ${rate.padStart(9)}/s  ${median(costs.get(name) ?? []).toFixed(1)} µs CPU each\n`,
    );
  }
}

const [, , name] = process.argv;
if (name === undefined) await compare();
else {
  process.on('message', () => process.send?.(cpuSeconds()));
  process.send?.(await serve(name as ServerName));
}
