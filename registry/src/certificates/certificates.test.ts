import { generateKeyPairSync } from 'node:crypto';
import type { DirectoryChange, Started, ThingRecord } from '@millrace/core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Registry } from '../registry.ts';
import { ExtendedKeyUsage, type Issued, LARGE_AUTHORITY, TestAuthority } from '../testing/certificates.ts';
import { ADMIN, Client, startRegistry, temporaryPostgres } from '../testing/fixture.ts';

const HOUR_MS = 3_600_000;
let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let started: Started<Registry>;
let registry: Registry;
let anybody: Client;
let editor: Client;
let authority: TestAuthority;
let nowMs = Date.now();

beforeAll(async () => {
  postgres = await temporaryPostgres();
  started = await startRegistry(postgres.url, { now: () => nowMs });
  registry = started.value;
  anybody = Client.over(registry);
  editor = await anybody.asUser(ADMIN.email, ADMIN.password);
  authority = await TestAuthority.create('Plant authority');
});
afterAll(async () => {
  await started?.stop();
  await postgres?.dispose();
});

const makeThing = async (): Promise<{ id: string; key: string; path: string }> => {
  const { id, key } = (await editor.call('POST', '/things', {})).body;
  return { id, key, path: `/things/${id}/certificates` };
};
const put = (path: string, fingerprints: readonly string[], authorities: readonly string[] = []) =>
  editor.call('PUT', path, { fingerprints, authorities });
const find = ({ fingerprint, der }: Issued): Promise<ThingRecord | null> =>
  registry.directory.thingByCertificate(fingerprint, der);
const colons = (fingerprint: string): string => (fingerprint.toUpperCase().match(/../g) ?? []).join(':');

describe('certificates of a thing', () => {
  test('are replaced as a whole and read back in one form', async () => {
    const { path } = await makeThing();
    expect((await editor.call('GET', path)).body).toEqual({ fingerprints: [], authorities: [] });
    const { fingerprint } = await authority.issue('anything');
    const answer = await put(path, [colons(fingerprint), fingerprint], [`\n${authority.own.pem}\n\n`]);
    expect(answer.status).toBe(200);
    expect(answer.body.fingerprints).toEqual([fingerprint]);
    expect(answer.body.authorities).toEqual([expect.stringMatching(/^-----BEGIN CERTIFICATE-----\n[^-]+-----END/)]);
    expect((await editor.call('GET', path)).body).toEqual(answer.body);
    expect((await editor.call('PUT', path, answer.body)).body).toEqual(answer.body);
    await put(path, []);
    expect((await editor.call('GET', path)).body).toEqual({ fingerprints: [], authorities: [] });
  });

  test('that are none are refused, with which and why', async () => {
    const { path } = await makeThing();
    const noAuthority = await TestAuthority.create('no authority', { ca: false });
    const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const secret = key.export({ type: 'pkcs8', format: 'pem' }).toString();
    const fingerprint = 'ab'.repeat(32);
    for (const [fingerprints, authorities, told] of [
      [[fingerprint, 'abc'], [], 'fingerprints.1: must be a SHA-256'],
      [[`${'ab:'.repeat(31)}a`], [], 'fingerprints.0'],
      [[`${fingerprint}\n`], [], 'fingerprints.0'],
      [[], ['not a pem'], 'authorities.0: must hold exactly one'],
      [[], ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'], 'authorities.0: is no X.509'],
      [[], [authority.own.pem, `${authority.own.pem}\n${authority.own.pem}`], 'authorities.1: must hold exactly one'],
      [[], [noAuthority.own.pem], 'authorities.0: is no certificate authority'],
      [[], [LARGE_AUTHORITY], 'authorities.0: has an RSA key of more than 8192 bits'],
      [[], [authority.own.pem + secret], 'authorities.0: holds a private key'],
      [Array(65).fill(fingerprint), [], 'fingerprints'],
    ] as const) {
      const answer = await put(path, fingerprints, authorities);
      expect([answer.status, answer.body.detail]).toEqual([422, expect.stringContaining(told)]);
      expect(JSON.stringify(answer.body)).not.toContain('PRIVATE');
    }
    expect((await editor.call('PUT', path, { fingerprints: [] })).status).toBe(422);
  });

  test('belong to one thing: another that claims one is refused until it is given up', async () => {
    const [one, other] = [await makeThing(), await makeThing()];
    const { fingerprint } = await authority.issue('anything');
    expect((await put(one.path, [fingerprint])).status).toBe(200);
    const refused = await put(other.path, [fingerprint]);
    expect(refused).toMatchObject({ status: 409, body: { detail: 'A fingerprint belongs to another thing.' } });
    await put(one.path, []);
    expect((await put(other.path, [fingerprint])).status).toBe(200);
  });

  test('are for who may read or change the thing', async () => {
    const { path, key } = await makeThing();
    const name = `${Math.random().toString(36).slice(2)}@example.org`;
    await anybody.call('POST', '/users', { email: name, password: '12345678' });
    const stranger = await anybody.asUser(name, '12345678');
    const body = { fingerprints: [], authorities: [] };
    expect((await anybody.call('GET', path)).status).toBe(401);
    expect((await stranger.call('GET', path)).status).toBe(404);
    expect((await stranger.call('PUT', path, body)).status).toBe(404);
    expect((await anybody.as(`Thing ${key}`).call('PUT', path, body)).status).toBe(403);
    expect((await editor.call('GET', '/things/none/certificates')).status).toBe(404);
  });

  test('are told when they change, and only then; they go with the thing', async () => {
    const { id, path } = await makeThing();
    const told: DirectoryChange[] = [];
    const off = registry.directory.onChange((change) => told.push(change));
    const issued = await authority.issue(id);
    await put(path, [issued.fingerprint]);
    await put(path, [issued.fingerprint]);
    expect(told).toMatchObject([{ entity: 'certificate', id, voids: [id] }]);
    off();
    expect(await find(issued)).toMatchObject({ id });
    await editor.call('DELETE', `/things/${id}`);
    expect(await find(issued)).toBeNull();
  });
});

describe('the thing of a certificate', () => {
  test('is the one with its fingerprint, within its validity', async () => {
    const { id, path } = await makeThing();
    const [valid, future] = [await authority.issue('x'), await authority.issue('x', { fromMs: nowMs + HOUR_MS })];
    expect(await find(valid)).toBeNull();
    await put(path, [valid.fingerprint, future.fingerprint]);
    expect(await find(valid)).toMatchObject({ kind: 'thing', id, enabled: true });
    expect(await find(future)).toBeNull();
    nowMs += 2 * HOUR_MS;
    expect(await find(future)).toMatchObject({ id });
    nowMs += 24 * HOUR_MS;
    expect(await find(valid)).toBeNull();
    nowMs = Date.now();
    expect(await find({ ...valid, der: new Uint8Array([1, 2, 3]) })).toBeNull();
  });

  test('is the one named by an authority that it trusts, which really issued it', async () => {
    const { id, path } = await makeThing();
    const other = await makeThing();
    const namesake = await TestAuthority.create('Plant authority');
    const mine = await authority.issue(id);
    expect(await find(mine), 'nobody is trusted yet').toBeNull();
    await put(path, [], [(await TestAuthority.create('Elsewhere')).own.pem, authority.own.pem]);
    expect(await find(mine)).toMatchObject({ id });
    expect(await find(await authority.issue(id.toUpperCase()))).toMatchObject({ id });
    const both = { usages: [ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth] };
    expect(await find(await authority.issue(id, both))).toMatchObject({ id });
    for (const [why, wrong] of [
      ['of an authority with the same name and another key', await namesake.issue(id)],
      ['that names another thing, which trusts nobody', await authority.issue(other.id)],
      ['that names nothing of ours', await authority.issue('sensor 7')],
      ['that names two', await authority.issue('', { name: `CN=${id}, CN=${other.id}` })],
      ['for servers only', await authority.issue(id, { usages: [ExtendedKeyUsage.serverAuth] })],
      ['that has expired', await authority.issue(id, { fromMs: nowMs - 2 * HOUR_MS, untilMs: nowMs - HOUR_MS })],
      ['that is not valid yet', await authority.issue(id, { fromMs: nowMs + HOUR_MS })],
      ['that signed itself', (await TestAuthority.create(id)).own],
    ] as const) {
      expect(await find(wrong), `a certificate ${why}`).toBeNull();
    }
    await put(path, []);
    expect(await find(mine), 'the trust was taken back').toBeNull();
  });

  test('is nobody once the authority itself has expired', async () => {
    const { id, path } = await makeThing();
    const short = await TestAuthority.create('Short', { untilMs: nowMs + HOUR_MS });
    const issued = await short.issue(id);
    await put(path, [], [short.own.pem]);
    expect(await find(issued)).toMatchObject({ id });
    nowMs += 2 * HOUR_MS;
    expect(await find(issued)).toBeNull();
    nowMs = Date.now();
  });
});
