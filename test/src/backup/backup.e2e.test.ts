import { cpSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { filterText } from '../bridge/clients/mqtt-topic.ts';
import { RawMqtt, textOf } from '../bridge/clients/raw-mqtt.ts';
import { seeded } from '../crash.ts';
import { eventually, Millrace, type Ran, Rest } from '../millrace.ts';
import { expectStoredOnce } from '../stored.ts';
import { killedRestore } from './killed-restore.ts';
import { compared, manifestOf, tablesOf } from './tables.ts';
import { BLOB, makeWorld, PERSON, SESSION, type World } from './world.ts';

/** What is said to differ: what a restore turns to the new log, and what the questions of the test leave behind. */
const DIFFERENT: Readonly<Record<string, readonly string[]>> = {
  mqtt_sessions: ['state', 'updated_at', 'node', 'expires_at'],
  retained: ['partition'],
};
const OF_ASKING = ['audit', 'changes', 'refresh_tokens'];
const MANY = 400;

describe('a backup', () => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-backups-'));
  const first = join(directory, 'first');
  const source = new Millrace();
  const target = new Millrace();
  let world: World;

  /** Restores into a new place that is thrown away. */
  const tried = async (backup: string, environment: Record<string, string> = {}): Promise<Ran> => {
    const place = new Millrace(environment);
    try {
      return await place.command(['restore', backup]);
    } finally {
      await place.dispose();
    }
  };
  const secret = (): string => readFileSync(join(source.directory, 'secret'), 'utf8').trim();

  beforeAll(async () => {
    await source.start();
    world = await makeWorld(source);
    const ran = await source.command(['backup', '--local', first]);
    expect(ran.code, ran.stderr).toBe(0);
    expect(ran.stderr).toContain('The secret is not in it');
  }, 120_000);
  afterAll(async () => {
    await source.dispose();
    await target.dispose();
    rmSync(directory, { recursive: true, force: true });
  }, 120_000);

  test('is for its owner alone, holds no secret, and no key in the clear', () => {
    expect(statSync(first).mode & 0o777).toBe(0o700);
    const manifest = manifestOf(first);
    for (const { path } of manifest.files) expect(statSync(join(first, path)).mode & 0o777, path).toBe(0o600);
    const all = JSON.stringify([...tablesOf(first)]) + readFileSync(join(first, 'manifest.json'), 'utf8');
    for (const kept of [secret(), world.device.key, PERSON.password]) expect(all.includes(kept)).toBe(false);
  });

  test('is for administrators of the installation alone, and is written down in the audit', {
    timeout: 60_000,
  }, async () => {
    const stranger = new Rest(source.url, '');
    expect((await stranger.raw('POST', '/backups')).status).toBe(401);
    const { token } = await stranger.json<{ token: string }>('POST', '/tokens', PERSON);
    for (const who of [`Bearer ${token}`, `Thing ${world.device.key}`])
      expect((await stranger.as(who).raw('POST', '/backups')).status).toBe(403);
    const admin = await Rest.asAdmin(source);
    const { entries } = await admin.json<{ entries: { action: string }[] }>('GET', '/audit?action=backups.take');
    expect(entries).toHaveLength(1);
  });

  test('ends when nobody takes it, and lets the next one begin', { timeout: 90_000 }, async () => {
    const admin = await Rest.asAdmin(source);
    const leaving = new AbortController();
    const begun = await fetch(`${source.url}/backups`, {
      method: 'POST',
      headers: { authorization: admin.authorization },
      signal: leaving.signal,
    });
    expect(begun.status).toBe(200);
    leaving.abort();
    const again = await eventually('the next one may begin', 60_000, async () => {
      const answer = await admin.raw('POST', '/backups');
      const bytes = await answer.arrayBuffer();
      return answer.status === 200 && bytes.byteLength > 0;
    });
    expect(again).toBe(true);
    // Who leaves is no fault of ours.
    expect(source.stderr).not.toContain('a backup broke off');
  });

  test('that is damaged, cut short, of another secret or of a newer program is refused before anything is written', {
    timeout: 240_000,
  }, async () => {
    const copy = (name: string): string => {
      cpSync(first, join(directory, name), { recursive: true });
      return join(directory, name);
    };
    const settings = { MILLRACE_SECRET: secret() };
    const { path } = manifestOf(first).files.at(-1) as { path: string };

    const damaged = copy('damaged');
    const bytes = readFileSync(join(damaged, path));
    bytes[bytes.length - 9] = (bytes.at(-9) ?? 0) ^ 1;
    writeFileSync(join(damaged, path), bytes);
    const truncated = copy('truncated');
    truncateSync(join(truncated, path), 10);
    const unfinished = copy('unfinished');
    rmSync(join(unfinished, 'manifest.json'));
    const archive = join(directory, 'archive.tar');
    writeFileSync(archive, 'of tar');
    const newer = copy('newer');
    writeFileSync(join(newer, 'manifest.json'), JSON.stringify({ format: 99, program: '9.9.9' }));
    const odd = copy('odd');
    const manifest = JSON.parse(readFileSync(join(odd, 'manifest.json'), 'utf8')) as { files: { path: string }[] };
    (manifest.files[0] as { path: string }).path = '../../../etc/passwd';
    writeFileSync(join(odd, 'manifest.json'), JSON.stringify(manifest));

    for (const [backup, environment, told] of [
      [damaged, settings, `${path}: is not what was written`],
      [truncated, settings, `${path}: has 10 bytes`],
      [unfinished, settings, 'there is no manifest.json'],
      [archive, settings, 'is a file: a restore reads a directory'],
      [join(directory, 'nowhere'), settings, 'There is no '],
      [newer, settings, 'millrace 9.9.9 or newer'],
      [odd, settings, 'is damaged: files.0.path'],
      [first, { MILLRACE_SECRET: 'ab'.repeat(32) }, 'is not that of the installation'],
      [first, {}, 'The secret is not in the backup, and none is configured'],
    ] as const) {
      const { code, stderr } = await tried(backup, environment);
      expect([code, stderr.includes(told)], stderr).toEqual([1, true]);
    }
    const whole = await source.command(['restore', first, '--check']);
    expect([whole.code, whole.stderr.includes('The backup is whole')]).toEqual([0, true]);
  });

  test('fills an empty installation row by row; people, devices and readings are what they were', {
    timeout: 240_000,
  }, async () => {
    writeFileSync(join(target.directory, 'secret'), `${secret()}\n`, { mode: 0o600 });
    const restored = await target.command(['restore', first]);
    expect(restored.code, restored.stderr).toBe(0);
    await target.start();

    const { token } = await new Rest(target.url, '').json<{ token: string }>('POST', '/tokens', PERSON);
    expect(token).toBeTruthy();
    const device = new Rest(target.url, `Thing ${world.device.key}`);
    const fate = await device.json<{ log: object; readings: number }>('GET', `/messages/${world.messages.readings}`);
    expect(fate).toMatchObject({ readings: 6, log: { partition: expect.any(Number) } });
    const payload = await device.raw('GET', `/messages/${world.messages.blob}/payload`);
    expect(new Uint8Array(await payload.arrayBuffer())).toEqual(BLOB);
    const old = await device.json<{ messages: { name: string }[] }>('GET', `/channels/${world.channel}/messages`);
    expect(old.messages.map(({ name }) => name)).toContain('meter/data');

    cpSync(join(source.directory, 'admin-password'), join(target.directory, 'admin-password'));
    const second = join(directory, 'second');
    const ran = await target.command(['backup', '--local', second]);
    expect(ran.code, ran.stderr).toBe(0);
    const [was, is] = [tablesOf(first), tablesOf(second)];
    expect([...is.keys()].sort()).toEqual([...was.keys()].sort());
    for (const [table, rows] of was) {
      if (OF_ASKING.includes(table)) {
        const there = new Set(compared(is.get(table) ?? []));
        const missing = compared(rows).filter((row) => !there.has(row));
        // A refresh token is used up by who comes back.
        if (table !== 'refresh_tokens') expect(missing, table).toEqual([]);
      } else expect(compared(is.get(table) ?? [], DIFFERENT[table]), table).toEqual(compared(rows, DIFFERENT[table]));
    }
    for (const table of ['things', 'users', 'readings', 'messages', 'dead_letters', 'issued_certificates', 'retained'])
      expect(was.get(table)?.length, table).toBeGreaterThan(0);
    const again = await tried(second, { MILLRACE_SECRET: secret(), MILLRACE_DATA_DIR: target.directory });
    expect(again.stderr).toContain('is in use by process');
  });

  test('leaves the session of a client that is away, and what is retained until something newer comes', {
    timeout: 60_000,
  }, async () => {
    const publisher = await RawMqtt.connect(target, world.device);
    const topic = filterText({ channel: world.channel, subtopic: 'state' });
    await publisher.client.subscribe([[topic, 1]]);
    await publisher.client.until('what is retained', () => publisher.client.messages.length === 1);
    expect(publisher.client.messages.map(textOf)).toEqual(['kept']);
    await publisher.client.publish(topic, 'newer', 1, true);
    await publisher.client.disconnect();

    const { client, present } = await RawMqtt.connect(target, world.device, SESSION);
    expect(present).toBe(true);
    await client.until('what came after the restore', () => client.messages.map(textOf).includes('newer'));
    await client.disconnect();
    const late = await RawMqtt.connect(target, world.device);
    await late.client.subscribe([[topic, 1]]);
    await late.client.until('what is retained now', () => late.client.messages.length === 1);
    expect(late.client.messages.map(textOf)).toEqual(['newer']);
    await late.client.disconnect();
  });

  test('takes nothing from the log that begins anew: more than was there is stored once, through kill -9', {
    timeout: 240_000,
  }, async () => {
    const random = seeded(7);
    const names: string[] = [];
    for (let index = 0; index < MANY; index++) {
      const name = `again-${index}`;
      const response = await new Rest(target.url, `Thing ${world.device.key}`)
        .raw('POST', `/channels/${world.channel}/messages`, JSON.stringify([{ n: name, v: index }]), {
          'content-type': 'application/senml+json',
        })
        .catch(() => null);
      if (response?.status === 202) names.push(name);
      await response?.arrayBuffer();
      if (index % 150 === 149 || random() < 0.002) {
        expect(await target.end('SIGKILL')).toBe('SIGKILL');
        await target.start();
      }
    }
    expect(names.length).toBeGreaterThan(MANY / 2);
    const device = new Rest(target.url, `Thing ${world.device.key}`);
    await expectStoredOnce(device, world.channel, names, 'after a restore', 120_000);
    const fate = await device.json<{ readings: number }>('GET', `/messages/${world.messages.readings}`);
    expect(fate.readings).toBe(6);
  });

  test('is refused where something is already', { timeout: 120_000 }, async () => {
    expect(await target.end()).toBe(0);
    const full = await target.command(['restore', first]);
    expect([full.code, full.stderr.includes('The installation is not empty')], full.stderr).toEqual([5, true]);
    expect(full.stderr).toMatch(/users: \d.*readings: \d/);
  });

  test('is known to be cut short when its restore was killed: no node starts there, and it can be done again', {
    timeout: 240_000,
  }, async () => {
    const place = new Millrace({ MILLRACE_SECRET: secret() });
    try {
      await killedRestore(place, first);
      place.launch();
      expect(await place.ended()).not.toBe(0);
      expect(place.stderr).toContain('run millrace restore again');
      const { code, stderr } = await place.command(['restore', first]);
      expect(code, stderr).toBe(0);
      await place.start();
      const device = new Rest(place.url, `Thing ${world.device.key}`);
      const { messages } = await device.json<{ messages: object[] }>('GET', `/channels/${world.channel}/messages`);
      expect(messages.length).toBe(tablesOf(first).get('readings')?.length);
    } finally {
      await place.dispose();
    }
  });
});
