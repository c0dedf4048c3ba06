import { startChild } from './child.ts';
import { workDirectory } from './directory.ts';
import { treeMemory } from './memory.ts';
import type { Target } from './pack.ts';
import type { Road } from './product.ts';

/** Starts the bare road: see floors/bare-road/main.ts. */
export async function startBareRoad(targetCount: number, durability: 'commit' | 'fsync'): Promise<Road> {
  const targets: Target[] = Array.from({ length: targetCount }, (_, index) => ({
    channel: `channel-${index}`,
    key: `key-${index}-0123456789abcdef0123456789abcdef`,
  }));
  const directory = await workDirectory();
  const options = { targets, durability, directory: directory.path };
  const starting = startChild<{ url: string }>(import.meta.url, './floors/bare-road/main', options, 30_000);
  const child = await starting.catch(async (error: unknown) => {
    await directory.remove();
    throw error;
  });
  return {
    name: durability === 'commit' ? 'bare road' : 'bare road, fsync',
    url: child.message.url,
    targets,
    memory: () => treeMemory(child.pid, 'none'),
    stderr: child.stderr,
    async stop() {
      await child.stop();
      await directory.remove();
    },
  };
}
