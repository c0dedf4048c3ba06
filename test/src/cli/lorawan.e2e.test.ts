import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Millrace } from '../millrace.ts';
import { Terminal } from './terminal.ts';

const SCRIPT = `function decodeUplink({ bytes, fPort, variables }) {
  if (bytes.length === 0) throw new Error('no bytes');
  return { data: { level: bytes[0], port: fPort, unit: variables.unit } };
}
function encodeDownlink({ data }) { return { bytes: [data.open ? 1 : 0] }; }`;

// Each command is a process of its own.
describe('the commands of LoRaWAN', { timeout: 180_000 }, () => {
  const millrace = new Millrace();
  const terminal = new Terminal(millrace);
  beforeAll(async () => {
    await millrace.start();
    await terminal.ok(['login', '--local']);
    writeFileSync(join(terminal.home, 'level.js'), SCRIPT);
    writeFileSync(join(terminal.home, 'password.txt'), 'of the broker\n');
  }, 120_000);
  afterAll(async () => {
    terminal.dispose();
    await millrace.dispose();
  }, 120_000);

  test('network servers: made by flags, changed in part, looked at, deleted', async () => {
    const made = await terminal.json<{ id: string; mqtt: object }>([
      ...['networkservers', 'create', '--name', 'harbour', '--kind', 'chirpstack-v4', '--disabled'],
      ...['--mqtt-url', 'mqtts://chirpstack.example.org', '--mqtt-username', 'millrace'],
      ...['--mqtt-password', '@password.txt', '--things-per-day', '7'],
    ]);
    expect(made).toMatchObject({
      name: 'harbour',
      enabled: false,
      mqtt: { url: 'mqtts://chirpstack.example.org', password_set: true },
      provisioning: { things_per_day_max: 7 },
    });
    const changed = await terminal.json(['networkservers', 'update', 'harbour', '--mqtt-password', 'none']);
    expect(changed).toMatchObject({ id: made.id, mqtt: { password_set: false, username: 'millrace' } });
    expect((await terminal.ok(['networkservers', 'list'])).stdout).toContain('mqtts://chirpstack.example.org');
    expect(await terminal.json(['networkservers', 'status', 'harbour'])).toMatchObject({ server: made.id });
    expect((await terminal.ok(['networkservers', 'status', 'harbour'])).stderr).toContain('things made today: 0');
    await terminal.ok(['networkservers', 'delete', 'harbour']);
    expect((await terminal.run(['networkservers', 'get', made.id])).code).toBe(4);
  });

  test('codecs: made of a file, tried, changed, deleted', async () => {
    const profiles = ['--device-profiles', 'level-v1,level-v2'];
    const made = await terminal.json<{ id: string; script: string }>([
      ...['codecs', 'create', '--name', 'level', '--kind', 'javascript', '--script', 'level.js', ...profiles],
    ]);
    expect(made).toMatchObject({ script: SCRIPT, device_profiles: ['level-v1', 'level-v2'] });
    const up = ['--bytes', '2a', '--port', '9', '--variable', 'unit=cm'];
    expect(await terminal.json(['codecs', 'test', 'level', ...up])).toMatchObject({
      data: { level: 42, port: 9, unit: 'cm' },
      errors: [],
    });
    const down = ['codecs', 'test', '--script', 'level.js', '--data', '{"open":true}'];
    expect(await terminal.json(down)).toMatchObject({ bytes: '01' });
    const failed = await terminal.run(['codecs', 'test', 'level', '--bytes', '']);
    expect([failed.code, failed.stderr]).toEqual([1, expect.stringContaining('no bytes')]);
    expect((await terminal.run(['codecs', 'test', '--bytes', '00'])).code).toBe(2);
    await terminal.ok(['things', 'create', '--name', 'tank', '--metadata', '{"lora":{"codec":"level"}}']);
    expect(await terminal.run(['codecs', 'delete', 'level'])).toMatchObject({ code: 5 });
    await terminal.ok(['codecs', 'delete', 'level', '--cascade', '--yes']);
    expect((await terminal.run(['codecs', 'get', made.id])).code).toBe(4);
  });
});
