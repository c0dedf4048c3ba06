import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Millrace, Rest } from '../millrace.ts';
import { Terminal } from './terminal.ts';

const EMAIL = 'ada@example.org';
const PASSWORD = 'a password that is long enough';

describe('logging in', { timeout: 120_000 }, () => {
  const millrace = new Millrace();
  const terminals: Terminal[] = [];
  const terminal = (node: Millrace | null = null, environment = {}): Terminal => {
    const made = new Terminal(node, environment);
    terminals.push(made);
    return made;
  };
  const url = (): string => millrace.url;
  const loggedIn = async (): Promise<Terminal> => {
    const made = terminal();
    await made.ok(['login', EMAIL, '--url', url(), '--password-stdin'], { stdin: `${PASSWORD}\n` });
    return made;
  };

  beforeAll(async () => {
    await millrace.start();
    const admin = await Rest.asAdmin(millrace);
    await admin.json('POST', '/users', { email: EMAIL, password: PASSWORD });
  }, 120_000);
  afterAll(async () => {
    for (const made of terminals) made.dispose();
    await millrace.dispose();
  }, 120_000);

  test('keeps a profile that only its owner can read', async () => {
    const ada = await loggedIn();
    expect(statSync(ada.profilesFile).mode & 0o777).toBe(0o600);
    expect(statSync(join(ada.home, 'millrace')).mode & 0o077).toBe(0);
    const { current, profiles } = ada.profiles;
    expect(profiles[current]).toMatchObject({ url: url(), email: EMAIL });
    expect(profiles[current]?.token?.length).toBeGreaterThan(20);
    expect(readFileSync(ada.profilesFile, 'utf8')).not.toContain(PASSWORD);
    expect(await ada.json(['whoami'])).toMatchObject({ email: EMAIL, admin: false });
  });

  test('warns of a profile file that others can read, and mends it with the next change', async () => {
    const ada = await loggedIn();
    chmodSync(ada.profilesFile, 0o644);
    expect((await ada.ok(['whoami'])).stderr).toContain('chmod 600');
    await ada.ok(['profiles', ada.profiles.current]);
    expect(statSync(ada.profilesFile).mode & 0o777).toBe(0o600);
  });

  test('with a wrong password ends with 3 and keeps nothing', async () => {
    const stranger = terminal();
    const ran = await stranger.run(['login', EMAIL, '--url', url(), '--password-stdin'], { stdin: 'something else' });
    expect(ran).toMatchObject({ code: 3, stdout: '' });
    expect(ran.stderr).toContain('wrong');
    expect(existsSync(stranger.profilesFile)).toBe(false);
  });

  test('renews a token that has expired, once for all commands that run at a time', async () => {
    const ada = await loggedIn();
    const { current } = ada.profiles;
    const expired = `x.${Buffer.from('{"exp":1}').toString('base64url')}.y`;
    spoilToken(ada, expired);
    const before = ada.profiles.profiles[current]?.refresh_token;
    const ran = await Promise.all([1, 2, 3, 4].map(() => ada.json<{ email: string }>(['whoami'])));
    expect(ran.map(({ email }) => email)).toEqual([EMAIL, EMAIL, EMAIL, EMAIL]);
    expect(ada.profiles.profiles[current]?.token).not.toBe(expired);
    expect(ada.profiles.profiles[current]?.refresh_token).not.toBe(before);
    expect(statSync(ada.profilesFile).mode & 0o777).toBe(0o600);
  });

  test('renews a token that the server does not know', async () => {
    const ada = await loggedIn();
    spoilToken(ada, 'a.b.c');
    expect(await ada.json(['whoami'])).toMatchObject({ email: EMAIL });
  });

  test('logging out ends the session at the server too', async () => {
    const ada = await loggedIn();
    const { current, profiles } = ada.profiles;
    const { refresh_token } = profiles[current] as { refresh_token: string };
    await ada.ok(['logout']);
    expect(ada.profiles.profiles).toEqual({});
    const answer = await new Rest(url(), '').raw('POST', '/tokens/refresh', JSON.stringify({ refresh_token }), {
      'content-type': 'application/json',
    });
    expect(answer.status).toBe(401);
    expect((await ada.run(['whoami', '--url', url()])).code).toBe(3);
  });

  test('nobody needs to log in on the machine of the node', async () => {
    const local = terminal(millrace);
    const { stdout, stderr } = await local.ok(['whoami', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ email: 'admin@millrace.local', admin: true });
    expect(stderr).toContain('profile local');
    expect(local.profiles).toMatchObject({ current: 'local', profiles: { local: { data_dir: millrace.directory } } });
    expect(readFileSync(local.profilesFile, 'utf8')).not.toContain(
      readFileSync(join(millrace.directory, 'admin-password'), 'utf8').trim(),
    );
    await local.ok(['login', '--local']);
    // Who has only lost the tokens gets others by the data directory.
    spoilToken(local, 'a.b.c', 'gone');
    expect(await local.json(['whoami'])).toMatchObject({ email: 'admin@millrace.local' });
  });

  test('an API key takes the place of a login', async () => {
    const ada = await loggedIn();
    const { secret } = await ada.json<{ secret: string }>([
      ...['keys', 'create', '--name', 'ci', '--action', 'things.list,things.create,things.read,things.update'],
    ]);
    const program = terminal(null, { MILLRACE_URL: url(), MILLRACE_TOKEN: secret });
    expect(await program.json(['things', 'create', '--name', 'by key'])).toMatchObject({ name: 'by key' });
    expect((await program.run(['channels', 'create', '--name', 'no'])).code).toBe(1);
    expect(existsSync(program.profilesFile)).toBe(false);
    const kept = terminal();
    await kept.ok(['login', '--url', url(), '--profile', 'ci', '--token', `@${kept.file('token', `${secret}\n`)}`]);
    expect((await kept.json<{ total: number }>(['things', 'list', '--name', 'by key'])).total).toBe(1);
  });

  test('tokens of a profile are shown to no other server', async () => {
    const ada = await loggedIn();
    const ran = await ada.run(['whoami', '--url', 'http://127.0.0.1:1']);
    expect(ran.code).toBe(3);
    expect(ran.stderr).toContain('Not logged in to http://127.0.0.1:1');
  });

  test('several profiles stand side by side', async () => {
    const ada = await loggedIn();
    await ada.ok(['login', EMAIL, '--url', url(), '--password-stdin', '--profile', 'second'], { stdin: PASSWORD });
    expect(ada.profiles.current).toBe('second');
    await ada.ok(['profiles', 'default']);
    expect(ada.profiles.current).toBe('default');
    expect(await ada.json(['whoami', '--profile', 'second'])).toMatchObject({ email: EMAIL });
    const { code, stderr } = await ada.run(['whoami', '--profile', 'third']);
    expect(code).toBe(2);
    expect(stderr).toContain('default, second');
  });

  function spoilToken(of: Terminal, token: string, refreshToken?: string): void {
    const file = of.profiles;
    const profile = file.profiles[file.current] as Record<string, string>;
    profile.token = token;
    if (refreshToken !== undefined) profile.refresh_token = refreshToken;
    writeFileSync(of.profilesFile, JSON.stringify(file), { mode: 0o600 });
  }
});
