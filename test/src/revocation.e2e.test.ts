import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { Millrace, newPublisher, type Publisher, Rest } from './millrace.ts';
import { ask, publish } from './publishing.ts';

describe('what the control plane has answered holds for the next message', () => {
  const millrace = new Millrace();
  let admin: Rest;
  let publisher: Publisher;

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);
  beforeEach(async () => {
    publisher = await newPublisher(admin, 'subject');
    // Warm: identified, admitted, remembered.
    for (let index = 0; index < 3; index++) expect(await status()).toBe(202);
  });

  const status = async (): Promise<number> => (await publish(publisher, 'n')).status;
  const tell = async (method: string, path: string, body?: unknown): Promise<void> => {
    const answer = await ask(admin, method, path, body === undefined ? undefined : JSON.stringify(body));
    expect(answer.status, `${method} ${path}: ${answer.detail}`).toBeLessThan(300);
  };
  const pair = () => ({ channel_ids: [publisher.channel], thing_ids: [publisher.thing] });

  test('a disabled thing is refused at once, an enabled one let in at once', async () => {
    for (let round = 0; round < 5; round++) {
      await tell('POST', `/things/${publisher.thing}/disable`);
      expect(await status()).toBe(403);
      await tell('POST', `/things/${publisher.thing}/enable`);
      expect(await status()).toBe(202);
    }
  });

  test('a disconnected thing is refused at once, a connected one let in at once', async () => {
    for (let round = 0; round < 5; round++) {
      await tell('POST', '/disconnect', pair());
      expect(await status()).toBe(403);
      // The denial is remembered now.
      expect(await status()).toBe(403);
      await tell('POST', '/connect', pair());
      expect(await status()).toBe(202);
    }
  });

  test('subscribe alone is not publish', async () => {
    await tell('POST', '/disconnect', { ...pair(), types: ['publish'] });
    expect(await status()).toBe(403);
    const read = await ask(publisher.rest, 'GET', `/channels/${publisher.channel}/messages`);
    expect(read.status).toBe(200);
    await tell('POST', '/disconnect', { ...pair(), types: ['subscribe'] });
    expect((await ask(publisher.rest, 'GET', `/channels/${publisher.channel}/messages`)).status).toBe(403);
  });

  test('a rotated key is unknown at once, the new one is known', async () => {
    const { key } = await admin.json<{ key: string }>('PATCH', `/things/${publisher.thing}/key`, {});
    expect(await status()).toBe(401);
    publisher = { ...publisher, key, rest: admin.as(`Thing ${key}`) };
    expect(await status()).toBe(202);
  });

  test('a key that was refused as unknown works once a thing has it', async () => {
    const key = `chosen-${publisher.thing}`;
    const chosen = { ...publisher, rest: admin.as(`Thing ${key}`) };
    expect((await publish(chosen, 'n')).status).toBe(401);
    await tell('PATCH', `/things/${publisher.thing}/key`, { key });
    expect((await publish(chosen, 'n')).status).toBe(202);
  });

  test('a deleted thing is unknown at once', async () => {
    await tell('DELETE', `/things/${publisher.thing}`);
    expect(await status()).toBe(401);
  });

  test('a disabled channel takes nothing, an enabled one takes again', async () => {
    await tell('PATCH', `/channels/${publisher.channel}`, { enabled: false });
    expect(await status()).toBe(403);
    await tell('PATCH', `/channels/${publisher.channel}`, { enabled: true });
    expect(await status()).toBe(202);
  });

  test('a deleted channel is gone at once', async () => {
    await tell('DELETE', `/channels/${publisher.channel}`);
    expect(await status()).toBe(404);
  });
});
