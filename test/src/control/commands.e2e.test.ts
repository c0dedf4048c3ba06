import { type Command, type CommandKind, type CommandOutcome, uuidV7 } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { addMemberWith, idOf, made, orgOf, rows } from './access-world.ts';
import { leaves, secretsInAudit } from './audited.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';
import { eventually } from './waiting.ts';

const READS: readonly CommandKind[] = ['lwm2m.read'];
const LEASE_MS = 60_000;
const PATIENT = { timeout: 60_000 };
let plane: ControlPlane;
let node: Node;
let other: Node;
let admin: Asker;
let org: string;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node({ MILLRACE_COMMANDS_PER_THING_MAX: 8, MILLRACE_COMMANDS_KEPT_PER_THING_MAX: 12 });
  other = await plane.node({ MILLRACE_COMMANDS_PER_THING_MAX: 8 });
  admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
  org = await orgOf(admin);
}, 60_000);
afterAll(() => plane?.dispose(), 60_000);

const newThing = async (body: object = {}): Promise<string> => (await made(admin, '/things', body)).id;
const newCommand = (thing: string, more: Partial<Command> = {}): Command => ({
  id: uuidV7(),
  org,
  thing,
  kind: 'lwm2m.read',
  arguments: { path: '/3303/0' },
  expiresMs: Date.now() + 3_600_000,
  ...more,
});
const queued = async (thing: string, more: Partial<Command> = {}): Promise<Command> => {
  const command = newCommand(thing, more);
  expect(await node.registry.commands.put(command)).toBe(true);
  return command;
};
/** As if the time of what was taken, or of all of it, were over. */
const lapsed = (id: string, column: 'lease_until' | 'expires_at' | 'settled_at', ago = '1 second') =>
  rows(plane, `UPDATE registry.commands SET ${column} = now() - interval '${ago}' WHERE id = '${id}'`);
const stateOf = async (id: string): Promise<string | undefined> => (await node.registry.commands.get(id))?.state;

describe('what waits for a thing', () => {
  test('is given to one node, oldest first, and only what it can carry out', async () => {
    const thing = await newThing();
    const first = await queued(thing);
    const second = await queued(thing);
    const downlink = await queued(thing, { kind: 'lora.downlink', arguments: { hex: 'ff' } });
    expect(await other.registry.commands.take(thing, READS, LEASE_MS)).toEqual([first, second]);
    expect(await node.registry.commands.take(thing, READS, LEASE_MS)).toEqual([]);
    expect(await stateOf(first.id)).toBe('sent');
    expect(await stateOf(downlink.id)).toBe('queued');
    expect(await node.registry.commands.takeAny(['lora.downlink'], LEASE_MS, 10)).toEqual([downlink]);
  });

  test('is given in pieces to who wants no more at a time', async () => {
    const thing = await newThing();
    const first = await queued(thing);
    const second = await queued(thing);
    expect(await node.registry.commands.take(thing, READS, LEASE_MS, 1)).toEqual([first]);
    expect(await node.registry.commands.take(thing, READS, LEASE_MS, 1)).toEqual([second]);
  });

  test('is given of each organisation in turn, so that a flood of one leaves room for the others', async () => {
    const flooding = await newThing();
    for (let count = 0; count < 6; count++) await queued(flooding, { kind: 'lora.downlink', arguments: { hex: 'ff' } });
    const stranger = await node.stranger.newUser(`neighbour-${uuidV7()}@example.org`);
    const theirs = await made(stranger, '/orgs', { name: 'Neighbours' });
    const thing = (await made(stranger, `/things?org=${theirs.id}`, {})).id;
    const late = await queued(thing, { org: theirs.id, kind: 'lora.downlink', arguments: { hex: '00' } });
    const take = (except: string[]) =>
      node.registry.commands.takeAny(['lora.downlink'], LEASE_MS, 4, { perOrgMax: 3, except });
    const taken = await take([]);
    expect(taken.filter((command) => command.org === org)).toHaveLength(3);
    expect(taken).toContainEqual(late);
    expect(await take([org]), 'what is served already').toEqual([]);
    expect((await take([])).map((command) => command.thing)).toEqual(Array(3).fill(flooding));
  });

  test('is given once, however many nodes ask at the same time', PATIENT, async () => {
    const things = await Promise.all(Array.from({ length: 10 }, () => newThing()));
    const wanted: string[] = [];
    for (const thing of things) for (let count = 0; count < 5; count++) wanted.push((await queued(thing)).id);
    const asked = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? node : other).registry.commands);
    const taken = await Promise.all(
      asked.map((commands, index) =>
        index < 10
          ? commands.takeAny(READS, LEASE_MS, 7)
          : Promise.all(things.map((thing) => commands.take(thing, READS, LEASE_MS))).then((all) => all.flat()),
      ),
    );
    const ids = taken.flat().map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    // One that was held by somebody else's look is left out: it waits for the next.
    for (const thing of things)
      ids.push(...(await node.registry.commands.take(thing, READS, LEASE_MS)).map(({ id }) => id));
    expect(ids.toSorted()).toEqual(wanted.toSorted());
  });

  test('is told at once where it was made, and within a second elsewhere', async () => {
    const thing = await newThing();
    const here: string[] = [];
    const there: string[] = [];
    const ends = [
      node.registry.commands.onQueued((id) => here.push(id)),
      other.registry.commands.onQueued((id) => there.push(id)),
    ];
    await queued(thing);
    expect(here).toEqual([thing]);
    await eventually(() => there.includes(thing));
    for (const end of ends) end();
  });

  test('cuts no session of its thing, and lets nothing be asked anew', async () => {
    const { id, key } = await made(admin, '/things', {});
    const identified = await node.gate.identify({ kind: 'key', key });
    if (identified.kind !== 'known') throw new Error('the key is good');
    await queued(id);
    expect(identified.principal.revoked).toBe(false);
    expect(await node.gate.identify({ kind: 'key', key })).toEqual(identified);
  });

  test('is made once, whoever makes it again', async () => {
    const command = newCommand(await newThing());
    const nodes = [node, other, node, other];
    const answers = await Promise.all(nodes.map(({ registry }) => registry.commands.put(command)));
    expect(answers.filter(Boolean)).toEqual([true]);
  });

  test('is limited, also when it comes all at once, and what is sent makes room', async () => {
    const thing = await newThing();
    const tried = await Promise.allSettled(
      Array.from({ length: 12 }, (_, index) =>
        (index % 2 === 0 ? node : other).registry.commands.put(newCommand(thing)),
      ),
    );
    const full = tried.filter((each) => each.status === 'rejected');
    expect(full.map(({ reason }) => reason.code)).toEqual(Array(4).fill('REGISTRY_FULL'));
    const [first] = await node.registry.commands.take(thing, READS, LEASE_MS);
    await expect(node.registry.commands.put(newCommand(thing))).rejects.toMatchObject({ code: 'REGISTRY_FULL' });
    // Sent is enough: of some nobody ever hears again.
    await node.registry.commands.settle(first?.id ?? '', { state: 'sent' });
    expect(await node.registry.commands.put(newCommand(thing))).toBe(true);
    await expect(node.registry.commands.put(newCommand(thing))).rejects.toMatchObject({ code: 'REGISTRY_FULL' });
  });

  test('may be nested as deeply, and expire as late, as anybody says: it is refused, or kept', async () => {
    const thing = await newThing();
    const deep = { object: JSON.parse(`${'['.repeat(100_000)}${']'.repeat(100_000)}`) };
    await expect(node.registry.commands.put(newCommand(thing, { arguments: deep }))).rejects.toMatchObject({
      code: 'REGISTRY_INVALID',
    });
    for (const expiresMs of [Number.POSITIVE_INFINITY, 1e300]) {
      const { id } = await queued(thing, { expiresMs });
      expect((await node.registry.commands.get(id))?.expiresAt.getUTCFullYear()).toBe(9999);
    }
  });

  test('may not be larger than 64 KiB, and must be of a thing of the organisation', async () => {
    const thing = await newThing();
    const large = newCommand(thing, { arguments: { path: '/5/0/0', value: 'x'.repeat(65_536) } });
    await expect(node.registry.commands.put(large)).rejects.toMatchObject({ code: 'REGISTRY_INVALID' });
    for (const wrong of [newCommand(uuidV7()), newCommand(thing, { org: uuidV7() })])
      await expect(node.registry.commands.put(wrong)).rejects.toMatchObject({ code: 'REGISTRY_NOT_FOUND' });
  });

  test('waits on while its thing or organisation is kept out', async () => {
    const thing = await newThing();
    const command = await queued(thing);
    await admin.call('POST', `/things/${thing}/disable`);
    expect(await node.registry.commands.take(thing, READS, LEASE_MS)).toEqual([]);
    await admin.call('POST', `/things/${thing}/enable`);
    await admin.call('POST', `/orgs/${org}/freeze`);
    expect(await node.registry.commands.take(thing, READS, LEASE_MS)).toEqual([]);
    await admin.call('POST', `/orgs/${org}/unfreeze`);
    expect(await node.registry.commands.take(thing, READS, LEASE_MS)).toEqual([command]);
  });

  test('goes with its thing', async () => {
    const command = await queued(await newThing());
    expect((await admin.call('DELETE', `/things/${command.thing}`)).status).toBe(204);
    expect(await node.registry.commands.get(command.id)).toBeNull();
    expect(await node.registry.commands.settle(command.id, { state: 'done' })).toBe(false);
  });
});

describe('who has taken a command', () => {
  test('and dies, leaves it to another as soon as the lease is over', PATIENT, async () => {
    const dying = await plane.node();
    const command = await queued(await newThing());
    expect(await dying.registry.commands.take(command.thing, READS, 1_500)).toEqual([command]);
    expect(await node.registry.commands.take(command.thing, READS, LEASE_MS)).toEqual([]);
    await dying.stop();
    const taken: Command[] = [];
    await eventually(async () => {
      taken.push(...(await node.registry.commands.take(command.thing, READS, LEASE_MS)));
      return taken.length > 0;
    });
    expect(taken).toEqual([command]);
    expect(await node.registry.commands.settle(command.id, { state: 'done' })).toBe(true);
    expect(await node.registry.commands.get(command.id)).toMatchObject({ state: 'done', attempts: 2 });
  });

  test('says once what became of it: what is final stays', async () => {
    const command = await queued(await newThing());
    await node.registry.commands.take(command.thing, READS, LEASE_MS);
    const result = { code: '2.05', values: [{ path: '/3303/0/5700', value: 'a\0b\ud800' }] };
    expect(await other.registry.commands.settle(command.id, { state: 'done', result })).toBe(true);
    expect(await node.registry.commands.settle(command.id, { state: 'failed', detail: 'late' })).toBe(false);
    expect(await node.registry.commands.get(command.id)).toMatchObject({ state: 'done', result, detail: null });
    expect(await node.registry.commands.settle('nothing', { state: 'done' })).toBe(false);
  });

  test('by what a network server says can only settle what is of the thing that spoke', async () => {
    const thing = await newThing();
    const { id } = await queued(thing);
    const stranger = await newThing();
    expect(await node.registry.commands.settle(id, { state: 'done' }, stranger)).toBe(false);
    expect(await stateOf(id)).toBe('queued');
    expect(await node.registry.commands.settle(id, { state: 'done' }, thing)).toBe(true);
  });

  test('keeps it once it is sent, and what was acknowledged is never merely sent again', async () => {
    const command = await queued(await newThing());
    await node.registry.commands.take(command.thing, READS, 1);
    for (const state of ['sent', 'acknowledged', 'sent'] as const)
      expect(await node.registry.commands.settle(command.id, { state })).toBe(true);
    expect(await stateOf(command.id)).toBe('acknowledged');
    expect(await other.registry.commands.take(command.thing, READS, LEASE_MS)).toEqual([]);
  });

  test('may tell anything: what is too large is thrown away, what can not be kept is replaced', async () => {
    const outcomes: readonly [CommandOutcome, object][] = [
      [
        { state: 'done', result: 'x'.repeat(65_536) },
        { state: 'done', result: null, detail: expect.stringContaining('64 KiB') },
      ],
      [
        { state: 'failed', detail: `\0${'x'.repeat(5_000)}` },
        { state: 'failed', detail: expect.stringMatching(/^\ufffdx{1000,}$/) },
      ],
    ];
    for (const [outcome, kept] of outcomes) {
      const { id } = await queued(await newThing());
      expect(await node.registry.commands.settle(id, outcome)).toBe(true);
      expect(await node.registry.commands.get(id)).toMatchObject(kept);
    }
  });
});

describe('time', () => {
  test('ends what nobody has begun, and lets end what was', PATIENT, async () => {
    const thing = await newThing();
    const waiting = await queued(thing);
    const [held, sent] = [await queued(await newThing()), await queued(await newThing())];
    for (const each of [held, sent]) await node.registry.commands.take(each.thing, READS, LEASE_MS);
    await node.registry.commands.settle(sent.id, { state: 'sent' });
    for (const { id } of [waiting, held, sent]) await lapsed(id, 'expires_at');
    expect(await node.registry.commands.take(thing, READS, LEASE_MS)).toEqual([]);
    await eventually(async () => (await stateOf(waiting.id)) === 'expired');
    expect(await stateOf(held.id)).toBe('sent');
    expect(await stateOf(sent.id)).toBe('sent');
    await lapsed(held.id, 'lease_until');
    await lapsed(sent.id, 'expires_at', '6 minutes');
    await eventually(async () => (await stateOf(held.id)) === 'expired' && (await stateOf(sent.id)) === 'expired');
    expect(await node.registry.commands.settle(sent.id, { state: 'done' })).toBe(false);
  });

  test('forgets what ended first of a thing that is given ever more', PATIENT, async () => {
    const thing = await newThing();
    const { id: goesOn } = await queued(thing);
    const ended: string[] = [];
    for (let count = 0; count < 20; count++) {
      const { id } = await queued(thing);
      await node.registry.commands.settle(id, { state: 'done' });
      ended.push(id);
    }
    const kept = await rows(plane, `SELECT id FROM registry.commands WHERE thing = '${thing}' ORDER BY created_at, id`);
    // The last one ended after the others were counted.
    expect(kept.map(({ id }) => id)).toEqual([goesOn, ...ended.slice(-13)]);
  });

  test('forgets what ended a week ago', PATIENT, async () => {
    const [old, young] = [await queued(await newThing()), await queued(await newThing())];
    for (const { id } of [old, young]) await node.registry.commands.settle(id, { state: 'done' });
    await lapsed(old.id, 'settled_at', '8 days');
    await lapsed(young.id, 'settled_at', '6 days');
    await eventually(async () => (await node.registry.commands.get(old.id)) === null);
    expect(await stateOf(young.id)).toBe('done');
  });
});

describe('people', () => {
  const downlink = { kind: 'lora.downlink', arguments: { f_port: 7, hex: 'c0ffee' } };

  test('give commands, see what becomes of them, and find who gave them in the audit', async () => {
    const thing = await newThing();
    const left = await leaves(plane, node, async () => {
      const given = await admin.call('POST', `/things/${thing}/commands`, { ...downlink, expires_in: 60 });
      expect(given.status).toBe(202);
      expect(given.headers.get('location')).toBe(`/commands/${given.body.id}`);
      expect(given.body).toMatchObject({
        thing_id: thing,
        state: 'queued',
        actor: { kind: 'user', name: ADMIN.email },
      });
      expect(Date.parse(given.body.expires_at) - Date.parse(given.body.created_at)).toBeLessThanOrEqual(65_000);
      await other.registry.commands.take(thing, ['lora.downlink'], LEASE_MS);
      await other.registry.commands.settle(given.body.id, { state: 'acknowledged', result: { f_cnt: 7 } });
      const { body } = await admin.call('GET', `/commands/${given.body.id}`);
      expect(body).toMatchObject({ state: 'acknowledged', attempts: 1, result: { f_cnt: 7 }, settled_at: null });
    });
    expect(left).toMatchObject([{ action: 'commands.create', detail: { thing, kind: 'lora.downlink' } }]);
    expect(await secretsInAudit(plane, ['c0ffee'])).toEqual([]);
    const kept = await rows(plane, `SELECT commands::text AS text FROM registry.commands WHERE thing = '${thing}'`);
    expect(kept[0]?.text).not.toMatch(/c0ffee|f_cnt/);
  });

  test('list them by state and kind, a page at a time', async () => {
    const thing = await newThing();
    for (let count = 0; count < 3; count++) await admin.call('POST', `/things/${thing}/commands`, downlink);
    await queued(thing);
    const path = `/things/${thing}/commands`;
    const all = await admin.call('GET', path);
    expect(all.body).toMatchObject({ total: 4, offset: 0, limit: 10 });
    expect(all.body.commands.map(({ kind }: { kind: string }) => kind)[0]).toBe('lwm2m.read');
    expect((await admin.call('GET', `${path}?kind=lora.downlink`)).body.total).toBe(3);
    await admin.call('DELETE', `/commands/${all.body.commands[0].id}`);
    expect((await admin.call('GET', `${path}?state=open`)).body.total).toBe(3);
    expect((await admin.call('GET', `${path}?state=cancelled,done`)).body.total).toBe(1);
    expect((await admin.call('GET', `${path}?state=lost`)).status).toBe(400);
    const first = await admin.call('GET', `${path}?limit=3`);
    const second = await admin.call('GET', `${path}?limit=3&cursor=${first.body.cursor}`);
    expect([...first.body.commands, ...second.body.commands]).toHaveLength(4);
    expect(second.body.cursor).toBeUndefined();
  });

  test('are given a hundred at most at once, and refused a cursor of another list', async () => {
    const thing = await newThing();
    const list = (query: string) => admin.call('GET', `/things/${thing}/commands?${query}`);
    expect((await list('limit=1000')).body).toMatchObject({ total: 0, limit: 100 });
    for (const order of ['name', 'updated', 'id']) {
      const cursor = Buffer.from(JSON.stringify([order, 'desc', '1', thing])).toString('base64url');
      expect((await list(`cursor=${cursor}`)).status, order).toBe(400);
    }
  });

  test('cancel what nobody has begun, and nothing else', async () => {
    const thing = await newThing();
    const { id } = (await admin.call('POST', `/things/${thing}/commands`, downlink)).body;
    const left = await leaves(plane, node, async () => {
      expect((await admin.call('DELETE', `/commands/${id}`)).status).toBe(204);
    });
    expect(left).toMatchObject([{ action: 'commands.cancel', entity_id: id }]);
    expect(await stateOf(id)).toBe('cancelled');
    expect((await admin.call('DELETE', `/commands/${id}`)).status).toBe(409);
    const begun = await queued(thing);
    await other.registry.commands.take(thing, READS, LEASE_MS);
    expect((await admin.call('DELETE', `/commands/${begun.id}`)).status).toBe(409);
    await lapsed(begun.id, 'lease_until');
    expect((await admin.call('DELETE', `/commands/${begun.id}`)).status).toBe(204);
  });

  test('are told what is wrong with a command', async () => {
    const thing = await newThing();
    const wrong: readonly [unknown, string][] = [
      [{ kind: 'lora.uplink', arguments: {} }, 'kind'],
      [{ kind: 'lora.downlink', arguments: { hex: 'abc' } }, 'arguments.hex'],
      [{ kind: 'lora.downlink', arguments: { hex: 'ab', data: 'qw==' } }, 'one of data, hex and object'],
      [{ kind: 'lora.downlink', arguments: { hex: 'ab', port: 1 } }, 'arguments.port: unknown field'],
      [{ ...downlink, expires_in: 31 * 86_400 }, 'expires_in'],
      [{ ...downlink, priority: 1 }, 'priority: unknown field'],
    ];
    for (const [body, told] of wrong) {
      const answered = await admin.call('POST', `/things/${thing}/commands`, body);
      expect([answered.status, answered.body.detail]).toEqual([422, expect.stringContaining(told)]);
    }
    for (let count = 0; count < 8; count++) await admin.call('POST', `/things/${thing}/commands`, downlink);
    expect((await admin.call('POST', `/things/${thing}/commands`, downlink)).status).toBe(409);
  });
});

describe('rights', () => {
  const given = { kind: 'lora.downlink', arguments: { hex: 'facade' } };

  test('are those on the thing: others of the organisation learn no more than their role lets them', async () => {
    const group = (await made(admin, '/groups', { name: 'yard' })).id;
    const inside = await newThing({ group_id: group });
    const outside = await newThing();
    const viewer = await node.stranger.newUser('viewer@example.org');
    await admin.call('PUT', `/orgs/${org}/members/${await idOf(viewer)}`, { role: 'viewer' });
    const foreman = await node.stranger.newUser('foreman@example.org');
    await addMemberWith(plane, org, await idOf(foreman), ['orgs.read']);
    await admin.call('PUT', `/groups/${group}/roles/${await idOf(foreman)}`, { role: 'editor' });
    const as = (asker: Asker) => asker.with({}).call.bind(asker);

    expect((await as(viewer)('POST', `/things/${inside}/commands`, given)).status).toBe(403);
    const { body: command } = await as(foreman)('POST', `/things/${inside}/commands`, given);
    expect(command.arguments).toEqual({ hex: 'facade' });
    expect((await as(foreman)('POST', `/things/${outside}/commands`, given)).status).toBe(403);
    // What is written may be a secret: who may not write is not shown it.
    expect((await as(viewer)('GET', `/commands/${command.id}`)).body.arguments).toEqual({});
    expect((await as(viewer)('GET', `/things/${inside}/commands`)).body.commands[0].arguments).toEqual({});
    expect((await as(viewer)('DELETE', `/commands/${command.id}`)).status).toBe(403);
    expect((await as(foreman)('DELETE', `/commands/${command.id}`)).status).toBe(204);
  });

  test('of an API key are those of its grants', async () => {
    const [mine, others] = [await newThing(), await newThing()];
    const grants = [{ actions: ['commands.create', 'commands.read'], resources: [`things/${mine}`] }];
    const { secret } = await made(admin, '/keys', { name: 'gate', grants });
    const script = node.stranger.as(`Bearer ${secret}`);
    const { status, body } = await script.call('POST', `/things/${mine}/commands`, given);
    expect(status).toBe(202);
    expect((await script.call('GET', `/commands/${body.id}`)).status).toBe(200);
    expect((await script.call('DELETE', `/commands/${body.id}`)).status).toBe(403);
    expect((await script.call('POST', `/things/${others}/commands`, given)).status).toBe(403);
  });

  test('strangers have none, and learn nothing', async () => {
    const thing = await newThing();
    const { id } = (await admin.call('POST', `/things/${thing}/commands`, given)).body;
    const stranger = await node.stranger.newUser('stranger@example.org');
    const own = (await made(stranger, '/things', {})).id;
    const asked: readonly [string, string, unknown?][] = [
      ['POST', `/things/${thing}/commands`, given],
      ['GET', `/things/${thing}/commands`],
      ['GET', `/commands/${id}`],
      ['DELETE', `/commands/${id}`],
      ['POST', `/things/${thing}/lwm2m/read`, { path: '/3/0' }],
      ['GET', `/commands/${uuidV7()}`],
      ['GET', '/commands/nothing'],
    ];
    for (const [method, path, body] of asked)
      expect([path, (await stranger.call(method, path, body)).status]).toEqual([path, 404]);
    expect((await stranger.call('GET', `/things/${own}/commands`)).body.total).toBe(0);
    expect((await node.stranger.call('GET', `/commands/${id}`)).status).toBe(401);
    expect(await stateOf(id)).toBe('queued');
  });

  test('are worth nothing while the organisation is frozen', async () => {
    const thing = await newThing();
    await admin.call('POST', `/orgs/${org}/freeze`);
    expect((await admin.call('POST', `/things/${thing}/commands`, given)).status).toBe(409);
    await admin.call('POST', `/orgs/${org}/unfreeze`);
    expect((await admin.call('POST', `/things/${thing}/commands`, given)).status).toBe(202);
  });
});
