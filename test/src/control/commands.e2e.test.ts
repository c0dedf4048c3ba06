import { type Command, type CommandKind, uuidV7 } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rows } from './access-world.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';
import { eventually } from './waiting.ts';

const READS: readonly CommandKind[] = ['lwm2m.read'];
const LEASE_MS = 60_000;
let plane: ControlPlane;
let node: Node;
let other: Node;
let admin: Asker;
let org: string;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  other = await plane.node();
  admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  org = (await admin.call('GET', '/users/me')).body.orgs[0].id;
}, 60_000);
afterAll(() => plane?.dispose());

const newThing = async (body: object = {}): Promise<string> => (await admin.call('POST', '/things', body)).body.id;
const newCommand = (thing: string, more: Partial<Command> = {}): Command => ({
  id: uuidV7(),
  org,
  thing,
  kind: 'lwm2m.read',
  arguments: { path: '/3303/0' },
  expiresMs: Date.now() + 3_600_000,
  ...more,
});
/** As if so much time had passed for what was taken. */
const lapse = (id: string) =>
  rows(plane, `UPDATE registry.commands SET lease_until = now() - interval '1 second' WHERE id = '${id}'`);

describe('a command', () => {
  test('is given to one node, oldest first, and only of the wanted kinds', async () => {
    const thing = await newThing();
    const [first, second] = [newCommand(thing), newCommand(thing)];
    const downlink = newCommand(thing, { kind: 'lora.downlink', arguments: { hex: 'ff' } });
    for (const command of [first, second, downlink]) expect(await node.registry.commands.put(command)).toBe(true);
    const taken = await other.registry.commands.take(thing, READS, LEASE_MS);
    expect(taken).toEqual([first, second]);
    expect(await node.registry.commands.take(thing, READS, LEASE_MS)).toEqual([]);
    expect(await node.registry.commands.takeAny(['lora.downlink'], LEASE_MS, 10)).toEqual([downlink]);
  });

  test('is told to the node that made it at once, and to others within a second', async () => {
    const thing = await newThing();
    const here: string[] = [];
    const there: string[] = [];
    const ends = [
      node.registry.commands.onQueued((id) => here.push(id)),
      other.registry.commands.onQueued((id) => there.push(id)),
    ];
    await node.registry.commands.put(newCommand(thing));
    expect(here).toEqual([thing]);
    await eventually(async () => there.includes(thing));
    for (const end of ends) end();
  });

  test('is made once, whoever makes it again', async () => {
    const command = newCommand(await newThing());
    const made = await Promise.all([node, other, node, other].map(({ registry }) => registry.commands.put(command)));
    expect(made.filter(Boolean)).toEqual([true]);
  });
  test('leases', async () => {
    const command = newCommand(await newThing());
    await node.registry.commands.put(command);
    expect(await node.registry.commands.take(command.thing, READS, LEASE_MS)).toHaveLength(1);
    await lapse(command.id);
    expect(await other.registry.commands.take(command.thing, READS, LEASE_MS)).toHaveLength(1);
    expect(await other.registry.commands.settle(command.id, { state: 'done', result: { values: [], x: '\0' } })).toBe(
      true,
    );
    expect(await node.registry.commands.settle(command.id, { state: 'failed' })).toBe(false);
    expect(await node.registry.commands.get(command.id)).toMatchObject({
      state: 'done',
      attempts: 2,
      result: { values: [], x: '\0' },
    });
  });
  test('lwm2m', async () => {
    const thing = await newThing({ external_id: 'urn:dev:1' });
    const { lwm2m } = node.registry;
    expect(await lwm2m.account('urn:dev:1')).toMatchObject({
      thing,
      endpoint: 'urn:dev:1',
      security: 'dtls',
      channel: null,
    });
    expect(await lwm2m.account(thing)).toMatchObject({ thing, endpoint: thing });
    expect(await lwm2m.accountOf(thing)).toMatchObject({ thing, endpoint: 'urn:dev:1' });
    const r = {
      location: 'abc',
      thing,
      org,
      endpoint: 'urn:dev:1',
      version: '1.1',
      binding: 'U',
      queueMode: true,
      lifetimeSeconds: 2 ** 32 - 1,
      objects: ['/1/0\0', '/3/0'],
      formats: [110, 11542],
      address: '1.2.3.4:5',
      node: 'n',
      secure: true,
      registeredMs: Date.now(),
      updatedMs: Date.now(),
      expiresMs: Date.now() + (2 ** 32 - 1) * 1000,
    };
    await lwm2m.register(r);
    await lwm2m.register({ ...r, location: 'def' });
    expect(await lwm2m.registration('abc')).toBeNull();
    expect(await lwm2m.registration('def')).toEqual({ ...r, location: 'def', objects: ['/1/0\ufffd', '/3/0'] });
    expect(await lwm2m.registrationOf(thing)).toMatchObject({ location: 'def' });
    await lwm2m.remove('def');
    expect(await lwm2m.registrationOf(thing)).toBeNull();
  });
});
