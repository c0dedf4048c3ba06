import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { Millrace, newPublisher, Rest } from '../millrace.ts';
import { publish } from '../publishing.ts';
import { expectStoredOnce } from '../stored.ts';

describe('a restore beside the log that is still there', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-keep-log-'));
  const millrace = new Millrace();
  afterAll(async () => {
    await millrace.dispose();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  test('stores what came after the backup, too, and everything once', { timeout: 240_000 }, async () => {
    await millrace.start();
    const publisher = await newPublisher(await Rest.asAdmin(millrace), 'kept');
    const names = Array.from({ length: 100 }, (_, index) => `message-${index}`);
    const [before, after] = [names.slice(0, 50), names.slice(50)];
    for (const name of before) expect((await publish(publisher, name)).status).toBe(202);
    const backup = join(directory, 'backup');
    const taken = await millrace.command(['backup', '--local', backup]);
    expect(taken.code, taken.stderr).toBe(0);
    for (const name of after) expect((await publish(publisher, name)).status).toBe(202);
    await expectStoredOnce(publisher.rest, publisher.channel, names);
    expect(await millrace.end()).toBe(0);

    // Both databases are lost.
    const location = join(millrace.directory, 'postgres', 'location');
    if (existsSync(location)) rmSync(readFileSync(location, 'utf8').trim(), { recursive: true });
    for (const lost of ['postgres', 'clickhouse']) rmSync(join(millrace.directory, lost), { recursive: true });
    const refused = await millrace.command(['restore', backup]);
    expect([refused.code, refused.stderr.includes('--keep-log')], refused.stderr).toEqual([5, true]);
    const restored = await millrace.command(['restore', backup, '--keep-log']);
    expect(restored.code, restored.stderr).toBe(0);

    await millrace.start();
    const reader = new Rest(millrace.url, `Thing ${publisher.key}`);
    await expectStoredOnce(reader, publisher.channel, names, 'after the restore', 120_000);
  });

  test('refuses a log that is another one', { timeout: 120_000 }, async () => {
    const secret = readFileSync(join(millrace.directory, 'secret'), 'utf8').trim();
    const place = new Millrace({ MILLRACE_SECRET: secret });
    try {
      const { code, stderr } = await place.command(['restore', join(directory, 'backup'), '--keep-log']);
      expect([code, stderr.includes('not the log that the backup was taken beside')], stderr).toEqual([5, true]);
    } finally {
      await place.dispose();
    }
  });
});
