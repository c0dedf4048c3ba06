import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Session } from 'chdb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Sessions } from './sessions.ts';

let directory: string;
let sessions: Sessions;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-sessions-'));
  const spool = join(directory, 'spool');
  await mkdir(spool);
  sessions = new Sessions(directory, spool, new Session(directory));
  await sessions.use('default', 'max_query_size=10000');
});
afterAll(async () => {
  await sessions.close();
  await rm(directory, { recursive: true });
});

const drained = async (statement: string, parameters: Record<string, string> = {}): Promise<string> => {
  const parts: Uint8Array[] = [];
  for await (const part of sessions.stream(statement, { format: 'TabSeparated', parameters })) parts.push(part);
  return Buffer.concat(parts).toString();
};
/** Too long to be read, so that what would empty the values before it is not done either. */
const LONG = { other: 'x'.repeat(20_000) };

test('nobody can name the value of a question before, also when one between them failed', async () => {
  await sessions.query('SELECT {secret:String}', { parameters: { secret: 'mine' } });
  await expect(sessions.query('SELECT {other:String}', { parameters: LONG })).rejects.toThrow();
  await expect(sessions.query('SELECT {secret:String}')).rejects.toThrow(/secret/);

  expect(await drained('SELECT {secret:String}', { secret: 'mine' })).toBe('mine\n');
  await expect(drained('SELECT {other:String}', LONG)).rejects.toThrow();
  await expect(drained('SELECT {secret:String}')).rejects.toThrow(/secret/);

  await sessions.query('SELECT {secret:String}', { parameters: { secret: 'mine' } });
  await sessions.query('SELECT {another:String}', { parameters: { another: 'theirs' } });
  expect(await drained('SELECT {secret:String}')).toBe('\n');
});

test('what failed leaves nothing running, and its place to the next', async () => {
  const numbers = new Set<number>();
  for (let round = 0; round < 5; round++) {
    await expect(sessions.query('SELECT throwIf(1)')).rejects.toThrow();
    await expect(drained('SELECT number, throwIf(number = 300000) FROM numbers(1000000)')).rejects.toThrow();
    await sessions.with(async ({ number }) => numbers.add(number));
  }
  const [left] = (await sessions.query("SELECT count() AS left FROM system.processes WHERE query LIKE '%throwIf%'"))
    .text()
    .trim()
    .split('\n');
  expect(left).toBe('{"left":1}');
  // Files of a session are called by its number: they do not become more.
  expect(numbers.size).toBe(1);
});

test('a session that knows many names is not used again, and the engine goes on', async () => {
  for (let round = 0; round < 3; round++) {
    const many = Object.fromEntries(Array.from({ length: 80 }, (_, index) => [`p${round}_${index}`, 'v']));
    await sessions.query(`SELECT {p${round}_0:String}`, { parameters: many });
  }
  await sessions.query('CREATE TABLE IF NOT EXISTS kept (n UInt8) ENGINE = Memory');
  await sessions.query('SELECT * FROM kept', {
    parameters: Object.fromEntries(Array.from({ length: 80 }, (_, at) => [`q${at}`, 'v'])),
  });
  await sessions.query('SELECT * FROM kept');
});

test('what a statement computes before its first row holds nobody up', async () => {
  const heavy = 'SELECT (SELECT sum(sipHash64(number)) FROM numbers(60000000))';
  const turns = async (work: () => Promise<unknown>): Promise<{ longestMs: number; ms: number }> => {
    const begun = performance.now();
    let [last, longestMs] = [begun, 0];
    const timer = setInterval(() => {
      longestMs = Math.max(longestMs, performance.now() - last);
      last = performance.now();
    }, 5);
    await work().finally(() => clearInterval(timer));
    return { longestMs: Math.max(longestMs, performance.now() - last), ms: performance.now() - begun };
  };
  for (const work of [() => sessions.query(heavy), () => drained(heavy)]) {
    const { longestMs, ms } = await turns(work);
    expect(longestMs).toBeLessThan(ms / 2);
  }
});

test('wide rows are written as they are read, not gathered', async () => {
  await sessions.query('CREATE TABLE wide (id UInt64, text String CODEC(ZSTD(1))) ENGINE = MergeTree ORDER BY id');
  for (const from of [0, 2_000, 4_000])
    await sessions.query(`INSERT INTO wide SELECT number + ${from}, repeat('wide', 12500) FROM numbers(2000)`);
  for (const format of ['TabSeparated', 'ArrowStream']) {
    let size = 0;
    const within = 'SETTINGS max_memory_usage=150000000, max_threads=2';
    for await (const part of sessions.stream(`SELECT text FROM wide ${within}`, { format })) size += part.length;
    expect(size).toBeGreaterThan(format === 'TabSeparated' ? 300_000_000 : 0);
  }
});

test('what is closed ends what streams, before its first row and while nobody takes it', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-closed-'));
  const run = `import { Session } from 'chdb';
import { Sessions } from ${JSON.stringify(new URL('./sessions.ts', import.meta.url).href)};
const own = new Sessions(${JSON.stringify(directory)}, ${JSON.stringify(directory)}, new Session(${JSON.stringify(directory)}));
const silent = own.stream('SELECT sum(sipHash64(number)) FROM system.numbers', { format: 'CSV' });
const heard = silent.next().catch((error) => error.code);
const full = own.stream('SELECT number FROM system.numbers', { format: 'CSV' });
await full.next();
await new Promise((resolve) => setTimeout(resolve, 300));
await own.close();
console.log(await heard, await full.next().catch((error) => error.code));
process.exit(0);`;
  const child = spawn(process.execPath, [...process.execArgv, '--input-type=module', '-e', run], {
    cwd: fileURLToPath(new URL('.', import.meta.url)),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 25_000);
  let text = '';
  for await (const part of child.stdout) text += String(part);
  clearTimeout(timer);
  expect(text.trim()).toBe('STORE_CLOSED STORE_CLOSED');
  await rm(directory, { recursive: true, force: true });
});
