import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Terminal } from '../cli/terminal.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';

interface Import {
  readonly id: string;
  readonly status: string;
  readonly reason: string | null;
  readonly entries: number;
  readonly rows: number;
  readonly readings: number;
  readonly rejected: number;
  readonly processed: boolean;
  readonly parts?: number;
}
const START_S = 1_767_225_600;
const SLOW_MS = 60_000;

/** Rows a second apart, from a place on. */
const csv = (count: number, from = 0): string =>
  `time,temperature[Cel]\n${Array.from({ length: count }, (_, index) => `${START_S + from + index},${(from + index) / 10}\n`).join('')}`;

describe('imports', { timeout: 240_000 }, () => {
  const millrace = new Millrace();
  const terminal = new Terminal(millrace);
  const files = mkdtempSync(join(tmpdir(), 'millrace-imports-'));
  let admin: Rest;
  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    await terminal.ok(['login', '--local']);
  }, 120_000);
  afterAll(async () => {
    terminal.dispose();
    await millrace.dispose();
    rmSync(files, { recursive: true, force: true });
  }, 120_000);

  const file = (name: string, content: string | Uint8Array): string => {
    const path = join(files, name);
    writeFileSync(path, content);
    return path;
  };
  async function post(
    query: Record<string, string>,
    body: string | Uint8Array,
    by = admin,
  ): Promise<{ status: number; body: Import }> {
    const response = await by.raw('POST', `/imports?${new URLSearchParams(query)}`, body, {
      'content-type': 'application/octet-stream',
    });
    return { status: response.status, body: (await response.json()) as Import };
  }
  const finished = (id: string): Promise<Import> =>
    eventually(`the end of the import ${id}`, SLOW_MS, async () => {
      const found = await admin.json<Import>('GET', `/imports/${id}`);
      return found.status !== 'running' && found.processed ? found : undefined;
    });
  const stored = async ({ channel }: Publisher): Promise<number> =>
    (await admin.json<{ total: number }>('GET', `/channels/${channel}/messages?limit=1&total=exact`)).total;

  test('a file becomes readings of the thing; what can not be is told with its line; the same file is the same import', async () => {
    const publisher = await newPublisher(admin, 'import-csv');
    const query = { channel: publisher.channel, file: 'a.csv', publisher: publisher.thing };
    const content = `${csv(1_500)}never,1\n${START_S},x,y\n`;
    const accepted = await post(query, gzipSync(content));
    expect(accepted).toMatchObject({ status: 202, body: { status: 'running' } });
    expect(await finished(accepted.body.id)).toMatchObject({
      status: 'done',
      rows: 1_500,
      readings: 1_500,
      rejected: 2,
      entries: 1_502,
    });
    expect(await stored(publisher)).toBe(1_500);
    const { messages } = await admin.json<{ messages: unknown[] }>(
      'GET',
      `/channels/${publisher.channel}/messages?limit=1`,
    );
    expect(messages).toMatchObject([
      { publisher: publisher.thing, name: 'temperature', unit: 'Cel', value: 149.9, time: START_S + 1_499 },
    ]);
    expect(await admin.json('GET', `/imports/${accepted.body.id}/errors`)).toMatchObject({
      total: 2,
      errors: [
        { line: 1_502, reason: 'the time "never" can not be read', text: 'never,1' },
        { line: 1_503, reason: 'there are 3 cells, the header has 2' },
      ],
    });
    expect(await post(query, gzipSync(content))).toMatchObject({
      status: 200,
      body: { id: accepted.body.id, status: 'done' },
    });
    const forced = await post({ ...query, force: 'true', dry_run: 'true' }, content);
    expect(await finished(forced.body.id)).toMatchObject({ status: 'done', rows: 1_500 });
    expect(await stored(publisher)).toBe(1_500);
  });

  test('who imports speaks for things that they may update, and that may publish there', async () => {
    const publisher = await newPublisher(admin, 'import-rights');
    const silent = await admin.json<{ id: string }>('POST', '/things', { name: 'import-silent' });
    const content = `time,t,publisher\n${START_S},1,${publisher.thing}\n${START_S},2,${silent.id}\n${START_S},3,import-rights\n${START_S},4,nobody\n`;
    const { body } = await post({ channel: publisher.channel, file: 'b.csv' }, content);
    expect(await finished(body.id)).toMatchObject({ status: 'done', rows: 2, rejected: 2 });
    expect((await admin.json<{ errors: unknown[] }>('GET', `/imports/${body.id}/errors`)).errors).toMatchObject([
      { line: 3, reason: 'the thing may not publish there: there is no connection with "publish" to the channel' },
      { line: 5, reason: 'there is no thing "nobody" in the organisation' },
    ]);
    // A thing may not import by its own key; a stranger does not learn of the channel.
    expect((await post({ channel: publisher.channel, file: 'b.csv' }, content, publisher.rest)).status).toBe(403);
    await admin.json('POST', '/users', { email: 'stranger@example.org', password: 'a good password' });
    const { token } = await admin.json<{ token: string }>('POST', '/tokens', {
      email: 'stranger@example.org',
      password: 'a good password',
    });
    const stranger = admin.as(`Bearer ${token}`);
    expect((await post({ channel: publisher.channel, file: 'b.csv' }, content, stranger)).status).toBe(404);
    expect((await stranger.raw('GET', `/imports/${body.id}`)).status).toBe(404);
    expect((await stranger.raw('GET', `/imports/${body.id}/errors`)).status).toBe(404);
  });

  test('what can not be imported at all fails with the reason, and stores nothing', async () => {
    const publisher = await newPublisher(admin, 'import-refused');
    const { channel } = publisher;
    const cases: readonly (readonly [Record<string, string>, string | Uint8Array, string])[] = [
      [{ format: 'csv' }, 'a,b\n1,2\n', 'no column is known to be the time; name it (map=time=<column>) of: a, b'],
      [{ format: 'parquet' }, 'PAR1 and no more', 'it is no Parquet file'],
      [{ format: 'csv' }, gzipSync(csv(10)).subarray(0, 40), 'the gzip is broken (Z_BUF_ERROR)'],
    ];
    for (const [query, content, reason] of cases) {
      const { body } = await post({ channel, ...query }, content);
      expect(await finished(body.id), reason).toMatchObject({ status: 'failed', reason });
    }
    expect((await post({ channel }, csv(1))).status).toBe(400);
    expect((await post({ channel, format: 'csv', map: 'when=ts' }, csv(1))).status).toBe(400);
    expect((await post({ channel, format: 'csv' }, '')).status).toBe(400);
    expect(await stored(publisher)).toBe(0);
  });

  test('the command sends a file in parts, goes on where it was, and tells what it came to', async () => {
    const publisher = await newPublisher(admin, 'import-cli');
    const path = file('history.csv', csv(60_000));
    const words = ['import', path, '--channel', publisher.channel, '--publisher', publisher.thing];
    const said = await terminal.json<Import>(words);
    expect(said).toMatchObject({ status: 'done', rows: 60_000, rejected: 0 });
    await finished(said.id);
    expect(await stored(publisher)).toBe(60_000);
    const again = await terminal.run(words);
    expect(again).toMatchObject({ code: 0, stderr: expect.stringContaining('imported before') });
    const lines = file('points.lp', `weather,dev=x t=1 ${START_S}000000000\nbad\n`);
    const wrong = await terminal.run(['import', lines, '-c', publisher.channel, '--publisher', publisher.thing]);
    expect(wrong).toMatchObject({ code: 0, stderr: expect.stringContaining('line 2: a field has no value') });
    expect((await terminal.run(['import', join(files, 'none.csv'), '-c', publisher.channel])).code).toBe(2);
  });

  test('one that is cut short by kill -9 goes on where it was, and nothing is stored twice', async () => {
    const publisher = await newPublisher(admin, 'import-crash');
    const rows = 12_000;
    const { body } = await post(
      { channel: publisher.channel, file: 'c.csv', publisher: publisher.thing, rate: '6000' },
      csv(rows),
    );
    await eventually('a part of the import', SLOW_MS, async () => {
      const { entries } = await admin.json<Import>('GET', `/imports/${body.id}`);
      return entries > 0;
    });
    await millrace.end('SIGKILL');
    await millrace.start();
    admin = new Rest(millrace.url, admin.authorization);
    expect(await finished(body.id)).toMatchObject({ status: 'done', rows, readings: rows, rejected: 0 });
    expect(await stored(publisher)).toBe(rows);
  });
});
