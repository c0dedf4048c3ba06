import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@millrace/sdk';
import { pack } from 'tar-stream';
import { afterAll, afterEach, expect, test } from 'vitest';
import { Output } from '../control/output.ts';
import type { Call } from '../control/specification.ts';
import { backUp } from './backup.ts';

const directory = mkdtempSync(join(tmpdir(), 'millrace-taken-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let server: Server | undefined;
afterEach(async () => {
  server?.closeAllConnections();
  server?.close();
  rmSync(join(directory, 'taken'), { recursive: true, force: true });
});

/** A server that answers with one entry of an archive, and goes on for as long as somebody listens.
 *  @returns resolves once nobody does */
async function serve(
  entry: Parameters<ReturnType<typeof pack>['entry']>[0],
): Promise<{ url: string; left: Promise<unknown> }> {
  server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const left = new Promise<void>((resolve) => {
    server?.on('request', (_request, response) => {
      const archive = pack();
      archive.entry(entry, entry.type === undefined ? 'x'.repeat(entry.size ?? 0) : undefined);
      response.once('close', () => resolve());
      archive.on('data', (bytes) => response.write(bytes));
    });
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, left };
}
const callTo = (url: string, target: string): Call =>
  ({
    words: [target],
    options: {},
    output: new Output({ json: true, wide: false }),
    client: async () => createClient({ url, token: 't' }),
    signal: new AbortController().signal,
  }) as unknown as Call;

test.each([
  ['leads out of the directory', { name: '../../outside', size: 3 }],
  ['is at the root', { name: '/tmp/outside', size: 3 }],
  ['is a link', { name: 'registry/users/000001.tsv.gz', type: 'symlink', linkname: '/etc/passwd' }],
  ['is no part of one', { name: 'registry/users/run.sh', size: 3 }],
] as const)(
  'what a server sends that %s is not written, and the server is left',
  async (_what, entry) => {
    const { url, left } = await serve({ ...entry });
    const target = join(directory, 'taken');
    await expect(backUp(callTo(url, target))).rejects.toThrow('no part of a backup');
    await left;
    expect(readdirSync(directory)).toEqual([]);
    expect(existsSync(join(directory, '..', 'outside'))).toBe(false);
  },
  30_000,
);

test('a backup goes to no file, and to no directory that holds something', async () => {
  writeFileSync(join(directory, 'taken'), '');
  await expect(backUp(callTo('http://127.0.0.1:1', join(directory, 'taken')))).rejects.toThrow('is there already');
  await expect(backUp(callTo('http://127.0.0.1:1', directory))).rejects.toThrow('is there already');
});
