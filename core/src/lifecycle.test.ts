import { describe, expect, test } from 'vitest';
import { MillraceError } from './errors.ts';
import { Assembly, type Component } from './lifecycle.ts';

function part(name: string, seen: string[], options: { fails?: unknown; drainMs?: number } = {}): Component<string> {
  return {
    name,
    async start() {
      if (options.fails !== undefined) throw options.fails;
      seen.push(`start ${name}`);
      return {
        value: name,
        async drain() {
          await new Promise((resolve) => setTimeout(resolve, options.drainMs ?? 0).unref());
          seen.push(`drain ${name}`);
        },
        async stop() {
          seen.push(`stop ${name}`);
        },
      };
    },
  };
}

describe('assembly', () => {
  test('starts back to front, drains and stops front to back', async () => {
    const seen: string[] = [];
    const assembly = new Assembly();
    expect(await assembly.start(part('log', seen))).toBe('log');
    await assembly.start(part('http', seen));
    await assembly.drain(1_000);
    await assembly.stop();
    expect(seen).toEqual(['start log', 'start http', 'drain http', 'drain log', 'stop http', 'stop log']);
  });

  test('rolls back what had started when a start fails, and says which component it was', async () => {
    const seen: string[] = [];
    const assembly = new Assembly();
    await assembly.start(part('log', seen));
    const failing = assembly.startTogether([
      part('store', seen),
      part('registry', seen, { fails: new Error('no disk') }),
    ]);
    await expect(failing).rejects.toMatchObject({ code: 'START_FAILED', facts: { component: 'registry' } });
    expect(seen).toEqual(['start log', 'start store', 'stop store', 'stop log']);
  });

  test("keeps a room's own error as it is", async () => {
    const error = new MillraceError('LOG_FULL', 'later');
    await expect(new Assembly().start(part('log', [], { fails: error }))).rejects.toBe(error);
  });

  test('gives up a drain at the deadline and goes on with the next', async () => {
    const seen: string[] = [];
    const assembly = new Assembly();
    await assembly.start(part('log', seen));
    await assembly.start(part('http', seen, { drainMs: 60_000 }));
    await assembly.drain(50);
    expect(seen).toContain('drain log');
    expect(seen).not.toContain('drain http');
  });
});
