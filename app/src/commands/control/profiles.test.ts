import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { localNode } from './profiles.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'millrace-profiles-'));
  mkdirSync(join(directory, 'run'));
  writeFileSync(join(directory, 'admin-password'), 'secret\n');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const nodeAt = (http: string) => {
  writeFileSync(join(directory, 'run', 'ready.json'), JSON.stringify({ http }));
  return localNode(directory)?.url ?? null;
};

describe('the node of a data directory', () => {
  test('is known by its listener on this machine', () => {
    expect(nodeAt('http://127.0.0.1:8080')).toBe('http://127.0.0.1:8080');
    expect(nodeAt('http://0.0.0.0:8080')).toBe('http://127.0.0.1:8080');
    expect(nodeAt('http://[::]:8080')).toBe('http://[::1]:8080');
    expect(nodeAt('http://localhost:8080')).toBe('http://localhost:8080');
  });

  test('is never on another machine: a directory that came from elsewhere could name its author’s', () => {
    for (const http of [
      'http://198.51.100.7:8080',
      'https://evil.example',
      'http://127.0.0.1.evil.example',
      'nonsense',
    ])
      expect(nodeAt(http), http).toBeNull();
  });
});
