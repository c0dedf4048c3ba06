import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { eventually, Millrace } from '../millrace.ts';
import { MAIN, Terminal } from './terminal.ts';

interface Entity {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly enabled: boolean;
  readonly key?: string;
}
const NOBODY = '00000000-0000-4000-8000-000000000000';

// Each command is a process of its own.
describe('the commands that ask a node', { timeout: 180_000 }, () => {
  const millrace = new Millrace();
  const terminal = new Terminal(millrace);
  beforeAll(async () => {
    await millrace.start();
    await terminal.ok(['login', '--local']);
  }, 120_000);
  afterAll(async () => {
    terminal.dispose();
    await millrace.dispose();
  }, 120_000);

  const things = async (...more: string[]) =>
    terminal.json<{ total: number; things: Entity[] }>(['things', 'list', ...more]);

  test('things: made, found by name, changed, switched, deleted', async () => {
    const made = await terminal.json<Entity>([
      ...['things', 'create', '--name', 'boiler', '--tags', 'hot,cellar', '--metadata', '{"floor":-1}'],
    ]);
    expect(made).toMatchObject({ name: 'boiler', tags: ['hot', 'cellar'], metadata: { floor: -1 } });
    expect(await terminal.json(['things', 'get', 'boiler'])).toMatchObject({ id: made.id });
    const changed = await terminal.json<Entity>(['things', 'update', made.id, '--name', 'furnace']);
    expect(changed).toMatchObject({ name: 'furnace', version: made.version + 1, tags: ['hot', 'cellar'] });
    const late = await terminal.run(['things', 'update', made.id, '--name', 'x', '--if-version', String(made.version)]);
    expect(late).toMatchObject({ code: 5, stdout: '' });
    await terminal.ok(['things', 'disable', 'furnace']);
    expect((await things('--status', 'disabled')).things.map(({ id }) => id)).toEqual([made.id]);
    await terminal.ok(['things', 'enable', 'furnace']);
    const { key } = await terminal.json<Entity>(['things', 'rotate-key', 'furnace', '--overlap', '15m']);
    expect(key).not.toBe(made.key);
    await terminal.ok(['things', 'delete', 'furnace']);
    expect((await terminal.run(['things', 'get', made.id])).code).toBe(4);
  });

  test('many things at once, and all of a list as JSON lines', async () => {
    const { stdout, stderr } = await terminal.ok(['things', 'create', '--name', 'bulk', '--count', '1200', '--json']);
    expect((JSON.parse(stdout) as { things: Entity[] }).things).toHaveLength(1_200);
    expect(stderr).toContain('things: 1200 of 1200');
    const lines = (await terminal.ok(['things', 'list', '--name', 'bulk-', '--all', '--json'])).stdout
      .trim()
      .split('\n');
    const names = new Set(lines.map((line) => (JSON.parse(line) as Entity).name));
    expect(names.size).toBe(1_200);
    expect(names.has('bulk-0001')).toBe(true);
  });

  test('very many as a job of the node, which can be waited for', async () => {
    const { id } = await terminal.json<Entity>(['things', 'create', '--name', 'job', '--count', '1500', '--job']);
    const ended = await terminal.ok(['jobs', 'get', id, '--wait', '--json']);
    expect(JSON.parse(ended.stdout)).toMatchObject({ id, status: 'done', done: 1_500, failed: 0 });
    expect((await things('--name', 'job-')).total).toBe(1_500);
    const results = (await terminal.ok(['jobs', 'results', id, '--json'])).stdout.trim().split('\n');
    expect(results).toHaveLength(1_500);
    expect(JSON.parse(results[0] as string)).toMatchObject({ line: 1, key: expect.any(String) });
    expect((await terminal.ok(['jobs', 'list'])).stdout).toContain(id);
  });

  test('a file, YAML or JSON, one or many, also from standard input', async () => {
    const file = terminal.file('things.yaml', '- name: from yaml\n  tags: [a]\n- name: also from yaml\n');
    await terminal.ok(['things', 'create', '-f', file]);
    await terminal.ok(['things', 'create', '-f', '-'], { stdin: '{"name":"from json"}' });
    await terminal.ok(['things', 'create', '-f', '-'], {
      stdin: '{"name":"line from json"}\n{"name":"line 2 from json"}\n',
    });
    expect((await things('--name', 'from yaml')).total).toBe(2);
    expect((await things('--name', 'from json')).total).toBe(3);
    const broken = await terminal.run(['things', 'create', '-f', '-'], { stdin: 'a: [1' });
    expect(broken.code).toBe(2);
    const unknown = await terminal.run(['things', 'create', '-f', '-'], { stdin: 'colour: red' });
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringContaining('colour') });
  });

  test('messages: published, followed, read back', async () => {
    await terminal.ok(['things', 'create', '--name', 'speaker']);
    await terminal.ok(['channels', 'create', '--name', 'Kitchen', '--alias', 'kitchen']);
    await terminal.ok(['connect', '--thing', 'speaker', '--channel', 'kitchen']);
    const follower = terminal.run(['subscribe', 'kitchen', '-s', 'temp', '-n', '3', '--json']);
    const { key } = await terminal.json<Entity>(['things', 'get', 'speaker']);
    const path = terminal.file('key', `${key}\n`);
    const send = (value: number, ...more: string[]) =>
      terminal.ok(['publish', 'kitchen', `[{"n":"t","v":${value}}]`, '-s', 'temp', ...more]);
    await eventually('three messages', 60_000, async () => {
      // Whoever follows may not have begun yet.
      await Promise.all([send(1), send(2, '--protocol', 'ws'), send(3, '--protocol', 'mqtt', '--key', `@${path}`)]);
      return Promise.race([
        follower.then(() => true),
        new Promise<false>((resolve) => setTimeout(() => resolve(false), 200)),
      ]);
    });
    const { code, stdout } = await follower;
    expect(code).toBe(0);
    expect(
      stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line).subtopic),
    ).toEqual(['temp', 'temp', 'temp']);
    const table = await eventually('readings', 20_000, async () => {
      const ran = await terminal.ok(['readings', 'kitchen', '--name', 't', '--limit', '1']);
      return ran.stdout.includes('temp') && ran;
    });
    expect(table.stdout).toMatch(/^TIME +NAME +VALUE +UNIT +SUBTOPIC\n\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +t +\d +temp\n$/);
    await terminal.ok(['disconnect', '--thing', 'speaker', '--channel', 'kitchen']);
    const cut = await terminal.run(['publish', 'kitchen', '[]', '--key', `@${path}`]);
    expect(cut.code).toBe(1);
  });

  test('Ctrl-C ends a subscription', async () => {
    await terminal.ok(['channels', 'create', '--name', 'quiet']);
    const child = spawn(process.execPath, [MAIN, 'subscribe', 'quiet'], {
      env: { ...process.env, XDG_CONFIG_HOME: terminal.home },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let stderr = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    await eventually('subscribed', 30_000, async () => stderr.includes('subscribed'));
    const ended = new Promise((resolve) => child.once('close', resolve));
    child.kill('SIGINT');
    await ended;
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  test('groups: a tree with things in it', async () => {
    const house = await terminal.json<Entity>(['groups', 'create', '--name', 'House']);
    await terminal.ok(['groups', 'create', '--name', 'Cellar', '--parent-id', house.id]);
    await terminal.ok(['things', 'create', '--name', 'pump']);
    await terminal.ok(['groups', 'add', 'Cellar', '--thing', 'pump']);
    expect((await terminal.ok(['groups', 'tree'])).stdout).toBe('└── House\n    └── Cellar\n');
    expect((await terminal.ok(['groups', 'things', 'House', '--below'])).stdout).toContain('pump');
    const needed = await terminal.run(['groups', 'delete', 'House']);
    expect(needed).toMatchObject({ code: 5, stderr: expect.stringContaining('--cascade') });
    await terminal.ok(['groups', 'delete', 'House', '--cascade', '--yes']);
    expect((await terminal.run(['groups', 'delete', 'House'])).code).toBe(4);
  });

  test('policies, keys, roles, members, invitations, users, audit', async () => {
    const thing = await terminal.json<Entity>(['things', 'create', '--name', 'judged']);
    const document = terminal.file(
      'policy.json',
      '{"name":"mute","statements":[{"effect":"deny","actions":["publish"],"resources":["*"]}]}',
    );
    await terminal.ok(['policies', 'create', '-f', document]);
    await terminal.ok(['policies', 'attach', 'mute', 'thing', thing.id]);
    expect((await terminal.ok(['policies', 'attachments', 'mute'])).stdout).toContain(thing.id);
    expect((await terminal.ok(['things', 'access', 'judged'])).stdout).toMatch(/deny +publish/);
    const decision = ['policies', 'simulate', `thing:${thing.id}`, 'publish', 'channels/x/messages'];
    expect(await terminal.json(decision)).toMatchObject({ allowed: false });
    await terminal.ok(['policies', 'detach', 'mute', 'thing', thing.id]);
    const { secret } = await terminal.json<{ secret: string }>([
      'keys',
      'create',
      '--name',
      'k',
      '--action',
      'things.read',
    ]);
    expect((await terminal.ok(['keys', 'list'])).stdout).not.toContain(secret);
    await terminal.ok(['roles', 'create', '--name', 'fitter', '--actions', 'things.*']);
    expect((await terminal.ok(['roles', 'list'])).stdout).toMatch(/fitter +things\.\*/);
    expect((await terminal.ok(['members', 'list'])).stdout).toMatch(/admin@millrace\.local +owner/);
    const { id } = await terminal.json<Entity>(['invitations', 'create', 'grace@example.org', 'viewer']);
    expect((await terminal.ok(['invitations', 'list'])).stdout).toContain('grace@example.org');
    await terminal.ok(['invitations', 'revoke', id]);
    expect((await terminal.ok(['users', 'list'])).stdout).toContain('admin@millrace.local');
    expect((await terminal.ok(['audit', 'list', '--action', 'policies.'])).stdout).toContain('policies.attach');
    expect((await terminal.ok(['audit', 'export', '--format', 'csv'])).stdout.split('\n').length).toBeGreaterThan(5);
  });

  test('organisations: another one by its name', async () => {
    await terminal.ok(['orgs', 'create', '--name', 'Green houses']);
    await terminal.ok(['things', 'create', '--name', 'vent', '--org', 'Green houses']);
    expect((await things('--name', 'vent')).total).toBe(0);
    expect((await things('--name', 'vent', '--org', 'Green houses')).total).toBe(1);
    await terminal.ok(['orgs', 'freeze', 'Green houses', '--yes']);
    expect(await terminal.json(['orgs', 'get', 'Green houses'])).toMatchObject({ frozen: true });
    await terminal.ok(['orgs', 'unfreeze', 'Green houses']);
    expect((await terminal.run(['things', 'list', '--org', 'Nobody'])).code).toBe(4);
  });

  test('certificates and applications: what is told once', async () => {
    await terminal.ok(['things', 'create', '--name', 'lock']);
    const prefix = join(terminal.home, 'lock');
    const { serial } = await terminal.json<{ serial: string }>([
      'certs',
      'issue',
      'lock',
      '--ttl',
      '1d',
      '--out',
      prefix,
    ]);
    expect(readFileSync(`${prefix}.key`, 'utf8')).toContain('PRIVATE KEY');
    expect(statSync(`${prefix}.key`).mode & 0o777).toBe(0o600);
    expect(existsSync(`${prefix}.crt`)).toBe(true);
    await terminal.ok(['certs', 'revoke', serial, '--reason', 'superseded']);
    expect((await terminal.ok(['certs', 'list', '--thing', 'lock', '--status', 'revoked'])).stdout).toContain(serial);
    expect((await terminal.ok(['certs', 'ca'])).stdout).toContain('BEGIN CERTIFICATE');
    const app = await terminal.json<{ client_secret: string }>([
      ...['apps', 'create', '--name', 'importer', '--kind', 'machine', '--scopes', 'things:read'],
    ]);
    expect(app.client_secret.length).toBeGreaterThan(20);
    expect((await terminal.ok(['apps', 'list'])).stdout).toMatch(/importer +machine/);
  });

  test('errors say what is wrong on standard error, never with a stack, and end as the table says', async () => {
    const cases: readonly [string[], number, RegExp][] = [
      [['things', 'get', NOBODY], 4, /no such thing/],
      [['things', 'get', 'nobody has this name'], 4, /nobody has this name/],
      [['things', 'create', '--id', 'no-uuid'], 1, /id/],
      [['things', 'create', '--metadata', '{'], 2, /no JSON/],
      [['things', 'create', '--type', 'toaster'], 2, /device, gateway, app/],
      [['things', 'creat'], 2, /create/],
      [['things', 'list', '--url', 'http://127.0.0.1:1'], 3, /Log in/],
      [
        ['login', 'a@example.org', '--password-stdin', '--url', 'http://127.0.0.1:1'],
        6,
        /does not answer.*millrace start/s,
      ],
      [['connect', '--thing', 'pump'], 2, /--channel/],
      [['groups', 'delete', 'x', '--cascade'], 2, /--yes/],
      [['things', 'list', '--limit', '5000'], 1, /limit/],
    ];
    for (const [words, code, told] of cases) {
      const ran = await terminal.run(words);
      expect(ran, words.join(' ')).toMatchObject({ code, stdout: '', stderr: expect.stringMatching(told) });
      expect(ran.stderr, words.join(' ')).not.toMatch(/^\s+at /m);
    }
    const thing = await terminal.json<Entity>(['things', 'create', '--name', 'twice']);
    expect((await terminal.run(['things', 'create', '--id', thing.id])).code).toBe(5);
  });

  test('tables fit the terminal, and hostile names do nothing to it', async () => {
    await terminal.ok(['things', 'create', '--name', `evil \u001b[2J\u202e name ${'x'.repeat(80)}`]);
    const { stdout } = await terminal.ok(['things', 'list', '--name', 'evil'], { environment: { COLUMNS: '100' } });
    for (const line of stdout.trimEnd().split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    for (const one of ['\u001b', '\u202e']) expect(stdout.includes(one)).toBe(false);
    expect(stdout).toContain('…');
    const wide = await terminal.ok(['things', 'list', '--name', 'evil', '--wide'], { environment: { COLUMNS: '100' } });
    expect(wide.stdout).toContain('x'.repeat(80));
  });

  test('a manifest is planned, shown, applied, and read back', async () => {
    await terminal.ok(['orgs', 'create', '--name', 'Brick houses']);
    const written = await terminal.ok(['manifest', '--org', 'Brick houses']);
    const before = parse(written.stdout) as Record<string, unknown>;
    const file = terminal.file('org.json', JSON.stringify(before));
    expect((await terminal.ok(['apply', '-f', file, '--org', 'Brick houses'])).stdout).toContain('Nothing to do');
  });
});
