import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { missing, ROOT, read } from './tools.ts';

const without = missing('systemd-analyze', ['systemd-analyze', '--version']);
const UNITS = ['millrace.service', 'millrace@.service'];
/** Exposure by `systemd-analyze security`, of 10; 1.7 when it was written. */
const EXPOSURE_MAX = 2.5;

const unit = (name: string): string => read(`deploy/systemd/${name}`);
const settingOf = (text: string, key: string): string | undefined => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1];

describe('the units of systemd', () => {
  test.each(UNITS)('%s tells Millrace alone to end, and gives it time to', (name) => {
    // PostgreSQL that is told too takes no connection for what is still to be written.
    expect(settingOf(unit(name), 'KillMode')).toBe('mixed');
    expect(Number(settingOf(unit(name), 'TimeoutStopSec'))).toBeGreaterThan(10 + 10);
    expect(settingOf(unit(name), 'User')).toBe('millrace');
  });

  test('take the same away from both', () => {
    const [one = '', other = ''] = UNITS.map((name) => unit(name).split('# What it may not.')[1]);
    expect(one.length).toBeGreaterThan(300);
    expect(other).toBe(one);
  });

  describe.skipIf(without !== null)(`as systemd reads them${without === null ? '' : ` (${without})`}`, () => {
    test.each([...UNITS, 'millrace-coap@.socket'])('%s has no mistake', (name) => {
      const directory = mkdtempSync(join(tmpdir(), 'millrace-units-'));
      try {
        const instance = name.replace('@.', '@ingest-1.');
        // Node may be elsewhere on this machine.
        writeFileSync(join(directory, instance), unit(name).replaceAll('/usr/bin/node', process.execPath));
        for (const other of ['millrace@.service', 'millrace-coap@.socket'])
          copyFileSync(join(ROOT, 'deploy/systemd', other), join(directory, other));
        const { status, stderr } = spawnSync('systemd-analyze', ['verify', `./${instance}`], {
          cwd: directory,
          encoding: 'utf8',
          env: { ...process.env, SYSTEMD_UNIT_PATH: `${directory}:` },
        });
        expect(
          stderr.split('\n').filter((line) => line.includes('millrace') && !line.includes('/usr/bin/node')),
        ).toEqual([]);
        expect(status).toBe(0);
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });

    test.each(UNITS)('%s exposes little', (name) => {
      const { stdout } = spawnSync(
        'systemd-analyze',
        [
          'security',
          '--offline=true',
          `--threshold=${EXPOSURE_MAX * 10}`,
          '--no-pager',
          join(ROOT, 'deploy/systemd', name),
        ],
        { encoding: 'utf8' },
      );
      const exposure = Number(/Overall exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
      expect(exposure).toBeLessThanOrEqual(EXPOSURE_MAX);
    });
  });
});
