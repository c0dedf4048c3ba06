import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connectMqttJs } from '../bridge/clients/mqtt-js.ts';
import { placeOf } from '../bridge/rights.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { type Answered, ask, publish } from '../publishing.ts';

const AT_ONCE = 50;
const TRIES_MAX = 20_000;
const SOON_MS = 30_000;
/** CONNACK: the server is unavailable.  @source MQTT 3.1.1 §3.2.2.3 */
const UNAVAILABLE = 3;

describe('who guesses keys', { timeout: 120_000 }, () => {
  const millrace = new Millrace({ MILLRACE_ROLES: 'ingest,registry', MILLRACE_POLICY_GUESSES_PER_SECOND: '20' });
  let admin: Rest;
  let known: Publisher;
  let unseen: Publisher;

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    known = await newPublisher(admin, 'known');
    unseen = await newPublisher(admin, 'unseen');
    expect((await publish(known, 'before')).status).toBe(202);
  }, 120_000);
  afterAll(() => millrace.dispose(), 120_000);

  /** Guesses until one is refused as one too many. */
  async function guess(one: () => Promise<Answered>): Promise<Answered> {
    for (let count = 0; count < TRIES_MAX; count += AT_ONCE) {
      const answers = await Promise.all(Array.from({ length: AT_ONCE }, one));
      for (const { status } of answers) expect([401, 429]).toContain(status);
      const late = answers.find(({ status }) => status === 429);
      if (late !== undefined) return late;
    }
    throw new Error(`${TRIES_MAX} guesses were answered`);
  }
  const publishing = (): Promise<Answered> => publish({ ...known, rest: admin.as(`Thing ${randomUUID()}`) }, 'guess');

  test.each([
    ['by publishing', publishing],
    ['on the control plane', () => ask(admin.as(`Bearer mrk_${randomUUID()}`), 'GET', '/things')],
    [
      'by an event stream',
      () => ask(admin.as(`Thing ${randomUUID()}`), 'GET', `/channels/${known.channel}/messages/live`),
    ],
  ] as const)('%s has to wait; who is known goes on meanwhile', async (_how, one) => {
    const late = await guess(one);
    expect(late).toMatchObject({ status: 429, contentType: 'application/problem+json' });
    expect(late.retryAfter).toBeGreaterThan(0);
    expect((await publish(known, 'meanwhile')).status).toBe(202);
    expect((await ask(admin, 'GET', '/users/me')).status).toBe(200);
  });

  test('gets no answer by another protocol either, and is heard again soon', async () => {
    let connack: number | undefined;
    let told: number | undefined;
    // What was guessed is forgiven while the others are tried.
    await eventually('both are refused', SOON_MS, async () => {
      await guess(publishing);
      connack = await connectMqttJs(placeOf(millrace), { thing: unseen.thing, key: unseen.key }).then(
        async (client) => {
          await client.endAsync(true);
          return 0;
        },
        (error: { code?: number }) => error.code,
      );
      if (connack === 0) unseen = await newPublisher(admin, 'unseen');
      return connack === UNAVAILABLE;
    });
    await eventually('a WebSocket is refused', SOON_MS, async () => {
      await guess(publishing);
      told = await refusalOfSocket(
        `${millrace.url.replace('http', 'ws')}/channels/${unseen.channel}/messages`,
        randomUUID(),
      );
      return told === 429;
    });
    await eventually('who comes new is let in', SOON_MS, async () => (await publish(unseen, 'later')).status === 202);
  });
});

/** The status that a WebSocket is refused with. */
function refusalOfSocket(url: string, key: string): Promise<number> {
  const socket = new WebSocket(url, { headers: { authorization: `Thing ${key}` } });
  return new Promise((resolve, reject) => {
    socket.once('unexpected-response', (_request, response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
      socket.terminate();
    });
    socket.once('open', () => reject(new Error('it was let in')));
    socket.on('error', () => undefined);
  });
}
