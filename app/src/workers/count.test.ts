import { tmpdir } from 'node:os';
import { ConfigError } from '@millrace/core';
import { expect, test } from 'vitest';
import { loadConfig } from '../config.ts';

const count = (text: string): number => loadConfig({ MILLRACE_WORKERS: text }, tmpdir()).node.MILLRACE_WORKERS;

test('there are 0 to 64 workers, or one less than cores', () => {
  expect(loadConfig({}, tmpdir()).node.MILLRACE_WORKERS).toBe(0);
  expect(count('64')).toBe(64);
  expect(count('auto')).toBeGreaterThanOrEqual(1);
  for (const wrong of ['65', '-1', '1.5', 'many']) expect(() => count(wrong), wrong).toThrow(ConfigError);
});
