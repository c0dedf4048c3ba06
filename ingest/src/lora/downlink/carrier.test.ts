import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Command, type NetworkServer, uuidV7 } from '@millrace/core';
import { afterEach, describe, expect, test } from 'vitest';
import { ORG } from '../../testing/gate.ts';
import { MemoryDirectory } from '../testing/memory-directory.ts';
import { openLora, until } from '../testing/open-lora.ts';

const OTHER_ORG = '0197a000-0000-7000-8000-00000000aaaa';
const DEV_EUI = '0102030405060708';
const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.close();
    server.closeAllConnections();
  }
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const networkServer = (id: string, org: string, url: string): NetworkServer => ({
  ...{ id, org, name: id, kind: 'chirpstack-v4', enabled: true, version: 1, mqtt: null, provisioning: null },
  http: { url, token: 'a token' },
});
const downlink = (thing: string, org: string): Command => ({
  ...{ id: uuidV7(), org, thing, kind: 'lora.downlink' },
  arguments: { f_port: 1, hex: '01' },
  expiresMs: Date.now() + 3_600_000,
});

describe('who carries downlinks', () => {
  test("lets no organisation wait for another's network server, and asks one that fails no more for a while", async () => {
    let silent = 0;
    let failing = 0;
    const directory = new MemoryDirectory();
    directory.addServer(networkServer('silent', ORG, await serve(() => silent++)));
    const thing = directory.addThing(DEV_EUI);
    directory.addChannel('an application');
    await using lora = await openLora({}, { directory });
    const { commands } = lora;
    await commands.put(downlink(thing, ORG));
    await until('the first is on its way', () => silent === 1);

    const answering = await serve((_, response) => {
      failing++;
      response.writeHead(503).end();
    });
    directory.addServer(networkServer('failing', OTHER_ORG, answering));
    // As many as the one that fails is given at once: told of together, as they are taken.
    commands.waiting.push(downlink(thing, OTHER_ORG), downlink(thing, OTHER_ORG));
    await commands.put(downlink(thing, OTHER_ORG));
    const later = async () =>
      (await lora.metrics.registry.getSingleMetricAsString('millrace_lora_downlinks_total')) ?? '';
    for (let waited = 0; !(await later()).includes('{outcome="later"} 3'); waited += 10) {
      expect(waited, await later()).toBeLessThan(20_000);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(failing).toBe(1);
    expect(silent, 'the first still waits').toBe(1);
    expect(commands.settled).toEqual([]);
  });
});
