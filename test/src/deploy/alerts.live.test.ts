import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { missing, ROOT, read } from './tools.ts';

const CACHED = join(ROOT, '.ci/prometheus/promtool');
const PROMTOOL = existsSync(CACHED) ? CACHED : 'promtool';
const HERE = join(ROOT, 'deploy/prometheus');
const without = missing('promtool', [PROMTOOL, '--version']);

const promtool = (...words: string[]): { status: number | null; said: string } => {
  const { status, stdout, stderr } = spawnSync(PROMTOOL, words, { cwd: HERE, encoding: 'utf8' });
  return { status, said: stdout + stderr };
};

describe.skipIf(without !== null)(`Prometheus${without === null ? '' : ` (${without})`}`, () => {
  test('understands its configuration and its rules', () => {
    const { status, said } = promtool('check', 'config', 'prometheus.yml');
    expect(said).toMatch(/SUCCESS: \d+ rules found/);
    expect(status).toBe(0);
  });

  test('tells of what went wrong, and of nothing else', () => {
    expect(promtool('test', 'rules', 'rules.test.yml')).toMatchObject({ status: 0 });
  });

  test('would notice a rule that does not tell', () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-rules-'));
    try {
      writeFileSync(join(directory, 'rules.yml'), read('deploy/prometheus/rules.yml').replace('> 500000', '> 5000000'));
      writeFileSync(join(directory, 'rules.test.yml'), read('deploy/prometheus/rules.test.yml'));
      expect(promtool('test', 'rules', join(directory, 'rules.test.yml')).status).not.toBe(0);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
});
