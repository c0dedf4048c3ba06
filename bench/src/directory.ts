import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Names the process too, so that what others measure at the same time is told apart. */
export const WORK_PREFIX = `millrace-bench-${process.pid}-`;

/** A fresh directory for one measurement, removed by whoever made it, after the process that used it has ended. */
export interface WorkDirectory {
  readonly path: string;
  remove(): Promise<void>;
}

export async function workDirectory(): Promise<WorkDirectory> {
  const path = await mkdtemp(join(tmpdir(), WORK_PREFIX));
  // As root, PostgreSQL runs as another user, who must reach its files in here.
  await chmod(path, 0o711);
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}
