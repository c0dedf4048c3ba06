import { createLogger, createMetrics, type Gate } from '@millrace/core';
import { expect, test } from 'vitest';
import type { Exchange } from '../http/exchange.ts';
import type { Taken } from './event-source.ts';
import { HttpIntegration } from './http-integration.ts';
import type { Intake } from './intake.ts';
import { LoraMeasures } from './measures.ts';

const EVENT = Buffer.from(
  JSON.stringify({ deviceInfo: { devEui: '0101010101010101', applicationId: '7' }, fPort: 1, data: 'AQ==' }),
);

/** Apps of organisations, named by their keys; and events that wait until they are released. */
function open(eventsMax: number, type: 'app' | 'device' = 'app') {
  const waiting: ((taken: Taken) => void)[] = [];
  const gate = {
    identify: async ({ key: org }: { key: string }) => ({
      kind: 'known',
      principal: { subject: { kind: 'thing', id: `app of ${org}`, org, type, epoch: 0 }, scope: null, revoked: false },
    }),
  } as unknown as Gate;
  const intake = { take: () => new Promise<Taken>((resolve) => waiting.push(resolve)) } as unknown as Intake;
  const integration = new HttpIntegration({
    gate,
    intake,
    measures: new LoraMeasures(createMetrics()),
    logger: createLogger({ level: 'silent' }),
    eventsMax,
    eventBytesMax: 65_536,
    servers: { get: () => undefined },
  });
  /** @returns its status, once it is answered */
  const post = (org: string): Promise<number> =>
    new Promise((resolve) => {
      integration.request({
        head: {
          method: 'POST',
          path: '/lora/chirpstack',
          query: 'event=up',
          contentType: 'application/json',
          header: (name: string) => (name === 'authorization' ? `Thing ${org}` : undefined),
        },
        connection: {
          context: { remoteAddress: '192.0.2.1', tls: true, mutualTls: false },
          host: { onFault: resolve },
        },
        body: EVENT,
        lines: [],
        refuse: resolve,
        answer: () => resolve(202),
      } as unknown as Exchange);
    });
  const held = async (count: number): Promise<void> => {
    for (let turns = 0; waiting.length < count && turns < 1_000; turns++) await new Promise(setImmediate);
    expect(waiting).toHaveLength(count);
  };
  return { post, held, release: () => waiting.splice(0).forEach((go) => void go({ kind: 'stored', id: 'x' })) };
}

test('events of one organisation that take long leave room for those of another', async () => {
  const { post, held, release } = open(6);
  const slow = [post('one'), post('one'), post('one')];
  await held(3);
  expect(await post('one')).toBe(503);
  const other = [post('other'), post('other')];
  await held(5);
  release();
  expect(await Promise.all([...slow, ...other])).toEqual(Array(5).fill(202));
  const again = post('one');
  await held(1);
  release();
  expect(await again).toBe(202);
});

test('a thing that is a device tells no events', async () => {
  expect(await open(4, 'device').post('one')).toBe(403);
});
