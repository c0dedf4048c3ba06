import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace, newPublisher, Rest, run } from './millrace.ts';
import { storedNames } from './stored.ts';

const USER_PASSWORD = 'a-password-that-nobody-logs';
const WRONG_KEY = 'a-key-that-is-of-no-thing-but-is-not-logged';

describe('the first run', () => {
  const millrace = new Millrace({ MILLRACE_LOG_LEVEL: 'trace' });
  const secrets: Record<string, string> = {};
  const file = (...names: string[]): string => join(millrace.directory, ...names);
  const held = (...names: string[]): string => readFileSync(file(...names), 'utf8').trim();

  beforeAll(() => millrace.start(), 120_000);
  afterAll(() => millrace.dispose(), 120_000);

  test('prints two commands that publish a reading and show it', async () => {
    const commands = await eventually('the two commands', 10_000, async () => {
      const found = millrace.stdout.match(/^ {2}curl .*$/gm) ?? [];
      return found.length === 2 && found;
    });
    const [publish = '', read = ''] = commands;
    const published = await run(['sh', '-c', `${publish} -s -w '\\n%{http_code}'`]);
    expect(published).toMatchObject({ code: 0, stdout: expect.stringMatching(/\n202$/) });
    expect(JSON.parse(published.stdout.split('\n')[0] as string)).toMatchObject({ response: 'message sent' });
    const page = await eventually('the reading', 20_000, async () => {
      const { stdout } = await run(['sh', '-c', read]);
      const answer = JSON.parse(stdout) as { messages: { name: string; unit: string; value: number }[] };
      return answer.messages.length > 0 && answer;
    });
    expect(page.messages[0]).toMatchObject({ name: 'temperature', unit: 'Cel', value: 21.5 });
  });

  test('says where it answers and where its password is, and shows no secret where it is no terminal', () => {
    expect(millrace.stdout).toContain(`HTTP      ${millrace.url}`);
    expect(millrace.stdout).toContain(`${millrace.url}/docs`);
    expect(millrace.stdout).toContain(`password  in ${file('admin-password')}`);
    expect(held('admin-password').length).toBeGreaterThan(15);
    expect(millrace.stdout).not.toContain(held('admin-password'));
    expect(millrace.stdout).not.toContain(held('getting-started-key'));
  });

  test('keeps its secrets in files that only their owner reads', () => {
    for (const name of ['secret', 'admin-password', 'getting-started-key'])
      expect(statSync(file(name)).mode & 0o777, name).toBe(0o600);
    expect(statSync(file('run')).mode & 0o077).toBe(0);
  });

  test('logs no key, password or token at any level', async () => {
    const admin = await Rest.asAdmin(millrace);
    const publisher = await newPublisher(admin, 'discreet');
    const rotated = await admin.json<{ key: string }>('PATCH', `/things/${publisher.thing}/key`, {});
    await admin.json('POST', '/users', { email: 'someone@example.org', password: USER_PASSWORD });
    const pair = await admin.json<{ token: string; refresh_token: string }>('POST', '/tokens', {
      email: 'someone@example.org',
      password: USER_PASSWORD,
    });
    const type = { 'content-type': 'application/senml+json' };
    const path = `/channels/${publisher.channel}/messages`;
    expect((await publisher.rest.raw('POST', path, '[]', type)).status).toBe(401);
    expect((await admin.as(`Thing ${rotated.key}`).raw('POST', path, '[{"n":"a","v":1}]', type)).status).toBe(202);
    expect((await admin.as(`Thing ${WRONG_KEY}`).raw('POST', path, '[]', type)).status).toBe(401);
    const basic = `Basic ${Buffer.from(`${publisher.thing}:${rotated.key}`).toString('base64')}`;
    expect((await admin.as(basic).raw('POST', path, '[{"n":"b","v":1}]', type)).status).toBe(202);
    expect((await admin.as(`Bearer ${pair.token}x`).raw('GET', '/things')).status).toBe(401);
    expect((await admin.raw('POST', '/tokens', `{"password":"${USER_PASSWORD}"`)).status).toBeGreaterThanOrEqual(400);
    await admin.raw('GET', `/things?key=${rotated.key}&authorization=${rotated.key}`);
    Object.assign(secrets, {
      'admin password': held('admin-password'),
      secret: held('secret'),
      'getting started key': held('getting-started-key'),
      'first key': publisher.key,
      'rotated key': rotated.key,
      'wrong key': WRONG_KEY,
      'basic credential': basic.slice('Basic '.length),
      'user password': USER_PASSWORD,
      'access token': pair.token,
      'refresh token': pair.refresh_token,
      'admin token': admin.authorization.slice('Bearer '.length),
    });
    expectNoSecrets();
  });

  test('the demo publishes believable readings to the running node', async () => {
    const demo = await demoFor(3_000);
    expect(demo.code).toBe(0);
    expect(demo.stdout).toMatch(/^5 devices publish to channel [0-9a-f-]{36}/);
    expect(Number(/(\d+) messages acknowledged/.exec(demo.stdout)?.[1])).toBeGreaterThan(0);
    expect(demo.stdout).not.toMatch(/refused/);
    const channel = /channel ([0-9a-f-]{36})/.exec(demo.stdout)?.[1] ?? '';
    const admin = await Rest.asAdmin(millrace);
    const names = await eventually('readings of the demo', 20_000, async () => {
      const found = new Set(await storedNames(admin, channel));
      return found.size >= 5 && found;
    });
    expect([...names]).toContain('demo:0:temperature');
  });

  test('the doctor calls the running node what it is', async () => {
    const { code, stdout } = await millrace.command(['doctor'], { MILLRACE_HTTP_PORT: new URL(millrace.url).port });
    expect(stdout).toMatch(/^! HTTP port .*the node that runs on this data directory/m);
    expect(code).toBe(0);
  });

  test('the second start is quick, shows no password, and keeps what there was', { timeout: 120_000 }, async () => {
    expect(await millrace.end('SIGTERM')).toBe(0);
    millrace.stdout = '';
    const begun = performance.now();
    await millrace.start();
    const tookMs = performance.now() - begun;
    console.log(`second start: ${tookMs.toFixed(0)} ms`);
    expect(tookMs).toBeLessThan(30_000);
    await eventually('the banner', 5_000, async () => millrace.stdout.includes('is ready'));
    const admin = await Rest.asAdmin(millrace);
    expect((await admin.json<{ total: number }>('GET', '/things')).total).toBeGreaterThan(5);
    expectNoSecrets();
  });

  function expectNoSecrets(): void {
    expect(Object.keys(secrets).length).toBeGreaterThan(10);
    for (const [name, secret] of Object.entries(secrets)) {
      expect(secret.length, name).toBeGreaterThan(12);
      expect(millrace.stderr.includes(secret), `the log holds the ${name}`).toBe(false);
      expect(millrace.stdout.includes(secret), `the output holds the ${name}`).toBe(false);
    }
    expect(millrace.stderr).toMatch(/"level":(10|20)|"level":"(trace|debug)"/);
  }

  async function demoFor(ms: number): Promise<{ code: number | null; stdout: string }> {
    const main = new URL('../../app/bin/millrace.cjs', import.meta.url).pathname;
    const child = spawn(process.execPath, [main, 'demo', '-n', '5', '-i', '0.2', '--data-dir', millrace.directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (/devices publish/.test(text)) setTimeout(() => child.kill('SIGINT'), ms);
    });
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, stdout };
  }
});

describe('the millrace command', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-command-'));
  const main = new URL('../../app/bin/millrace.cjs', import.meta.url).pathname;
  const millrace = (words: readonly string[], environment: Readonly<Record<string, string>> = {}) =>
    run(
      [process.execPath, main, ...words],
      { MILLRACE_DATA_DIR: join(directory, 'data'), ...environment },
      { directory },
    );
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  test('tells what it can do, with examples', async () => {
    const { code, stdout } = await millrace(['--help']);
    expect(code).toBe(0);
    for (const word of ['start', 'demo', 'bench', 'doctor', 'Examples:']) expect(stdout).toContain(word);
    expect((await millrace(['start', '--help'])).stdout).toContain('--data-dir');
  });

  test('tells its version', async () => {
    expect(await millrace(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\S*\n$/),
    });
  });

  test('refuses a command that it does not know, with where to look', async () => {
    const { code, stderr } = await millrace(['strat']);
    expect(code).not.toBe(0);
    expect(stderr).toMatch(/strat.*start|millrace --help/s);
  });

  test('refuses a misspelt setting with a hint, and all other problems with it', async () => {
    const { code, stdout, stderr } = await millrace(['start'], {
      MILLRACE_HTTP_PROT: '8081',
      MILLRACE_LOG_BYTES_MAX: 'many',
    });
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(stderr).toContain('MILLRACE_HTTP_PROT is not a setting (did you mean MILLRACE_HTTP_PORT?)');
    expect(stderr).toContain('MILLRACE_LOG_BYTES_MAX');
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test('the demo without a node says how to start one', async () => {
    const { code, stderr } = await millrace(['demo']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/no node runs on .*millrace start/s);
  });

  test('the doctor finds a good machine good', async () => {
    const { code, stdout } = await millrace(['doctor'], { MILLRACE_HTTP_PORT: '0' });
    expect(stdout).not.toContain('✗');
    expect(stdout).toContain('All good: millrace start');
    expect(code).toBe(0);
  });

  test('the doctor says of a bad configuration what to do', async () => {
    const { code, stdout } = await millrace(['doctor'], { MILLRACE_HTTP_PORT: '99999' });
    expect(code).toBe(1);
    expect(stdout).toMatch(/^✗ configuration/m);
    expect(stdout).toMatch(/→ .*MILLRACE_HTTP_PORT/s);
  });

  test('the doctor says which engine does not answer', async () => {
    const { code, stdout } = await millrace(['doctor'], {
      MILLRACE_HTTP_PORT: '0',
      MILLRACE_KAFKA_BROKERS: '127.0.0.1:1',
      MILLRACE_CLICKHOUSE_URL: 'http://someone:hidden-word@127.0.0.1:1',
      MILLRACE_POSTGRES_URL: 'postgres://someone:hidden-word@127.0.0.1:1/millrace',
    });
    expect(code).toBe(1);
    for (const name of ['log', 'ClickHouse', 'PostgreSQL']) expect(stdout).toMatch(new RegExp(`^✗ ${name}`, 'm'));
    expect(stdout).not.toContain('hidden-word');
  });
});
