import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Millrace } from '../millrace.ts';
import { Terminal } from './terminal.ts';

interface Command {
  readonly id: string;
  readonly state: string;
  readonly arguments: unknown;
}

// Each command is a process of its own.
describe('the commands for devices', { timeout: 180_000 }, () => {
  const millrace = new Millrace();
  const terminal = new Terminal(millrace);
  beforeAll(async () => {
    await millrace.start();
    await terminal.ok(['login', '--local']);
    await terminal.ok(['things', 'create', '--name', 'valve']);
  }, 120_000);
  afterAll(async () => {
    terminal.dispose();
    await millrace.dispose();
  }, 120_000);

  test('commands: sent, listed, looked at, cancelled', async () => {
    const send = (hex: string) =>
      terminal.json<Command>([
        ...['commands', 'send', 'valve', '--kind', 'lora.downlink', '--expires', '1h'],
        ...['--arguments', JSON.stringify({ f_port: 10, hex })],
      ]);
    const [first, second] = [await send('01'), await send('02')];
    expect(await terminal.json(['commands', 'get', first.id])).toMatchObject({ arguments: { f_port: 10, hex: '01' } });
    await terminal.ok(['commands', 'cancel', second.id]);
    expect(await terminal.json(['commands', 'get', second.id, '--wait'])).toMatchObject({ state: 'cancelled' });
    expect((await terminal.run(['commands', 'cancel', second.id])).code).toBe(5);
    const open = await terminal.json<{ commands: Command[] }>(['commands', 'list', 'valve', '--state', 'cancelled']);
    expect(open.commands.map(({ id }) => id)).toEqual([second.id]);
    expect((await terminal.ok(['commands', 'list', 'valve', '--all'])).stdout).toContain(first.id);
    expect((await terminal.run(['commands', 'send', 'valve'])).code).toBe(2);
  });

  test('LwM2M: an account, and what is wanted of a device that sleeps', async () => {
    expect((await terminal.run(['lwm2m', 'read', 'valve', '/3/0'])).code).toBe(4);
    const account = ['lwm2m', 'set-account', 'valve', '--endpoint', 'valve-7'];
    expect(await terminal.json([...account, '--observe', '[{"path":"/3303/0/5700"}]'])).toMatchObject({
      endpoint: 'valve-7',
      security: 'dtls',
    });
    expect((await terminal.ok(['lwm2m', 'account', 'valve'])).stdout).toContain('valve-7');
    const write = (...more: string[]) =>
      terminal.json<Command>(['lwm2m', 'write', 'valve', ...more, '--wait', '0']).then(({ arguments: given }) => given);
    expect(await write('/3308/0/5900', '21.5')).toEqual({ path: '/3308/0/5900', value: 21.5 });
    expect(await write('/3/0/15', '21', '--text')).toEqual({ path: '/3/0/15', value: '21' });
    expect(await write('/1/0', '--values', '{"1":60}', '--mode', 'update')).toEqual({
      path: '/1/0',
      values: { 1: 60 },
      mode: 'update',
    });
    const slept = await terminal.ok(['lwm2m', 'execute', 'valve', '/3/0/4', '--wait', '1s']);
    expect(slept.stderr).toMatch(/has not answered yet: millrace commands get [0-9a-f-]{36} --wait/);
    expect(await terminal.json(['lwm2m', 'cancel', 'valve', '--wait', '0'])).toMatchObject({ kind: 'lwm2m.cancel' });
    expect((await terminal.run(['lwm2m', 'read', 'valve', '/3/0', '--wait', '2m'])).code).toBe(2);
    expect((await terminal.ok(['lwm2m', 'list'])).stderr).toContain('There are none.');
    expect((await terminal.run(['lwm2m', 'get', 'valve'])).code).toBe(4);
    await terminal.ok(['lwm2m', 'delete-account', 'valve']);
    expect((await terminal.run(['lwm2m', 'account', 'valve'])).code).toBe(4);
  });
});
