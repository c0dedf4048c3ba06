import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, createClient } from '@millrace/sdk';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace } from '../millrace.ts';

const README = readFileSync(new URL('../../../sdk/js/README.md', import.meta.url), 'utf8');

describe('questions by the client', { timeout: 180_000 }, () => {
  const millrace = new Millrace();
  let client: Client;
  let device: Client;
  let channel: { readonly id: string };
  /** Of a message that is no SenML. */
  let broken = '';

  beforeAll(async () => {
    await millrace.start();
    const password = readFileSync(join(millrace.directory, 'admin-password'), 'utf8').trim();
    client = createClient({ url: millrace.url, credentials: { email: 'admin@millrace.local', password } });
    const thing = await client.things.create({ name: 'thermometer', tags: ['indoor'] });
    channel = await client.channels.create({ name: 'Kitchen', alias: 'kitchen' });
    await client.connections.connect({ things: [thing.id], channels: [channel.id] });
    device = createClient({ url: millrace.url, key: thing.key as string, thing: thing.id });
    await device.publish(
      'kitchen',
      [
        { n: 'temperature', u: 'Cel', t: -60, v: 21 },
        { n: 'temperature', u: 'Cel', t: -30, v: 23 },
        { n: 'state', vs: 'open' },
      ],
      { contentType: 'application/senml+json' },
    );
    broken = (await device.publish('kitchen', '[{"n":', { contentType: 'application/senml+json' })) as string;
    await eventually('three readings, and a dead letter', 60_000, async () => {
      const { messages } = await client.readings.latest();
      return messages.length === 2 && (await client.messages.fate(broken)).status === 'dead';
    });
  }, 180_000);
  afterAll(async () => {
    await device?.close();
    await client?.close();
    await millrace.dispose();
  }, 120_000);

  test('are answered as series, as rows and as files', async () => {
    const { columns, series } = await client.readings.query({
      channels: ['kitchen'],
      from: Date.now() / 1_000 - 3_600,
      to: new Date(Date.now() + 3_600_000),
      aggregations: ['avg', 'count'],
    });
    expect(columns).toEqual(['time', 'avg', 'count']);
    expect(series.find(({ name }) => name === 'temperature')?.points[0]?.slice(1)).toEqual([22, 2]);
    const rows: unknown[] = [];
    for await (const { name, value, string_value } of client.readings.rows({ channels: ['kitchen'], order: 'name' }))
      rows.push([name, value ?? string_value]);
    expect(rows).toEqual([
      ['state', 'open'],
      ['temperature', 21],
      ['temperature', 23],
    ]);
    const csv = await (await client.readings.stream({ names: ['state'] }, 'csv')).text();
    expect(csv.trimEnd().split('\n')).toHaveLength(2);
    // As the thing: its own channels.
    expect((await device.readings.latest({ channels: ['kitchen'], names: ['temperature'] })).messages).toMatchObject([
      { value: 23, unit: 'Cel' },
    ]);
    await expect(client.readings.query({ channels: ['nowhere'] })).rejects.toMatchObject({ status: 404 });
    await expect(client.readings.rows({ channels: ['nowhere'] }).next()).rejects.toMatchObject({ status: 404 });
  });

  test('are asked by SQL, whose refusals say why', async () => {
    const { columns, data } = await client.sql(
      'SELECT name, max(value) AS most FROM readings WHERE name = {name:String} GROUP BY name',
      { name: 'temperature' },
    );
    expect(columns.map(({ name }) => name)).toEqual(['name', 'most']);
    expect(data).toEqual([{ name: 'temperature', most: 23 }]);
    const names: string[] = [];
    for await (const { name } of client.sql.rows<{ name: string }>('SELECT DISTINCT name FROM readings ORDER BY name'))
      names.push(name);
    expect(names).toEqual(['state', 'temperature']);
    await expect(client.sql('SELECT * FROM system.tables')).rejects.toMatchObject({ status: 403 });
    expect((await client.sql.schema()).tables.map(({ name }) => name)).toContain('readings');
    const saved = await client.queries.create({ name: 'one', query: 'SELECT 1 AS one' });
    const changed = await client.queries.replace(saved.id, { name: 'two', query: 'SELECT 2 AS two' }, { ifVersion: 1 });
    expect(changed.version).toBe(2);
    expect((await client.queries.run(saved.id)).data).toEqual([{ two: 2 }]);
    await client.queries.delete(saved.id);
    await expect(client.queries.get(saved.id)).rejects.toMatchObject({ status: 404 });
  });

  test('a large file is imported in parts', async () => {
    const line = (index: number): string => `2026-01-05T11:00:00Z,bulk-${index},1,${'x'.repeat(400_000)}\n`;
    const file = `time,name,value,note\n${Array.from({ length: 22 }, (_, index) => line(index)).join('')}`;
    const sent: number[] = [];
    const { id } = await client.imports.create(
      new Blob([file]),
      { channel: 'kitchen', format: 'csv', dry_run: 'true' },
      { onProgress: (bytes) => sent.push(bytes) },
    );
    expect(sent.at(-1)).toBe(Buffer.byteLength(file));
    expect(sent.length).toBeGreaterThan(8);
    expect(await client.imports.wait(id)).toMatchObject({ status: 'done', rows: 22, rejected: 0 });
  });

  test('the README’s examples run', async () => {
    const [, block = ''] = /## Asking\n```ts\n([\s\S]+?)```/.exec(README) ?? [];
    const told: string[] = [];
    const console = { log: (...words: unknown[]) => told.push(words.map(String).join(' ')) };
    const AsyncFunction = (async () => undefined).constructor as new (
      ...parts: string[]
    ) => (...given: unknown[]) => Promise<void>;
    await new AsyncFunction('client', 'channel', 'message', 'console', block)(client, channel, broken, console);
    const text = told.join('\n');
    expect(text).toContain('latest 23');
    expect(text).toContain('temperature 2 1');
    expect(text).toContain('imported 1');
    expect(text).toMatch(/^dead$/m);
    expect(text).toMatch(/replayed as [0-9a-f-]{36}/);
    expect(text).toContain('remaining 0');
    const { deletions } = await client.deletions.list();
    expect(deletions[0]).toMatchObject({ status: 'done' });
    expect(Object.values(deletions[0]?.remaining ?? { none: 1 }).every((left) => left === 0)).toBe(true);
  });
});
