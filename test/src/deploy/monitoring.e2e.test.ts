import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { Millrace } from '../millrace.ts';
import { filesOf, ROOT, read } from './tools.ts';

const EVERY = filesOf('deploy/grafana/dashboards');
/** Of the platform; those of readings ask others than Prometheus. */
const DASHBOARDS = EVERY.filter((file) => !file.includes('readings-'));
/** Of Prometheus itself, and of the rules. */
const OTHERS = /^(up|millrace:.*)$/;

interface Dashboard {
  readonly uid: string;
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
}
interface Rules {
  readonly groups: readonly { readonly rules: readonly { readonly record?: string; readonly expr: string }[] }[];
}

/** Names of series in an expression, without its labels, functions and ranges. */
function seriesOf(expression: string): string[] {
  const bare = expression
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}/g, '')
    .replace(/\[[^\]]*\]/g, '')
    .replace(/\b(by|on|ignoring|without) \([^)]*\)/g, '');
  return [...bare.matchAll(/(?<![\w$])([a-z_:][\w:]*)(?!\w*\s*\()/g)]
    .map(([name]) => name)
    .filter((name) => name.startsWith('millrace') || name === 'up');
}

describe('alerts and dashboards', () => {
  const node = new Millrace({ MILLRACE_COAPS_PORT: '0' });
  /** name → its labels, as far as it has samples */
  const told = new Map<string, string>();

  beforeAll(async () => {
    await node.start();
    const text = await (await fetch(`${node.url}/metrics`)).text();
    for (const [, name = '', type = ''] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
      told.set(name, type);
      if (type === 'histogram') for (const part of ['bucket', 'sum', 'count']) told.set(`${name}_${part}`, type);
    }
  }, 120_000);
  afterAll(() => node.dispose());

  test('ask for metrics that a node has', () => {
    expect(told.size).toBeGreaterThan(100);
    const rules = (parse(read('deploy/prometheus/rules.yml')) as Rules).groups.flatMap((group) => group.rules);
    const recorded = new Set(rules.map(({ record }) => record));
    const asked = [
      ...rules.map(({ expr }) => expr),
      ...DASHBOARDS.flatMap((file) =>
        (JSON.parse(read(file)) as Dashboard).panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      ),
    ].flatMap(seriesOf);
    expect(asked.length).toBeGreaterThan(60);
    const wrong = asked.filter((name) => !told.has(name) && !OTHERS.test(name));
    expect(wrong).toEqual([]);
    for (const name of asked) if (name.includes(':')) expect(recorded).toContain(name);
  });

  test('are what their generator writes', () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-dashboards-'));
    try {
      execFileSync(process.execPath, [join(ROOT, 'deploy/grafana/generate.mjs'), directory]);
      expect([DASHBOARDS.length, EVERY.length]).toEqual([6, 8]);
      for (const file of EVERY) {
        const name = file.slice(file.lastIndexOf('/') + 1);
        expect(JSON.parse(read(file)), name).toEqual(JSON.parse(readFileSync(join(directory, name), 'utf8')));
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  test('say a healthy node is ready to the probe of its container', () => {
    const probe = (...words: string[]): string =>
      execFileSync(process.execPath, [join(ROOT, 'deploy/docker/healthy.mjs'), ...words], {
        env: { ...process.env, MILLRACE_DATA_DIR: node.directory },
        encoding: 'utf8',
      });
    expect(probe()).toBe('');
    expect(probe('store', 'registry', 'postgres')).toBe('');
    expect(() =>
      execFileSync(process.execPath, [join(ROOT, 'deploy/docker/healthy.mjs')], {
        env: { MILLRACE_DATA_DIR: '/nowhere' },
        stdio: 'pipe',
      }),
    ).toThrow(/ENOENT/);
  });
});
