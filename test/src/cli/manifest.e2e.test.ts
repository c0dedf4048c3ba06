import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { Millrace } from '../millrace.ts';
import { Terminal } from './terminal.ts';

const [, EXAMPLE = ''] =
  /```yaml\n(version: 1\n[\s\S]*?)```/.exec(readFileSync(new URL('../../../docs/apply.md', import.meta.url), 'utf8')) ??
  [];

// Each command is a process of its own.
describe('an organisation as one file', { timeout: 180_000 }, () => {
  const millrace = new Millrace();
  const terminal = new Terminal(millrace);
  beforeAll(async () => {
    await millrace.start();
    await terminal.ok(['login', '--local']);
    await terminal.ok(['orgs', 'create', '--name', 'Mill']);
  }, 120_000);
  afterAll(async () => {
    terminal.dispose();
    await millrace.dispose();
  }, 120_000);
  const inMill = (...words: string[]): string[] => [...words, '--org', 'Mill'];

  test('is planned, asked for, applied once, and written back', async () => {
    const file = terminal.file('org.yaml', EXAMPLE);
    const planned = await terminal.ok(inMill('apply', '-f', file, '--dry-run'));
    expect(planned.stdout).toContain('+ group plant/hall-2/roof');
    expect(planned.stdout).toContain('+ connection thermometer-1 → Temperatures');
    expect(planned.stdout).toMatch(/\d\d to create, 0 to change, 0 to delete/);
    expect((await terminal.json<{ total: number }>(inMill('things', 'list'))).total).toBe(0);

    const unasked = await terminal.run(inMill('apply', '-f', file));
    expect(unasked).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') });
    expect((await terminal.ok(inMill('apply', '-f', file, '--yes'))).stderr).toContain('Done: ');
    expect((await terminal.ok(inMill('apply', '-f', '-', '--prune'), { stdin: EXAMPLE })).stdout).toContain(
      'Nothing to do',
    );

    const written = (await terminal.ok(inMill('manifest'))).stdout;
    expect(parse(written)).toMatchObject({
      org: 'Mill',
      things: expect.arrayContaining([expect.objectContaining({ name: 'thermometer-2', enabled: false })]),
    });
    const again = await terminal.ok(inMill('apply', '-f', terminal.file('back.yaml', written), '--prune'));
    expect(again.stdout).toContain('Nothing to do');
    const some = parse((await terminal.ok(inMill('manifest', '--kinds', 'channels', '--ids'))).stdout);
    expect(Object.keys(some)).toEqual(['version', 'org', 'channels']);
    expect(some.channels[0].id).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('shows what changes and what goes, but no keys', async () => {
    const file = terminal.file(
      'less.yaml',
      `version: 1
things:
  - { name: gateway-1 }
  - { name: thermometer-1, key: a-secret-of-the-thermometer, metadata: { model: PT1000 } }
`,
    );
    const planned = (await terminal.ok(inMill('apply', '-f', file, '--dry-run', '--prune'))).stdout;
    expect(planned).toContain('~ thing thermometer-1\n');
    expect(planned).toContain('key: changed');
    expect(planned).toMatch(/metadata: .*PT100.* → .*PT1000/);
    expect(planned).toContain('- thing thermometer-2\n');
    expect(planned).not.toContain('a-secret-of-the-thermometer');
    const made = await terminal.json<{ summary: object }>(inMill('apply', '-f', file, '--prune', '--yes'));
    expect(made.summary).toMatchObject({ create: 0, update: 1, delete: 1 });
    expect((await terminal.ok(inMill('manifest', '--keys'))).stdout).toContain('a-secret-of-the-thermometer');
    expect((await terminal.ok(inMill('manifest'))).stdout).not.toContain('a-secret-of-the-thermometer');
  });

  test('says what is wrong with it, and with what line', async () => {
    const wrong = await terminal.run(
      inMill('apply', '-f', terminal.file('wrong.yaml', 'version: 1\nthings: [{ name: a, group: nowhere }]\n')),
    );
    expect(wrong).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('things[0].group: there is no group nowhere'),
    });
    const other = await terminal.run(inMill('apply', '-f', terminal.file('other.yaml', 'version: 1\norg: Other\n')));
    expect(other.stderr).toContain('this is Mill, not Other');
    const bomb = [
      'a: &a [x]',
      ...Array.from({ length: 9 }, (_, at) => {
        const [name, before] = ['bcdefghij'[at], 'abcdefghi'[at]];
        return `${name}: &${name} [${Array(9).fill(`*${before}`).join(', ')}]`;
      }),
    ].join('\n');
    const ran = await terminal.run(inMill('apply', '-f', terminal.file('bomb.yaml', bomb)));
    expect(ran).toMatchObject({ code: 2, stderr: expect.stringContaining('neither JSON nor YAML') });
  });
});
