import { spawn } from 'node:child_process';
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
