import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Terminal } from '../cli/terminal.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';

const READINGS = 2_000;
const PACK = 1_000;
const T0_SECONDS = Date.UTC(2026, 0, 1) / 1_000;

interface Export {
  readonly id: string;
  readonly status: string;
  readonly reason: string | null;
  readonly rows: number;
  readonly files: readonly { name: string; url: string; sha256: string; rows: number }[];
}

/** All of it: a node, its listeners, its engine and the command line. */
describe('answers of a node', { timeout: 180_000 }, () => {
  let millrace: Millrace;
  let terminal: Terminal;
  let admin: Rest;
  let publisher: Publisher;

  beforeAll(async () => {
    millrace = await new Millrace({
      // The smallest: many files, so that there is a moment to kill it at.
      MILLRACE_EXPORTS_FILE_ROWS: '100',
      MILLRACE_EXPORTS_FREE_BYTES_MIN: '0',
    }).start();
    terminal = new Terminal(millrace);
    admin = await Rest.asAdmin(millrace);
    publisher = await newPublisher(admin, 'hall');
    for (let first = 0; first < READINGS; first += PACK) {
      const pack = Array.from({ length: PACK }, (_, at) => ({ n: 'temperature', t: T0_SECONDS + first + at, v: at }));
      const { status } = await publisher.rest.raw(
        'POST',
        `/channels/${publisher.channel}/messages`,
        JSON.stringify(pack),
        { 'content-type': 'application/senml+json' },
      );
      expect(status).toBe(202);
    }
    await eventually('all are stored', 60_000, async () => {
      const { data } = await sql('SELECT toUInt32(count()) AS stored FROM readings');
      return data[0]?.stored === READINGS;
    });
  }, 180_000);
  afterAll(async () => {
    terminal?.dispose();
    await millrace?.dispose();
  }, 120_000);

  const sql = (query: string) => admin.json<{ data: Record<string, unknown>[] }>('POST', '/sql', { query });
  const aborted = async (): Promise<number> => {
    const text = await (await admin.raw('GET', '/metrics')).text();
    const line = text.split('\n').find((each) => /query_seconds_count\{.*question="sql".*outcome="aborted"/.test(each));
    return Number(line?.split(' ').at(-1) ?? 0);
  };

  test('a client who goes away ends the question in the engine, and no fault is in the log', async () => {
    const slow =
      'SELECT count() AS n FROM readings AS a, readings AS b, readings AS c WHERE a.value + b.value > c.value';
    for (const headers of [{}, { accept: 'text/csv' }, { accept: 'text/csv', 'accept-encoding': 'gzip' }]) {
      const before = await aborted();
      const leaving = new AbortController();
      const asked = fetch(`${millrace.url}/sql`, {
        method: 'POST',
        headers: { authorization: admin.authorization, 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ query: slow }),
        signal: leaving.signal,
      });
      setTimeout(() => leaving.abort(), 500);
      await expect(asked).rejects.toThrow();
      await eventually('the question was ended', 30_000, async () => (await aborted()) > before);
    }
    expect(millrace.stderr + millrace.stdout).not.toContain('a request of the control plane failed');
    expect(millrace.stderr + millrace.stdout).not.toContain('met a fault');
  });

  test('the command line makes, takes, goes on with, lists and deletes exports', async () => {
    await terminal.ok(['login', '--local']);
    const out = mkdtempSync(join(terminal.home, 'out-'));
    const made = await terminal.json<Export>([
      ...['exports', 'create', '-c', 'hall', '--from', '2026-01-01T00:00:00Z', '--to', '2026-01-01T00:08:20Z'],
      ...['--format', 'csv', '--title', 'night', '-o', out],
    ]);
    expect(made).toMatchObject({ status: 'done', rows: 500 });
    const names = made.files.map(({ name }) => name);
    expect(readdirSync(out).toSorted()).toEqual(names);
    for (const { name, sha256 } of made.files)
      expect(
        createHash('sha256')
          .update(readFileSync(join(out, name)))
          .digest('hex'),
      ).toBe(sha256);
    // One is missing, one was cut off, one is damaged.
    const [missing = '', cut = '', damaged = ''] = names;
    const whole = readFileSync(join(out, cut));
    rmSync(join(out, missing));
    rmSync(join(out, cut));
    writeFileSync(join(out, `${cut}.part`), whole.subarray(0, 1_000));
    writeFileSync(join(out, damaged), 'nonsense');
    await terminal.ok(['exports', 'download', made.id, '-o', out]);
    expect(readdirSync(out).toSorted()).toEqual(names);
    for (const { name, sha256 } of made.files)
      expect(
        createHash('sha256')
          .update(readFileSync(join(out, name)))
          .digest('hex'),
      ).toBe(sha256);
    expect((await terminal.ok(['exports', 'list'])).stdout).toContain('night');
    await terminal.ok(['exports', 'delete', made.id]);
    expect((await terminal.run(['exports', 'get', made.id])).code).toBe(4);
  });

  test('an export goes on when its node was killed, with each reading once', async () => {
    const asked = await admin.json<Export>('POST', '/exports', {
      query: { channels: [publisher.channel] },
      format: 'ndjson',
    });
    const look = () => admin.json<Export>('GET', `/exports/${asked.id}`);
    const before = await eventually('it has begun', 60_000, async () => {
      const found = await look();
      return found.files.length > 1 ? found : false;
    });
    expect(before.status).toBe('running');
    await millrace.end('SIGKILL');
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    const after = await eventually('it is over', 90_000, async () => {
      const found = await look();
      return ['waiting', 'running'].includes(found.status) ? false : found;
    });
    expect(after).toMatchObject({ status: 'done', reason: null, rows: READINGS });
    expect(after.files.slice(0, before.files.length)).toEqual(before.files);
    const times = new Set<number>();
    for (const { url } of after.files)
      for (const line of (await (await admin.raw('GET', url)).text()).trimEnd().split('\n'))
        times.add((JSON.parse(line) as { time: number }).time);
    expect(times.size).toBe(READINGS);
    // Nothing half made is left beside them.
    expect(readdirSync(join(millrace.directory, 'exports', asked.id)).toSorted()).toEqual(
      after.files.map(({ name }) => name),
    );
  });
});
