import { spawn, spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { MAIN, Terminal } from './terminal.ts';

describe('without a node', { timeout: 120_000 }, () => {
  const terminal = new Terminal(null);
  afterAll(() => terminal.dispose());

  test('completes commands, flags and values in bash', async () => {
    const bin = terminal.file('millrace', `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
    const script = terminal.file(
      'try.bash',
      `chmod +x '${bin}'; PATH='${terminal.home}':$PATH
source <(millrace completion bash)
try() { COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _millrace; echo "\${COMPREPLY[*]}"; }
try millrace thi
try millrace things rot
try millrace things create --na
try millrace things create --type ""
try millrace policies attach x ap
try millrace completion ""
complete -p millrace`,
    );
    const child = spawn('bash', ['--norc', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    let stdout = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
    expect(stdout.split('\n').slice(0, 7)).toEqual([
      'things',
      'rotate-key',
      '--name',
      'device gateway app',
      'app',
      'bash zsh fish',
      'complete -o default -F _millrace millrace',
    ]);
  });

  test('completes in fish and is well-formed for zsh, where these are installed', async () => {
    const script = terminal.file('candidates.fish', (await terminal.ok(['completion', 'fish'])).stdout);
    const named = terminal.file('_millrace', (await terminal.ok(['completion', 'zsh'])).stdout);
    const launcher = terminal.file('millrace', `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`);
    chmodSync(launcher, 0o755);
    const shell = (program: string, ...words: string[]) =>
      spawnSync(program, words, {
        encoding: 'utf8',
        env: { ...process.env, PATH: `${terminal.home}:${process.env.PATH}` },
      });
    const fish = shell('fish', '--no-config', '-c', `source '${script}'; complete -C 'millrace things create --type '`);
    if (fish.error === undefined) expect(fish.stdout.trim().split('\n').sort()).toEqual(['app', 'device', 'gateway']);
    const zsh = shell('zsh', '-n', named);
    if (zsh.error === undefined) expect(zsh).toMatchObject({ status: 0, stderr: '' });
    expect(
      shell('bash', '-n', terminal.file('c.bash', (await terminal.ok(['completion', 'bash'])).stdout)).status,
    ).toBe(0);
  });

  test('help is there at once, for every command, with examples', async () => {
    // Loading the server's rooms alone would take longer than this, several times over.
    const times: number[] = [];
    for (let round = 0; round < 3; round++) {
      const begun = performance.now();
      expect((await terminal.ok(['--help'])).stdout).toContain('Exit codes:');
      times.push(performance.now() - begun);
    }
    console.log(`millrace --help: ${Math.min(...times).toFixed(0)} ms`);
    expect(Math.min(...times)).toBeLessThan(1_500);
    for (const words of [['things'], ['things', 'create'], ['publish'], ['apply'], ['certs', 'issue']])
      expect((await terminal.ok([...words, '--help'])).stdout, words.join(' ')).toContain('Examples:');
  });
});
