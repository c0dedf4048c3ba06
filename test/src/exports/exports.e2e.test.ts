import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Asker } from '../control/plane.ts';
import { eventually } from '../millrace.ts';
import { type ExportWorld, startExportWorld, T0_SECONDS } from './world.ts';

const SLOW = { timeout: 240_000 };
const ROWS = 2_500;
let world: ExportWorld;

beforeAll(async () => {
  world = await startExportWorld({ MILLRACE_EXPORTS_FILE_ROWS: 1_000, MILLRACE_EXPORTS_FREE_BYTES_MIN: 0 });
  await world.fill(ROWS);
}, 120_000);
afterAll(() => world?.stop(), 60_000);

const ask = (asker: Asker, body: object) => asker.call('POST', '/exports', body);
const query = (more: object = {}) => ({ channels: [world.channel], ...more });
interface File {
  name: string;
  bytes: number;
  rows: number;
  sha256: string;
  url: string;
}

async function take(asker: Asker, url: string, headers: Record<string, string> = {}) {
  const response = await asker.raw('GET', url, undefined, headers);
  return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
}

async function make(body: object, asker = world.owner) {
  const accepted = await ask(asker, body);
  expect(accepted.status, JSON.stringify(accepted.body)).toBe(202);
  expect(accepted.headers.get('location')).toBe(`/exports/${accepted.body.id}`);
  // biome-ignore lint/suspicious/noExplicitAny: an answer of any shape
  const made = (await world.over(asker, accepted.body.id)) as any;
  return made as { id: string; status: string; reason: string | null; files: File[]; [name: string]: unknown };
}

describe('an export', () => {
  test('becomes files of about as many rows each, in order, that hold each reading once', SLOW, async () => {
    const made = await make({ query: query(), format: 'csv', name: 'hall & Söhne' });
    expect(made).toMatchObject({ status: 'done', rows: ROWS, rows_total: ROWS, reason: null, left_out: 0 });
    expect(made.files.length).toBeGreaterThanOrEqual(3);
    const times: string[] = [];
    for (const [index, file] of made.files.entries()) {
      expect(file.name).toBe(`hall-So-hne-000${index + 1}.csv`);
      expect(file.rows).toBeLessThanOrEqual(1_000);
      const { status, headers, bytes } = await take(world.owner, file.url);
      expect([status, bytes.length]).toEqual([200, file.bytes]);
      expect(createHash('sha256').update(bytes).digest('hex')).toBe(file.sha256);
      expect(headers.get('content-disposition')).toBe(`attachment; filename="${file.name}"`);
      const [header = '', ...lines] = bytes.toString().trimEnd().split('\n');
      expect(header).toContain('"time"');
      const at = header.split(',').indexOf('"time"');
      expect(lines.length).toBe(file.rows);
      times.push(...lines.map((line) => line.split(',')[at] ?? ''));
    }
    expect(new Set(times).size).toBe(ROWS);
    expect(times).toEqual(times.toSorted());
  });

  test('of each format is what the format says, and says its rows', SLOW, async () => {
    for (const format of ['ndjson', 'parquet', 'arrow'] as const) {
      const made = await make({ query: query(), format });
      expect(made, format).toMatchObject({ status: 'done', rows: ROWS });
      const { bytes } = await take(world.owner, made.files[0]?.url ?? '');
      if (format === 'parquet') expect(bytes.toString('latin1', bytes.length - 4)).toBe('PAR1');
      if (format === 'ndjson') expect(JSON.parse(bytes.toString().split('\n')[0] ?? '').time).toBe(T0_SECONDS);
    }
  });

  test('can be compressed', SLOW, async () => {
    const made = await make({ query: query({ limit: 10 }), format: 'ndjson', compression: 'gzip' });
    const { bytes, headers } = await take(world.owner, made.files[0]?.url ?? '');
    expect(headers.get('content-type')).toBe('application/gzip');
    expect(gunzipSync(bytes).toString().trimEnd().split('\n').length).toBe(10);
    expect(made.files[0]?.rows).toBe(10);
    const zstd = await make({ query: query(), format: 'csv', compression: 'zstd' });
    expect(zstd).toMatchObject({ status: 'done', rows: ROWS });
    const frame = await take(world.owner, zstd.files[0]?.url ?? '');
    expect(frame.bytes.readUInt32LE(0)).toBe(0xfd2fb528);
  });

  test('ends where its limit ends, the newest first if asked so', SLOW, async () => {
    const made = await make({ query: query({ limit: 1_200, dir: 'desc' }), format: 'ndjson' });
    expect(made).toMatchObject({ status: 'done', rows: 1_200, rows_total: 1_200 });
    const { bytes } = await take(world.owner, made.files[0]?.url ?? '');
    expect(JSON.parse(bytes.toString().split('\n')[0] ?? '').time).toBe(T0_SECONDS + ROWS - 1);
  });

  test('of nothing is a file without rows', SLOW, async () => {
    const made = await make({ query: query({ names: ['nobody has it'] }), format: 'csv' });
    expect(made).toMatchObject({ status: 'done', rows: 0, files: [{ rows: 0 }] });
  });

  test('leaves out what came after it was asked for', SLOW, async () => {
    const { body: later } = await world.owner.call('POST', '/channels', { name: 'later' });
    await world.fill(10, { channel: later.id });
    await world.fill(5, { channel: later.id, first: 100, receivedUs: (Date.now() + 3_600_000) * 1_000 });
    const made = await make({ query: { channels: [later.id] }, format: 'csv' });
    expect(made).toMatchObject({ status: 'done', rows: 10 });
  });

  test('can be taken in ranges', SLOW, async () => {
    const made = await make({ query: query({ limit: 20 }), format: 'csv' });
    const [file] = made.files as [File];
    const whole = (await take(world.owner, file.url)).bytes;
    const some = await take(world.owner, file.url, { range: 'bytes=10-29' });
    expect([some.status, some.headers.get('content-range')]).toEqual([206, `bytes 10-29/${file.bytes}`]);
    expect(some.bytes).toEqual(whole.subarray(10, 30));
    expect((await take(world.owner, file.url, { range: 'bytes=-5' })).bytes).toEqual(whole.subarray(-5));
    expect((await take(world.owner, file.url, { range: 'bytes=7-' })).bytes).toEqual(whole.subarray(7));
    expect((await take(world.owner, file.url, { range: `bytes=${file.bytes}-` })).status).toBe(416);
    for (const range of ['bytes=5-1', 'bytes=a-b', 'rows=1-2', 'bytes=0-1,4-5', 'bytes=-'])
      expect((await take(world.owner, file.url, { range })).status, range).toBe(200);
    const other = await take(world.owner, file.url, { range: 'bytes=0-1', 'if-range': '"another"' });
    expect(other.status).toBe(200);
    const known = await take(world.owner, file.url, { 'if-none-match': `"${file.sha256}"` });
    expect(known.status).toBe(304);
    expect((await world.owner.call('GET', `${file.url}x`)).status).toBe(404);
    expect((await world.owner.call('GET', `/exports/${made.id}/files/..%2F..%2Fsecret`)).status).toBe(404);
  });

  test('keeps formulas from spreadsheets where that is asked for', SLOW, async () => {
    const { body: channel } = await world.owner.call('POST', '/channels', { name: 'formulas' });
    await world.fill(3, { channel: channel.id, name: '=1+"\n"' });
    for (const spreadsheet of [true, false]) {
      const made = await make({ query: { channels: [channel.id] }, format: 'csv', spreadsheet });
      expect(made).toMatchObject({ status: 'done', rows: 3 });
      const text = (await take(world.owner, made.files[0]?.url ?? '')).bytes.toString();
      expect(text).toContain(spreadsheet ? `,"'=1+""\n""0",` : ',"=1+""\n""0",');
    }
  });

  test('may be what a statement of SQL answers; one that would be refused is refused at once', SLOW, async () => {
    const sql = {
      query: 'SELECT name, count() AS readings FROM readings WHERE channel = {of:String} GROUP BY name ORDER BY name',
      parameters: { of: world.channel },
    };
    const made = await make({ sql, format: 'csv' });
    expect(made).toMatchObject({ status: 'done', reason: null, sql, rows: 10 });
    const { bytes } = await take(world.owner, made.files[0]?.url ?? '');
    expect(bytes.toString().split('\n').slice(0, 2)).toEqual([
      '"name","readings"',
      expect.stringMatching(/^"name0","?250"?$/),
    ]);
    expect((await ask(world.owner, { sql: { query: 'SELECT * FROM system.tables' }, format: 'csv' })).status).toBe(403);
    expect((await ask(world.owner, { sql: { query: 'SELECT nonsense' }, format: 'csv' })).status).toBe(400);
  });

  test('lies in a file that only the node can read, and is gone when it is deleted', SLOW, async () => {
    const made = await make({ query: query({ limit: 10 }), format: 'csv' });
    const directory = join(world.plane.directory, 'exports', made.id);
    const [name = ''] = await readdir(directory);
    expect((await stat(join(directory, name))).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    const listed = await world.owner.call('GET', '/exports?limit=1');
    expect(listed.body.exports[0]).toMatchObject({ id: made.id, status: 'done', rows: 10 });
    expect((await world.owner.call('DELETE', `/exports/${made.id}`)).status).toBe(204);
    expect((await world.owner.call('GET', `/exports/${made.id}`)).status).toBe(404);
    await expect(readdir(directory)).rejects.toThrow();
  });

  test('is refused where it is wrong, and says what', async () => {
    const refused = async (body: object) => {
      const { status, body: problem } = await ask(world.owner, body);
      return `${status} ${problem.detail}`;
    };
    expect(await refused({ format: 'csv' })).toContain('422');
    expect(await refused({ query: query(), format: 'xlsx' })).toContain('422');
    expect(await refused({ query: query(), format: 'parquet', compression: 'gzip' })).toContain('compression');
    expect(await refused({ query: query({ nonsense: 1 }), format: 'csv' })).toContain('nonsense');
    expect(await refused({ query: query(), format: 'csv', destination: { s3: {} } })).toContain('bucket');
    expect(await refused({ query: query(), format: 'csv', destination: { s3: { prefix: '../x' } } })).toContain('422');
    expect(await refused({ query: { channels: ['nobody'] }, format: 'csv' })).toContain('404');
  });
});

describe('who may', () => {
  test('strangers learn of no export, and members take no file of what they may not read', SLOW, async () => {
    const made = await make({ query: query({ limit: 10 }), format: 'csv' });
    const [file] = made.files as [File];
    const foreigner = await world.stranger.newUser('foreigner@example.org');
    for (const [method, path] of [
      ['GET', `/exports/${made.id}`],
      ['GET', file.url],
      ['POST', `/exports/${made.id}/cancel`],
      ['DELETE', `/exports/${made.id}`],
    ] as const)
      expect((await foreigner.call(method, path)).status, `${method} ${path}`).toBe(404);
    expect((await foreigner.call('GET', `/exports?org=${world.org}`)).status).toBe(404);
    expect((await world.stranger.call('GET', file.url)).status).toBe(401);

    const viewer = await world.stranger.newUser('viewer@example.org');
    const { id } = (await viewer.call('GET', '/users/me')).body;
    await world.administrator.call('PUT', `/orgs/${world.org}/members/${id}`, { role: 'viewer' });
    await eventually('the viewer may', 20_000, async () => (await take(viewer, file.url)).status === 200);
    expect((await viewer.call('DELETE', `/exports/${made.id}`)).status).toBe(403);
    const { body: policy } = await world.owner.call('POST', '/policies', {
      name: 'not the hall',
      statements: [
        { effect: 'deny', actions: ['subscribe'], resources: [`channels/${world.channel}/messages/secret/#`] },
      ],
    });
    expect((await world.owner.call('PUT', `/policies/${policy.id}/attachments/user/${id}`)).status).toBe(201);
    await eventually('a part of it is kept from them', 20_000, async () => {
      return (await take(viewer, file.url)).status === 403;
    });
    expect((await ask(viewer, { query: query(), format: 'csv' })).status).toBe(403);
  });

  test('what somebody asked for is none of theirs once they are no member any more', SLOW, async () => {
    const { body: org } = await world.owner.call('POST', '/orgs', { name: 'left' });
    const { body: channel } = await world.owner.call('POST', `/channels?org=${org.id}`, { name: 'left' });
    const leaver = await world.stranger.newUser('leaver@example.org');
    const { id } = (await leaver.call('GET', '/users/me')).body;
    await world.administrator.call('PUT', `/orgs/${org.id}/members/${id}`, { role: 'viewer' });
    const body = { query: { channels: [channel.id] }, format: 'csv' };
    const accepted = await eventually('they may', 20_000, async () => {
      const answer = await leaver.call('POST', `/exports?org=${org.id}`, body);
      return answer.status === 202 ? answer : false;
    });
    const made = (await world.over(leaver, accepted.body.id)) as unknown as { files: [File] };
    await world.administrator.call('DELETE', `/orgs/${org.id}/members/${id}`);
    await eventually('it is none of theirs', 20_000, async () => {
      return (await leaver.call('GET', `/exports/${accepted.body.id}`)).status === 404;
    });
    expect((await take(leaver, made.files[0].url)).status).toBe(404);
  });
});

describe('room', () => {
  test('is bounded for each organisation: what does not fit fails, and leaves no half file', SLOW, async () => {
    const { node, as } = await world.another({
      MILLRACE_EXPORTS_BYTES_MAX: 60_000,
      MILLRACE_EXPORTS_DIRECTORY: join(world.plane.directory, 'small'),
    });
    // The other node steps aside: this one must do it.
    await world.node.stop();
    const owner = as(world.owner);
    const accepted = await ask(owner, { query: query(), format: 'csv' });
    const made = (await world.over(owner, accepted.body.id)) as unknown as Record<string, unknown>;
    expect(made).toMatchObject({ status: 'failed', files: [] });
    expect(made.reason).toContain('more than 60000 bytes');
    await eventually('nothing is left of it', 30_000, async () => {
      const left = await readdir(join(world.plane.directory, 'small'));
      return !left.includes(accepted.body.id);
    });
    await node.stop();
  });
});

describe('when its node goes', () => {
  test('another goes on with what is left: no file is made twice, and no reading is missing', SLOW, async () => {
    const settings = { MILLRACE_EXPORTS_FILE_ROWS: 100 };
    const rows = 5_000;
    const first = await world.another(settings);
    const one = first.as(world.owner);
    const { body: channel } = await one.call('POST', '/channels', { name: 'long' });
    await world.fill(rows, { channel: channel.id });
    const accepted = await ask(one, { query: { channels: [channel.id] }, format: 'ndjson' });
    const begun = async (): Promise<File[]> => (await one.call('GET', `/exports/${accepted.body.id}`)).body.files;
    await eventually('it has begun', 60_000, async () => (await begun()).length > 1);
    const second = await world.another(settings);
    const made = await begun();
    await first.node.stop();
    const two = second.as(world.owner);
    const over = (await world.over(two, accepted.body.id)) as unknown as { files: File[] };
    expect(over).toMatchObject({ status: 'done', rows, rows_total: rows });
    expect(over.files.length).toBeGreaterThan(made.length);
    expect(over.files.slice(0, made.length)).toEqual(made);
    const times = new Set<number>();
    for (const { url } of over.files) {
      const lines = (await take(two, url)).bytes.toString().trimEnd().split('\n');
      for (const line of lines) times.add(JSON.parse(line).time);
    }
    expect(times.size).toBe(rows);
  });
});
