import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Why no small disk can be made here, or null. */
export function whyNoSmallDisk(): string | null {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root';
  const probe = mkdtempSync(join(tmpdir(), 'millrace-disk-'));
  try {
    mountSmallDisk(probe, 1_024);
    unmountSmallDisk(probe);
    return null;
  } catch {
    return 'mount is not allowed';
  } finally {
    rmSync(probe, { recursive: true, force: true });
  }
}

/** @param at a directory */
export function mountSmallDisk(at: string, sizeKib: number): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${sizeKib}k,mode=700`, 'tmpfs', at], { stdio: 'ignore' });
}

export function unmountSmallDisk(at: string): void {
  execFileSync('umount', ['-l', at]);
}
