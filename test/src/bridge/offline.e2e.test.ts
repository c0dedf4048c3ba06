import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, type Started } from '@millrace/core';
import { type EmbeddedPostgres, embeddedPostgres } from '@millrace/registry';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Millrace, Rest } from '../millrace.ts';
import { filterText } from './clients/mqtt-topic.ts';
import { RawMqtt, textOf } from './clients/raw-mqtt.ts';
import { newChannel, newThing } from './rights.ts';

const MESSAGES = 5_000;
const BATCH = 500;
const ROW_BYTES_MAX = 4_096;

describe('a session whose client is away', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-offline-'));
  // mkdtemp makes 0700, which PostgreSQL's own user could not pass.
  chmodSync(directory, 0o755);
  let postgres: Started<EmbeddedPostgres> | undefined;
  let millrace: Millrace | undefined;

  beforeAll(async () => {
    const logger = createLogger({ level: 'silent' });
    postgres = await embeddedPostgres({ directory: join(directory, 'postgres'), logger }).start();
    millrace = await new Millrace({ MILLRACE_POSTGRES_URL: postgres.value.url }).start();
  }, 120_000);
  afterAll(async () => {
    await millrace?.dispose();
    await postgres?.stop();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  test(`finds ${MESSAGES} messages in order after a restart of the node; nothing but one row was kept for it`, {
    timeout: 180_000,
  }, async () => {
    if (millrace === undefined || postgres === undefined) throw new Error('did not start');
    const admin = await Rest.asAdmin(millrace);
    const [channel, other] = [await newChannel(admin, 'followed'), await newChannel(admin, 'other')];
    const thing = await newThing(admin, 'away', [channel, other]);
    const session = { clientId: 'away', clean: false };
    const first = await RawMqtt.connect(millrace, thing, session);
    expect(await first.client.subscribe([[filterText({ channel, subtopic: '#' }), 1]])).toEqual([1]);
    await first.client.publish(filterText({ channel, subtopic: '' }), 'before', 1);
    await first.client.until('the first message', () => first.client.messages.length === 1);
    await first.client.disconnect();

    const rows = async (): Promise<{ bytes: number }[]> => {
      const database = new pg.Client({ connectionString: postgres?.value.url });
      await database.connect();
      try {
        const sql = 'SELECT pg_column_size(s.*)::int AS bytes FROM registry.mqtt_sessions s WHERE owner = $1';
        return (await database.query<{ bytes: number }>(sql, [thing.thing])).rows;
      } finally {
        await database.end();
      }
    };
    const publisher = new Rest(millrace.url, `Thing ${thing.key}`);
    for (let begin = 0; begin < MESSAGES; begin += BATCH) {
      for (const to of [other, channel]) {
        const lines = Array.from({ length: BATCH }, (_, index) => `{"i":${begin + index}}`).join('\n');
        const response = await publisher.raw('POST', `/channels/${to}/messages/batch`, lines, {
          'content-type': 'application/x-ndjson',
        });
        expect(response.status, await response.text()).toBe(202);
      }
    }
    const kept = await rows();
    expect(kept.length).toBe(1);
    expect(kept[0]?.bytes).toBeLessThan(ROW_BYTES_MAX);

    expect(await millrace.end('SIGTERM')).toBe(0);
    await millrace.start();
    const begin = performance.now();
    const { client, present } = await RawMqtt.connect(millrace, thing, session);
    expect(present).toBe(true);
    await client.until('all messages', () => client.packets.length > MESSAGES, 90_000);
    console.log(`${MESSAGES} messages caught up within ${(performance.now() - begin).toFixed(0)} ms`);
    expect(client.messages.map(textOf)).toEqual(Array.from({ length: MESSAGES }, (_, index) => `{"i":${index}}`));
    expect(client.messages.every(({ qos, dup, retain }) => qos === 1 && !dup && !retain)).toBe(true);
    await client.publish(filterText({ channel, subtopic: '' }), 'after', 1);
    await client.until('what comes after', () => client.messages.length === MESSAGES + 1);
    expect(client.messages.map(textOf).at(-1)).toBe('after');
    await client.disconnect();
    expect((await rows()).length).toBe(1);
  });
});
