import { createLogger, createMetrics, type DeadLetter } from '@millrace/core';
import { createControlPlane } from '@millrace/registry';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ADMIN, Asker, type ControlPlane, type Node, startControlPlane } from '../control/plane.ts';
import { eventually } from '../millrace.ts';
import { letterStore, recordingIntake } from './letter-store.ts';

describe('dead letters', () => {
  let plane: ControlPlane;
  let node: Node;
  let world: ReturnType<typeof letterStore>;
  let intake: ReturnType<typeof recordingIntake>;
  let stranger: Asker;
  let admin: Asker;
  let owner: Asker;
  let org: string;
  let channel: string;
  let thing: string;
  let people = 0;

  beforeAll(async () => {
    plane = await startControlPlane();
    node = await plane.node();
    world = letterStore();
    intake = recordingIntake();
    const handler = createControlPlane({
      registry: node.registry,
      gate: node.gate,
      store: world.store,
      intake,
      selfRegister: true,
      version: '1.2.3',
      metrics: createMetrics(),
      logger: createLogger({ level: 'silent' }),
    });
    stranger = new Asker(handler);
    admin = await stranger.asUser(ADMIN.email, ADMIN.password);
  }, 120_000);
  afterAll(() => plane?.dispose(), 60_000);

  // An organisation, a channel and a thing of its own for each test.
  beforeEach(async () => {
    world.letters.length = 0;
    world.fates.clear();
    intake.appended.length = 0;
    intake.fail(null);
    owner = await stranger.newUser(`owner-${people++}@example.org`);
    org = (await owner.call('GET', '/users/me')).body.orgs[0].id;
    channel = (await owner.call('POST', '/channels', { name: 'hall' })).body.id;
    thing = (await owner.call('POST', '/things', { name: 'sensor' })).body.id;
  }, 60_000);

  const add = (more: Partial<DeadLetter> = {}): DeadLetter => world.add({ org, channel, publisher: thing, ...more });
  const idsOf = async (query: string, asker = owner): Promise<string[]> => {
    const { status, body } = await asker.call('GET', `/dead-letters?${query}`);
    expect(status, JSON.stringify(body)).toBe(200);
    return body.dead_letters.map((letter: { id: string }) => letter.id);
  };

  test('are listed while nothing was done about them, and pages follow each other whatever is closed meanwhile', async () => {
    const letters = Array.from({ length: 25 }, () => add().message).reverse();
    expect(await idsOf('limit=100')).toEqual(letters);
    await owner.call('POST', '/dead-letters/discard', { ids: letters.slice(3, 9) });
    const open = [...letters.slice(0, 3), ...letters.slice(9)];
    expect(await idsOf('limit=100')).toEqual(open);
    const seen: string[] = [];
    let cursor = '';
    for (let pages = 0; pages < 10; pages++) {
      const { body } = await owner.call('GET', `/dead-letters?limit=4${cursor === '' ? '' : `&cursor=${cursor}`}`);
      seen.push(...body.dead_letters.map((letter: { id: string }) => letter.id));
      if (pages === 1) await owner.call('POST', '/dead-letters/discard', { ids: [seen[0]] });
      cursor = body.cursor ?? '';
      if (cursor === '') break;
    }
    expect(seen).toEqual(open);
    expect(await idsOf('limit=3&offset=2')).toEqual(open.slice(3, 6));
    // The newest first, in pages of their own.
    const discarded = [letters[0], ...letters.slice(3, 9)];
    const first = (await owner.call('GET', '/dead-letters?state=discarded&limit=4')).body;
    expect(first.dead_letters.map((letter: { id: string }) => letter.id)).toEqual(discarded.slice(0, 4));
    expect(first.dead_letters[0]).toMatchObject({ state: 'discarded', state_by: expect.stringContaining('owner-') });
    expect(await idsOf(`state=discarded&limit=4&cursor=${first.cursor}`)).toEqual(discarded.slice(4));
    expect(await idsOf('state=all&limit=100')).toEqual(letters);
    for (const wrong of ['cursor=x', 'state=discarded&cursor=W10', 'state=some', 'limit=0', 'from=never'])
      expect((await owner.call('GET', `/dead-letters?${wrong}`)).status, wrong).toBe(wrong === 'cursor=x' ? 200 : 400);
  }, 60_000);

  test('are found by channel, publisher, reason, message and time', async () => {
    const [a, b] = [add({ reason: 'no_value', index: 7 }), add({ publisher: 'other' })];
    expect(await idsOf('reason=no_value')).toEqual([`${a.message}.7`]);
    expect(await idsOf('publisher=other')).toEqual([b.message]);
    expect(await idsOf(`message=${a.message}`)).toEqual([`${a.message}.7`]);
    expect(await idsOf(`channel=${channel}&from=${Number(b.receivedUs) / 1e6}`)).toEqual([b.message]);
    await owner.call('POST', '/dead-letters/discard', { filter: {} });
    expect(await idsOf('state=discarded&reason=no_value')).toEqual([`${a.message}.7`]);
    expect(await idsOf('state=discarded&publisher=other')).toEqual([b.message]);
    expect(await idsOf(`state=discarded&to=${Number(b.receivedUs) / 1e6}`)).toEqual([`${a.message}.7`]);
  });

  test('can be looked at: the place where JSON breaks off, bytes as base64 or hex', async () => {
    const broken = add({ payload: Buffer.from('{"a": 1,\n "b": }') });
    const { body } = await owner.call('GET', `/dead-letters/${broken.message}`);
    expect(body).toMatchObject({ reason: 'malformed_json', state: 'open', json_error: { line: 2, column: 7 } });
    expect(body.advice).toContain('replay it edited');
    const hex = await owner.call('GET', `/dead-letters/${broken.message}?encoding=hex`);
    expect([hex.body.encoding, hex.body.payload]).toEqual(['hex', Buffer.from('{"a": 1,\n "b": }').toString('hex')]);
    const large = add({ payload: Buffer.from('é'.repeat(5_000)) });
    const [listed] = (await owner.call('GET', `/dead-letters?message=${large.message}`)).body.dead_letters;
    expect(listed).toMatchObject({ truncated: true, encoding: 'utf8', size: 10_000 });
    expect(listed.payload.length).toBeLessThan(2_049);
    expect((await owner.call('GET', `/dead-letters/${large.message}`)).body.payload).toBe('é'.repeat(5_000));
  });

  test('are replayed once, however often; edited, once more', async () => {
    const letter = add();
    const path = `/dead-letters/${letter.message}/replay`;
    const first = await owner.call('POST', path, {});
    expect([first.status, first.body.repeated]).toEqual([202, false]);
    expect(first.headers.get('location')).toBe(`/messages/${first.body.id}`);
    expect(intake.appended).toMatchObject([
      {
        id: first.body.id,
        org,
        channel,
        publisher: thing,
        contentType: 'application/json',
        timeUs: Number(letter.receivedUs),
      },
    ]);
    expect(Buffer.from(intake.appended[0]?.payload ?? [])).toEqual(letter.payload);
    const again = await Promise.all([1, 2, 3].map(() => owner.call('POST', path, {})));
    expect(again.map(({ status, body }) => [status, body])).toEqual(
      again.map(() => [200, { id: first.body.id, repeated: true }]),
    );
    const edited = await owner.call('POST', path, { payload: { number: 1 } });
    expect(edited.status).toBe(202);
    expect(intake.appended.map(({ payload }) => Buffer.from(payload).toString()).slice(1)).toEqual(['{"number":1}']);
    expect((await owner.call('GET', `/dead-letters/${letter.message}`)).body).toMatchObject({
      state: 'replayed',
      replays: [edited.body.id, first.body.id],
    });
    expect(await idsOf('')).toEqual([]);
    expect(await idsOf('state=replayed')).toEqual([letter.message]);
    // One that dies again names where it comes from.
    add({ message: first.body.id });
    expect((await owner.call('GET', `/dead-letters/${first.body.id}`)).body.replay_of).toBe(letter.message);
    const { entries } = (await owner.call('GET', '/audit?action=deadletters.replay')).body;
    expect(entries).toHaveLength(2);
  });

  test('that were cut short on the way to the log keep their message: same id, same key, or none at all', async () => {
    const letter = add();
    const path = `/dead-letters/${letter.message}/replay`;
    for (const how of ['before', 'after'] as const) {
      intake.fail(how);
      expect((await owner.call('POST', path, {})).status).toBe(503);
    }
    expect(await idsOf('')).toEqual([letter.message]);
    intake.fail(null);
    const done = await owner.call('POST', path, {});
    expect(done.status).toBe(202);
    const [one, two, ...more] = intake.appended.map(({ id, dedupKey }) => `${id} ${dedupKey}`);
    expect([one, more]).toEqual([two, []]);
    expect(intake.appended[0]?.id).toBe(done.body.id);

    // The message is stored already, and the node died before it could note that: nothing is put on the log again.
    const other = add();
    intake.fail('after');
    await owner.call('POST', `/dead-letters/${other.message}/replay`, {});
    intake.fail(null);
    const id = intake.appended.at(-1)?.id ?? '';
    world.fates.add(id);
    const count = intake.appended.length;
    expect((await owner.call('POST', `/dead-letters/${other.message}/replay`, {})).body.id).toBe(id);
    expect(intake.appended).toHaveLength(count);
    expect(await idsOf('state=replayed')).toEqual([other.message, letter.message]);
  });

  test('are replayed by a job, those that can be, and the others are told', async () => {
    const good = Array.from({ length: 130 }, () => add().message);
    const bad = add({ index: 2, payload: Buffer.from('5') });
    add({ reason: 'no_value' });
    const filter = { reason: 'malformed_json' };
    const dry = await owner.call('POST', '/dead-letters/replay', { filter, dry_run: true });
    expect([dry.status, dry.body]).toEqual([200, { matching: 131, more: false }]);
    const { status, body, headers } = await owner.call('POST', '/dead-letters/replay', { filter });
    expect([status, headers.get('location')]).toEqual([202, `/jobs/${body.id}`]);
    const job = await eventually('the job', 60_000, async () => {
      const found = (await owner.call('GET', `/jobs/${body.id}`)).body;
      return found.status === 'done' ? found : undefined;
    });
    expect(job).toMatchObject({ done: 131, failed: 1, result: { replayed: 130, failed: 1 } });
    expect(Object.keys(job.result.problems)[0]).toContain('nothing alone');
    expect(intake.appended).toHaveLength(130);
    expect(new Set(await idsOf('state=replayed&limit=1000'))).toEqual(new Set(good));
    expect(await idsOf('reason=malformed_json')).toEqual([`${bad.message}.2`]);
  }, 90_000);

  test('are not for strangers, viewers do not replay, and a policy can keep a channel from somebody', async () => {
    const letter = add();
    const email = `viewer-${people}@example.org`;
    const viewer = await stranger.newUser(email);
    const me = (await viewer.call('GET', '/users/me')).body.id;
    const paths = [
      ['GET', `/dead-letters/${letter.message}`],
      ['POST', `/dead-letters/${letter.message}/replay`],
    ] as const;
    for (const [method, path] of paths)
      expect((await viewer.call(method, path, method === 'POST' ? {} : undefined)).status).toBe(404);
    expect((await viewer.call('POST', '/dead-letters/discard', { ids: [letter.message] })).status).toBe(404);
    expect((await viewer.call('GET', `/dead-letters?org=${org}`)).status).toBe(404);

    await admin.call('PUT', `/orgs/${org}/members/${me}`, { role: 'viewer' });
    expect(await idsOf(`org=${org}`, viewer)).toEqual([letter.message]);
    expect((await viewer.call('POST', `/dead-letters/${letter.message}/replay`, {})).status).toBe(403);
    expect((await viewer.call('POST', `/dead-letters/replay?org=${org}`, { filter: {} })).status).toBe(403);
    expect((await viewer.call('POST', `/dead-letters/discard?org=${org}`, { filter: {} })).status).toBe(403);
    // Another's organisation that one is a member of does not bring its letters along.
    expect((await owner.call('POST', '/dead-letters/discard', { ids: [letter.message] })).body.discarded).toBe(1);

    await admin.call('PUT', `/orgs/${org}/members/${me}`, { role: 'editor' });
    const kept = add();
    const other = (await owner.call('POST', '/channels', { name: 'other' })).body.id;
    const theirs = add({ channel: other });
    const policy = await owner.call('POST', '/policies', {
      name: 'not the hall',
      statements: [{ effect: 'deny', actions: ['deadletters.*'], resources: [`channels/${channel}*`] }],
    });
    expect((await owner.call('PUT', `/policies/${policy.body.id}/attachments/user/${me}`)).status).toBeLessThan(300);
    expect(await idsOf(`org=${org}`, viewer)).toEqual([theirs.message]);
    expect((await viewer.call('POST', `/dead-letters/${kept.message}/replay`, {})).status).toBe(403);
    const discarded = await viewer.call('POST', `/dead-letters/discard?org=${org}`, { filter: {} });
    expect(discarded.body).toEqual({ discarded: 1, more: false });
    expect(await idsOf('')).toEqual([kept.message]);
  }, 60_000);

  test('what was forbidden gets in only when its publisher may publish there', async () => {
    const letter = add({ reason: 'forbidden' });
    const path = `/dead-letters/${letter.message}/replay`;
    expect((await owner.call('POST', path, {})).status).toBe(409);
    await owner.call('POST', '/connect', { channel_ids: [channel], thing_ids: [thing], types: ['publish'] });
    expect((await owner.call('POST', path, {})).status).toBe(202);
    expect(
      (
        await owner.call(
          'POST',
          `/dead-letters/${add({ reason: 'forbidden', publisher: 'nobody' }).message}/replay`,
          {},
        )
      ).status,
    ).toBe(409);
    // Where there is no channel that takes it, it stays what it is.
    await owner.call('PATCH', `/channels/${channel}`, { enabled: false });
    expect((await owner.call('POST', `/dead-letters/${add().message}/replay`, {})).status).toBe(409);
    await owner.call('DELETE', `/channels/${channel}?cascade=true`);
    const gone = await owner.call('POST', `/dead-letters/${add().message}/replay`, {});
    expect([gone.status, gone.body.detail]).toEqual([409, expect.stringContaining('channel is gone')]);
  });

  test('are edited by who may update their publisher, and in nobody else’s name', async () => {
    const editor = await stranger.newUser(`editor-${people++}@example.org`);
    const me = (await editor.call('GET', '/users/me')).body.id;
    await admin.call('PUT', `/orgs/${org}/members/${me}`, { role: 'editor' });
    const edit = async (letter: DeadLetter, body: object = { payload: { v: people } }): Promise<number> =>
      (await editor.call('POST', `/dead-letters/${letter.message}/replay`, body)).status;
    expect(await edit(add())).toBe(202);
    // What a network sent of no thing of ours, and what a thing said that is gone.
    expect(await edit(add({ publisher: 'eui-70b3d5', reason: 'unknown_device' }))).toBe(202);
    expect(await edit(add({ publisher: '01940000-0000-7000-8000-000000000000' }))).toBe(202);
    expect(await edit(add({ publisher: me }))).toBe(202);
    const { id } = (await owner.call('GET', '/users/me')).body;
    expect(await edit(add({ publisher: id }))).toBe(403);
    expect(await edit(add({ publisher: id }), {})).toBe(202);
    const statements = [{ effect: 'deny', actions: ['things.update'], resources: [`things/${thing}`] }];
    const policy = await owner.call('POST', '/policies', { name: 'not this one', statements });
    expect((await owner.call('PUT', `/policies/${policy.body.id}/attachments/user/${me}`)).status).toBeLessThan(300);
    intake.appended.length = 0;
    expect(await edit(add())).toBe(403);
    expect(intake.appended).toEqual([]);
    expect(await edit(add(), {})).toBe(202);
  });

  test('hostile ids, bodies and filters are refused, never a fault', async () => {
    const letter = add();
    const nil = '00000000-0000-0000-0000-000000000000';
    add({ message: nil });
    for (const id of ['x', '%00', `${letter.message}.99999999999`, `${letter.message}.5`, nil, '..', "'"]) {
      expect((await owner.call('GET', `/dead-letters/${id}`)).status, id).toBe(404);
      expect((await owner.call('POST', `/dead-letters/${id}/replay`, {})).status, id).toBe(404);
    }
    for (const body of [
      { payload: 'x'.repeat(10), encoding: 'hex' },
      { content_type: 'x\r\ny: z' },
      { more: 1 },
      [],
      5,
    ])
      expect((await owner.call('POST', `/dead-letters/${letter.message}/replay`, body)).status).toBe(422);
    for (const body of [
      {},
      { ids: [] },
      { ids: ['x'] },
      { ids: [letter.message], filter: {} },
      { filter: { reason: '\0' } },
    ])
      expect((await owner.call('POST', '/dead-letters/discard', body)).status, JSON.stringify(body)).toBe(422);
    expect(await idsOf('')).toContain(letter.message);
  });
});
