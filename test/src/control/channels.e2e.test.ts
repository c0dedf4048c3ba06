import { Protocol } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';
import { eventually } from './waiting.ts';

let plane: ControlPlane;
let node: Node;
let other: Node;
let admin: Asker;

beforeAll(async () => {
  plane = await startControlPlane();
  node = await plane.node();
  other = await plane.node();
  admin = await node.stranger.asUser(ADMIN.email, ADMIN.password);
}, 60_000);
afterAll(() => plane?.dispose());

const make = async (what: 'things' | 'channels', body: object = {}) =>
  (await admin.call('POST', `/${what}`, body)).body;
/** The gate's word on a publish. */
async function mayPublish(at: Node, key: string, channel: string): Promise<string> {
  const identified = await at.gate.identify({ kind: 'key', key });
  if (identified.kind === 'refused') return identified.reason;
  const { principal } = identified;
  const admission = await at.gate.may(principal, 'publish', channel, '', {
    protocol: Protocol.http,
    remoteAddress: '192.0.2.1',
    tls: false,
    mutualTls: false,
    nowMs: Date.now(),
  });
  // A change came in between: as every caller does, ask anew who it is.
  if (principal.revoked) return mayPublish(at, key, channel);
  return admission.kind === 'allow' ? 'allow' : admission.reason;
}

describe('a channel', () => {
  const profile = {
    time_field: 'data.at',
    time_format: 'ms',
    fields: ['temperature', 'env/*'],
    keep_raw: true,
    retention_days: 30,
  };
  const limits = { messages_per_second: 2.5, payload_bytes_max: 1_024 };

  test('keeps its profile and limits, and the data plane is told of a change at once', async () => {
    const made = await admin.call('POST', '/channels', { name: 'p', alias: 'profiled', profile, limits });
    expect(made.status).toBe(201);
    expect(made.body).toMatchObject({ profile, limits, alias: 'profiled', version: 1 });
    const told: string[][] = [];
    const stop = node.registry.directory.onChange(({ entity, voids }) => {
      if (entity === 'channel') told.push([...voids]);
    });
    const record = await node.registry.directory.channel(made.body.id, null);
    expect(record?.profile).toEqual({
      timeField: 'data.at',
      timeFormat: 'ms',
      fields: ['temperature', 'env/*'],
      keepRaw: true,
      retentionDays: 30,
    });
    expect(record?.limits).toEqual({ messagesPerSecond: 2.5, payloadBytesMax: 1_024 });
    const path = `/channels/${made.body.id}`;
    const patched = await admin.call('PATCH', path, { profile: { keep_raw: false }, alias: 'other' });
    expect(patched.body).toMatchObject({ profile: { keep_raw: false }, limits, alias: 'other' });
    expect(patched.body.profile).not.toHaveProperty('fields');
    expect(told).toEqual([[made.body.id, 'profiled', 'other']]);
    stop();
    expect((await admin.call('PATCH', path, { limits: {} })).body.limits).toEqual({});
  });

  test('refuses what is no profile or limit, naming it', async () => {
    for (const [body, named] of [
      [{ profile: { time_format: 'hours' } }, 'profile.time_format'],
      [{ profile: { timeField: 'x' } }, 'profile.timeField: unknown field'],
      [{ profile: { retention_days: 0 } }, 'profile.retention_days'],
      [{ limits: { messages_per_second: 0 } }, 'limits.messages_per_second'],
      [{ limits: { payload_bytes_max: 1.5 } }, 'limits.payload_bytes_max'],
      [{ limits: null }, 'limits'],
    ] as const) {
      const answer = await admin.call('POST', '/channels', body);
      expect([answer.status, answer.body.detail]).toEqual([422, expect.stringContaining(named)]);
    }
  });

  test('is changed for the version that the change was made for', async () => {
    const { id } = await make('channels');
    expect((await admin.call('GET', `/channels/${id}`)).headers.get('etag')).toBe('"1"');
    expect((await admin.call('PATCH', `/channels/${id}`, { name: 'a' }, { 'if-match': '"1"' })).status).toBe(200);
    expect((await admin.call('PUT', `/channels/${id}`, { name: 'b' }, { 'if-match': '"1"' })).status).toBe(412);
    expect((await admin.call('DELETE', `/channels/${id}`, undefined, { 'if-match': '"1"' })).status).toBe(412);
  });

  test('says what went with it', async () => {
    const channel = await make('channels');
    const things = [await make('things'), await make('things')];
    await admin.call('POST', '/connect', { channel_ids: [channel.id], thing_ids: things.map(({ id }) => id) });
    const gone = await admin.call('DELETE', `/channels/${channel.id}`);
    expect([gone.status, gone.headers.get('deleted')]).toEqual([204, 'connections=2']);
  });
});

describe('connections', () => {
  test('take effect on both nodes, and a repeat changes nothing', async () => {
    const [thing, channel] = [await make('things'), await make('channels')];
    const both = { channel_ids: [channel.id], thing_ids: [thing.id] };
    expect(await mayPublish(node, thing.key, channel.id)).toBe('not_allowed');
    expect(await mayPublish(other, thing.key, channel.id)).toBe('not_allowed');
    const connected = await admin.call('POST', '/connect', both);
    expect(connected.body).toEqual({ ...both, types: ['publish', 'subscribe'] });
    expect(await mayPublish(node, thing.key, channel.id)).toBe('allow');
    await eventually(async () => (await mayPublish(other, thing.key, channel.id)) === 'allow');
    expect((await admin.call('POST', '/connect', { ...both, types: ['publish'] })).status).toBe(200);
    const listed = await admin.call('GET', `/connections?thing=${thing.id}`);
    expect(listed.body).toMatchObject({
      total: 1,
      connections: [{ thing_id: thing.id, channel_id: channel.id, types: ['publish', 'subscribe'] }],
    });
    expect((await admin.call('GET', `/connections?channel=${channel.id}`)).body.total).toBe(1);
    await admin.call('POST', '/disconnect', { ...both, types: ['publish'] });
    expect(await mayPublish(node, thing.key, channel.id)).toBe('not_allowed');
    await eventually(async () => (await mayPublish(other, thing.key, channel.id)) === 'not_allowed');
    expect((await admin.call('GET', `/connections?thing=${thing.id}`)).body.connections[0].types).toEqual([
      'subscribe',
    ]);
    expect((await admin.call('POST', '/disconnect', both)).status).toBe(200);
    expect((await admin.call('POST', '/disconnect', both)).status).toBe(200);
    expect((await admin.call('GET', `/connections?thing=${thing.id}`)).body.total).toBe(0);
  });

  test('never reach into another organisation, nor tell what is there', async () => {
    const [thing, channel] = [await make('things'), await make('channels')];
    const stranger = await node.stranger.newUser('stranger@example.org');
    const mine = {
      thing: (await stranger.call('POST', '/things', {})).body,
      channel: (await stranger.call('POST', '/channels', {})).body,
    };
    const nobody = '00000000-0000-4000-8000-000000000000';
    for (const [channel_ids, thing_ids] of [
      [[channel.id], [thing.id]],
      [[mine.channel.id], [thing.id]],
      [[channel.id], [mine.thing.id]],
      [[mine.channel.id, channel.id], [mine.thing.id]],
      [[nobody], [mine.thing.id]],
      [[mine.channel.id], [nobody]],
    ])
      for (const path of ['/connect', '/disconnect'])
        expect((await stranger.call('POST', path, { channel_ids, thing_ids })).status).toBe(404);
    expect((await stranger.call('GET', `/connections?org=${thing.org}`)).status).toBe(404);
    expect((await stranger.call('GET', `/connections?thing=${thing.id}`)).body.total).toBe(0);
    // Also for who may in both: a connection lies in one organisation.
    expect(
      (await admin.call('POST', '/connect', { channel_ids: [mine.channel.id], thing_ids: [thing.id] })).status,
    ).toBe(404);
  });

  test('of one request are bounded', async () => {
    const ids = (count: number) =>
      Array.from({ length: count }, (_, index) => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`);
    const answer = await admin.call('POST', '/connect', { channel_ids: ids(101), thing_ids: ids(100) });
    expect([answer.status, answer.body.detail]).toEqual([422, expect.stringContaining('10000 pairs')]);
  });
});
