import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bytesOf, type Client, createClient, type LiveMessage, type SubscribeOptions } from '@millrace/sdk';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, freePort, Millrace } from '../millrace.ts';

describe('messages by the client', { timeout: 180_000 }, () => {
  let millrace: Millrace;
  let admin: Client;
  let device: Client;
  let channel: string;

  beforeAll(async () => {
    // It comes back at the same address.
    millrace = new Millrace({ MILLRACE_HTTP_PORT: String(await freePort()) });
    await millrace.start();
    const password = readFileSync(join(millrace.directory, 'admin-password'), 'utf8').trim();
    admin = createClient({ url: millrace.url, credentials: { email: 'admin@millrace.local', password } });
    const thing = await admin.things.create({ name: 'device' });
    channel = (await admin.channels.create({ name: 'room', alias: 'room' })).id;
    await admin.connections.connect({ things: [thing.id], channels: [channel] });
    device = createClient({ url: millrace.url, key: thing.key as string, thing: thing.id });
  }, 120_000);
  afterAll(async () => {
    await device?.close();
    await millrace.dispose();
  }, 120_000);

  /** Reads on until it has seen what it waits for. */
  async function reader(client: Client, options: SubscribeOptions, until: (seen: LiveMessage[]) => boolean) {
    const seen: LiveMessage[] = [];
    const stop = new AbortController();
    let opened = (): void => undefined;
    const open = new Promise<void>((resolve) => {
      opened = resolve;
    });
    const done = (async () => {
      for await (const message of client.subscribe('room', {
        ...options,
        signal: stop.signal,
        onOpen: () => opened(),
      })) {
        seen.push(message);
        if (until(seen)) break;
      }
    })();
    await Promise.race([open, done]);
    return { seen, done, stop: () => stop.abort() };
  }

  test.each(['ws', 'sse', 'mqtt'] as const)('what is published by any protocol is read by %s', async (protocol) => {
    const { seen, done } = await reader(device, { protocol, subtopic: `${protocol}/#` }, ({ length }) => length === 4);
    const subtopic = `${protocol}/x`;
    const id = await device.publish('room', [{ n: 't', v: 1 }], { subtopic });
    expect(id).toMatch(/^[0-9a-f-]{36}$/);
    expect(await device.publish(channel, { t: 2 }, { subtopic, protocol: 'ws' })).toMatch(/^[0-9a-f-]{36}$/);
    expect(await device.publish(channel, 'three', { subtopic, protocol: 'mqtt', contentType: 'text/plain' })).toBe(
      null,
    );
    await device.publish(channel, Uint8Array.of(0xff, 0, 4), { subtopic, contentType: 'application/octet-stream' });
    await done;
    expect(seen.map(({ subtopic: at }) => at)).toEqual([subtopic, subtopic, subtopic, subtopic]);
    expect(seen.slice(0, 2).map(({ json }) => json)).toEqual([[{ n: 't', v: 1 }], { t: 2 }]);
    expect(seen[2]?.payload).toBe('three');
    expect([...bytesOf(seen[3] as LiveMessage)]).toEqual([0xff, 0, 4]);
  });

  test.each(['ws', 'sse'] as const)(
    'a subscription by %s outlives the node, without gap or repeat',
    async (protocol) => {
      const subtopic = `restart-${protocol}`;
      const { seen, done } = await reader(device, { protocol, subtopic }, ({ length }) => length === 4);
      await device.publish(channel, { n: 1 }, { subtopic });
      await device.publish(channel, { n: 2 }, { subtopic });
      await eventually('two messages', 30_000, async () => seen.length === 2);
      await millrace.end('SIGTERM');
      await millrace.start();
      await device.publish(channel, { n: 3 }, { subtopic, idempotencyKey: true });
      await device.publish(channel, { n: 4 }, { subtopic, protocol: 'ws' });
      await done;
      expect(seen.map(({ json }) => (json as { n: number }).n)).toEqual([1, 2, 3, 4]);
    },
  );

  test('a slow reader gets everything, though little waits for it here', async () => {
    const subtopic = 'slow';
    const { seen, done } = await reader(device, { subtopic, waitingMax: 5 }, ({ length }) => length === 60);
    for (let n = 0; n < 60; n++) void device.publish(channel, { n }, { subtopic, protocol: 'ws' });
    await done;
    expect(seen.map(({ json }) => (json as { n: number }).n)).toEqual(Array.from({ length: 60 }, (_, n) => n));
  });

  test('a subscription that is no longer allowed ends with the reason', async () => {
    const thing = await admin.things.create({ name: 'guest' });
    await admin.connections.connect({ things: [thing.id], channels: [channel] });
    const guest = createClient({ url: millrace.url, key: thing.key as string, thing: thing.id });
    const { done } = await reader(guest, {}, () => false);
    await admin.connections.disconnect({ things: [thing.id], channels: [channel] });
    await expect(done).rejects.toMatchObject({ name: 'MillraceSubscriptionEnded' });
    for (const protocol of ['ws', 'sse', 'mqtt'] as const) {
      const refused = (async () => {
        for await (const _ of guest.subscribe(channel, { protocol })) break;
      })();
      await expect(refused, protocol).rejects.toMatchObject({ name: 'MillraceApiError', status: 403 });
    }
  });

  test('a signal ends a subscription quietly', async () => {
    const { done, stop } = await reader(device, {}, () => false);
    stop();
    await done;
  });

  test('readings come back, all of them, by pages', async () => {
    const pack = Array.from({ length: 25 }, (_, index) => ({ n: 'stored', v: index, t: -index }));
    const id = await device.publish(channel, pack, { idempotencyKey: 'once' });
    const values = await eventually('readings', 60_000, async () => {
      const found: number[] = [];
      for await (const { value } of device.readings(channel, { name: 'stored', limit: 10 }))
        found.push(value as number);
      return found.length === 25 && found;
    });
    expect(values).toEqual(Array.from({ length: 25 }, (_, index) => index));
    await eventually('its fate', 30_000, async () => (await admin.messages.fate(id as string)).status === 'stored');
    expect(await admin.messages.fate(id as string)).toMatchObject({ readings: 25 });
  });
});
