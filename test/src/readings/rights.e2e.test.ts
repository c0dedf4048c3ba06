import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Asker } from '../control/plane.ts';
import { type ReadingsWorld, startReadingsWorld } from './world.ts';

const T = Date.UTC(2026, 0, 5, 12) * 1_000;

interface Asked {
  readonly channels?: readonly string[];
  readonly subtopics?: readonly string[];
}
type Way = (who: Asker, asked: Asked, org?: string) => Promise<Got>;
/** Every way to ask: what it answers of readings, by the names that are in it. */
const WAYS: Readonly<Record<string, Way>> = {
  query: async (who, asked, org) =>
    namesOf(await who.raw('POST', `/readings/query?format=ndjson${inOrg(org)}`, JSON.stringify(asked), JSON_TYPE)),
  async get(who, asked, org) {
    const parameters = Object.entries(asked).map(([name, list]) => `&${name}=${list.join()}`);
    return namesOf(await who.raw('GET', `/readings?format=ndjson${parameters.join('')}${inOrg(org)}`));
  },
  latest: async (who, asked, org) =>
    namesOf(await who.raw('POST', `/readings/latest?format=ndjson${inOrg(org)}`, JSON.stringify(asked), JSON_TYPE)),
};
const inOrg = (org: string | undefined): string => (org === undefined ? '' : `&org=${org}`);
const JSON_TYPE = { 'content-type': 'application/json' };
interface Got {
  readonly status: number;
  readonly names: readonly string[];
  readonly leftOut: number;
}
async function namesOf(response: Response): Promise<Got> {
  const text = await response.text();
  const lines = response.status === 200 ? text.split('\n').filter((line) => line !== '') : [];
  const names = [...new Set(lines.map((line) => JSON.parse(line).name as string))].sort();
  return { status: response.status, names, leftOut: Number(response.headers.get('channels-left-out') ?? 0) };
}

describe('who may ask for readings', () => {
  let world: ReadingsWorld;
  const channels: Record<'hall' | 'attic' | 'closed', string> = { hall: '', attic: '', closed: '' };
  let sensor: { id: string; as: Asker };
  let app: { id: string; as: Asker };
  let foreign: { owner: Asker; channel: string };

  const thing = async (name: string) => {
    const { id, key } = await world.make('/things', { name });
    return { id, as: world.stranger.as(`Thing ${key}`) };
  };
  const member = async (role: object, email: string): Promise<{ id: string; as: Asker }> => {
    const as = await world.stranger.newUser(email);
    const { id } = (await as.call('GET', '/users/me')).body;
    const { status } = await world.administrator.call('PUT', `/orgs/${world.org}/members/${id}`, role);
    if (status >= 300) throw new Error(`membership: ${status}`);
    return { id, as };
  };

  beforeAll(async () => {
    world = await startReadingsWorld();
    for (const alias of ['hall', 'attic', 'closed'] as const)
      channels[alias] = (await world.make('/channels', { alias })).id;
    sensor = await thing('sensor');
    app = await thing('app');
    await world.owner.call('POST', '/connect', { channel_ids: [channels.hall], thing_ids: [sensor.id, app.id] });
    const other = await world.stranger.newUser('other@example.org');
    foreign = { owner: other, channel: (await other.call('POST', '/channels', { alias: 'hall' })).body.id };
    const from = (channel: string, name: string, subtopic = '') => ({
      channel,
      subtopic,
      publisher: sensor.id,
      readings: [{ name, timeUs: T, value: 1 }],
    });
    await world.write([
      from(channels.hall, 'in-hall'),
      from(channels.hall, 'secret', 'secret'),
      from(channels.attic, 'in-attic'),
      from(channels.closed, 'in-closed'),
      { ...from(foreign.channel, 'foreign'), org: 'another' },
    ]);
    await world.owner.call('POST', `/channels/${channels.closed}/disable`);
  });
  afterAll(() => world?.stop());

  test.each(Object.entries(WAYS))('%s: a thing reads what it is connected to, and no more', async (_, way) => {
    expect(await way(app.as, {})).toEqual({ status: 200, names: ['in-hall', 'secret'], leftOut: 0 });
    expect(await way(app.as, { channels: ['hall'] })).toMatchObject({ status: 200, names: ['in-hall', 'secret'] });
    expect(await way(app.as, { channels: ['attic'] })).toMatchObject({ status: 403 });
    expect(await way(app.as, { channels: [channels.hall, channels.attic] })).toMatchObject({ status: 403 });
    expect(await way(app.as, { channels: [foreign.channel] })).toMatchObject({ status: 404 });
    expect(await way(app.as, { channels: [channels.closed] })).toMatchObject({ status: 403 });
  });

  test.each(Object.entries(WAYS))(
    '%s: a member reads all of the organisation, a disabled channel too',
    async (_, way) => {
      expect(await way(world.owner, {})).toEqual({
        status: 200,
        names: ['in-attic', 'in-closed', 'in-hall', 'secret'],
        leftOut: 0,
      });
      expect(await way(world.owner, { channels: ['attic', channels.closed] })).toMatchObject({
        names: ['in-attic', 'in-closed'],
      });
      expect(await way(world.owner, { channels: [foreign.channel] })).toMatchObject({ status: 404 });
      expect(await way(world.owner, { channels: ['nowhere'] })).toMatchObject({ status: 404 });
      expect(await way(world.stranger, {})).toMatchObject({ status: 401 });
      // Their own alias, not ours.
      expect(await way(foreign.owner, { channels: ['hall'] })).toMatchObject({ status: 200, names: [] });
      expect(await way(foreign.owner, { channels: [channels.hall] })).toMatchObject({ status: 404 });
    },
  );

  test.each(Object.entries(WAYS))('%s: what a policy denies is left out, and said', async (kind, way) => {
    const { id, as } = await member({ role: 'viewer' }, `${kind}@example.org`);
    const ask = (asked: Asked) => way(as, asked, world.org);
    expect(await ask({ channels: [channels.hall] })).toMatchObject({ names: ['in-hall', 'secret'] });
    const deny = (resource: string) => ({ effect: 'deny', actions: ['subscribe'], resources: [resource] });
    const { id: policy } = await world.make('/policies', {
      name: `no secrets ${kind}`,
      statements: [deny(`channels/${channels.hall}/messages/secret`), deny(`channels/${channels.closed}/messages*`)],
    });
    await world.owner.call('PUT', `/policies/${policy}/attachments/user/${id}`);
    expect(await ask({ channels: [channels.hall] })).toMatchObject({ status: 403 });
    expect(await ask({ channels: [channels.hall], subtopics: [''] })).toMatchObject({
      status: 200,
      names: ['in-hall'],
    });
    expect(await ask({ channels: [channels.hall], subtopics: ['', 'secret'] })).toMatchObject({ status: 403 });
    expect(await ask({ channels: [channels.closed] })).toMatchObject({ status: 403 });
    expect(await ask({})).toMatchObject({ names: ['in-attic'], leftOut: 1 });
  });

  test.each(Object.entries(WAYS))(
    '%s: a key carries what it is for, and a group what lies in it',
    async (kind, way) => {
      const { id: group } = await world.make('/groups', { name: `group ${kind}` });
      const { id: inGroup } = await world.make('/channels', { alias: `grouped-${kind}`, group_id: group });
      await world.write([{ channel: inGroup, readings: [{ name: 'in-group', timeUs: T, value: 1 }] }]);
      const { secret } = await world.make('/keys', {
        name: kind,
        grants: [{ actions: ['subscribe'], resources: [`channels/${channels.attic}/messages*`] }],
      });
      const byKey = world.stranger.as(`Bearer ${secret}`);
      expect(await way(byKey, {})).toMatchObject({ status: 200, names: ['in-attic'] });
      expect(await way(byKey, { channels: [channels.hall] })).toMatchObject({ status: 403 });
      const { id: nothing } = await world.make('/roles', { name: `guest ${kind}`, actions: ['orgs.read'] });
      const { id, as } = await member({ role_id: nothing }, `grouped-${kind}@example.org`);
      expect(await way(as, { channels: [inGroup] }, world.org)).toMatchObject({ status: 403 });
      expect(await way(as, {}, world.org)).toMatchObject({ status: 200, names: [] });
      await world.owner.call('PUT', `/groups/${group}/roles/${id}`, { role: 'viewer' });
      expect(await way(as, {}, world.org)).toMatchObject({ status: 200, names: ['in-group'] });
      expect(await way(as, { channels: [inGroup] }, world.org)).toMatchObject({ names: ['in-group'] });
      expect(await way(as, { channels: ['hall'] }, world.org)).toMatchObject({ status: 403 });
    },
  );

  test('what one question has judged is bounded: channels times subtopics, of its own and of all', async () => {
    const subtopics = Array.from({ length: 1_000 }, (_, index) => `s/${index}`);
    const many = Array.from({ length: 11 }, (_, index) => `channel-${index}`);
    const ask = async (body: object) =>
      namesOf(await world.owner.raw('POST', '/readings/query?format=ndjson', JSON.stringify(body), JSON_TYPE));
    expect(await ask({ channels: many, subtopics })).toMatchObject({ status: 422 });
    const some = subtopics.slice(0, 100);
    expect(await ask({ channels: ['hall'], subtopics: some })).toMatchObject({ status: 200, names: [] });
    expect(await ask({ subtopics: some })).toMatchObject({ status: 200, names: [] });
  });

  test('nothing is read while the organisation is frozen, and all again afterwards', async () => {
    const ways = Object.values(WAYS);
    expect((await world.administrator.call('POST', `/orgs/${world.org}/freeze`)).status).toBe(200);
    for (const way of ways) {
      expect((await way(world.owner, {})).status).toBe(403);
      expect((await way(world.owner, { channels: [channels.hall] })).status).toBe(403);
    }
    expect((await world.administrator.call('POST', `/orgs/${world.org}/unfreeze`)).status).toBe(200);
    for (const way of ways) expect((await way(world.owner, { channels: ['hall'] })).status).toBe(200);
  });

  test('a selector finds things by what they are; publishers give no rights', async () => {
    const { id } = await world.make('/things', { metadata: { floor: 7, '$"?': ["'"] }, tags: ['x'] });
    await world.write([
      { channel: channels.attic, publisher: id, readings: [{ name: 'on-seven', timeUs: T, value: 1 }] },
    ]);
    const ask = async (who: Asker, body: object) =>
      namesOf(await who.raw('POST', '/readings/query?format=ndjson', JSON.stringify(body), JSON_TYPE));
    expect(await ask(world.owner, { selector: { metadata: { floor: 7 } } })).toMatchObject({ names: ['on-seven'] });
    expect(await ask(world.owner, { selector: { metadata: { '$"?': ["'"] }, tags: ['x'] } })).toMatchObject({
      names: ['on-seven'],
    });
    expect(await ask(world.owner, { selector: { metadata: { floor: 8 } } })).toMatchObject({ status: 200, names: [] });
    expect(await ask(app.as, { selector: { metadata: { floor: 7 } } })).toMatchObject({ status: 403 });
    expect(await ask(app.as, { publishers: [id] })).toMatchObject({ status: 200, names: [] });
    const latest = async (who: Asker) => namesOf(await who.raw('GET', `/things/${id}/latest?format=ndjson`));
    expect(await latest(world.owner)).toMatchObject({ status: 200, names: ['on-seven'] });
    expect(await latest(app.as)).toMatchObject({ status: 200, names: [] });
    expect(await latest(foreign.owner)).toMatchObject({ status: 404 });
  });
});
