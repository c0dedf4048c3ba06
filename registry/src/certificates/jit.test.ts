import { randomUUID } from 'node:crypto';
import type { DirectoryChange, Started, ThingRecord } from '@millrace/core';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RegistryConfig } from '../config.ts';
import type { Registry } from '../registry.ts';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  Extension,
  type Issued,
  KeyUsageFlags,
  KeyUsagesExtension,
  TestAuthority,
} from '../testing/certificates.ts';
import { startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import type { BroughtAuthority, JustInTime } from './brought.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const PER_MINUTE_MAX = 20;
const CONNECTIONS = 10;
const NULL_DER = new Uint8Array([5, 0]);
let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
const nodes: Started<Registry>[] = [];
let pool: pg.Pool;
let registry: Registry;
let other: Registry;
let org: string;
let otherOrg: string;
let nowMs: number;

beforeAll(async () => {
  postgres = await temporaryPostgres();
  pool = new pg.Pool({ connectionString: postgres.url, max: 2 });
  // The database may stop before the last of its connections is closed.
  pool.on('error', () => {});
  const config = RegistryConfig.parse({ MILLRACE_CERTS_JIT_PER_MINUTE_MAX: PER_MINUTE_MAX });
  for (let index = 0; index < 2; index++) nodes.push(await startRegistry(postgres.url, { now: () => nowMs, config }));
  [registry, other] = nodes.map(({ value }) => value) as [Registry, Registry];
  [{ id: org }] = await rows('SELECT id FROM registry.orgs');
  otherOrg = randomUUID();
  await rows('INSERT INTO registry.orgs (id, name) VALUES ($1, $2)', otherOrg, 'other');
});
beforeEach(() => {
  nowMs = Date.now();
});
afterAll(async () => {
  await pool?.end();
  for (const node of nodes) await node.stop();
  await postgres?.dispose();
});

// biome-ignore lint/suspicious/noExplicitAny: rows of any shape
const rows = async (sql: string, ...values: readonly unknown[]): Promise<any> =>
  (await pool.query(sql, [...values])).rows;
const find = ({ fingerprint, der }: Issued, at = registry): Promise<ThingRecord | null> =>
  at.directory.thingByCertificate(fingerprint, der);
const newChannel = async (): Promise<string> => {
  const id = randomUUID();
  await rows('INSERT INTO registry.channels (id, org, name) VALUES ($1, $2, $3)', id, org, 'plant');
  return id;
};
const register = async (authority: TestAuthority, jit: Partial<JustInTime> | null, owner = org) => {
  const proof = await authority.issue(registry.authorities.code(owner).code);
  const whole: JustInTime = {
    enabled: true,
    groupId: null,
    type: 'device',
    channelIds: [],
    types: ['publish', 'subscribe'],
    nameFrom: 'cn',
  };
  return registry.authorities.register({
    org: owner,
    name: 'plant',
    certificate: authority.own.pem,
    proof: proof.pem,
    jit: jit === null ? null : { ...whole, ...jit },
  });
};
/** An authority that makes things of what it issues. */
const making = async (jit: Partial<JustInTime> = {}): Promise<{ authority: TestAuthority; kept: BroughtAuthority }> => {
  const authority = await TestAuthority.create(`Plant ${randomUUID()}`, { untilMs: nowMs + 400 * DAY_MS });
  const outcome = await register(authority, jit);
  if (outcome.kind !== 'ok') throw new Error(JSON.stringify(outcome));
  return { authority, kept: outcome.authority };
};
const thingsNamed = (name: string) => rows('SELECT * FROM registry.things WHERE name = $1', name);

describe('an authority that an organisation brings', () => {
  test('is taken from who can issue with it', async () => {
    const authority = await TestAuthority.create('Mine');
    const impostor = await TestAuthority.create('Mine');
    const { code } = registry.authorities.code(org);
    const attempt = async (proof: Issued, certificate = authority.own.pem, owner = org) =>
      registry.authorities.register({ org: owner, name: '', certificate, proof: proof.pem, jit: null });
    for (const [why, outcome] of [
      ['a proof of another with its name', await attempt(await impostor.issue(code))],
      ['no code', await attempt(await authority.issue('hello'))],
      [
        'the code of another organisation',
        await attempt(await authority.issue(registry.authorities.code(otherOrg).code)),
      ],
      ['two codes', await attempt(await authority.issue('', { name: `CN=${code}, CN=${code}` }))],
      ['a code that was made up', await attempt(await authority.issue(`${code.slice(0, -1)}x`))],
    ] as const)
      expect(outcome, why).toMatchObject({ kind: 'refused', field: 'proof' });
    const proof = await authority.issue(code);
    nowMs += HOUR_MS + 1;
    expect(await attempt(proof), 'an old code').toMatchObject({ kind: 'refused', field: 'proof' });
    nowMs -= HOUR_MS + 1;
    expect(await attempt(proof)).toMatchObject({ kind: 'ok', authority: { org, subject: 'CN=Mine' } });
  });

  test('is one that may issue, now, on no terms that are not understood', async () => {
    const expired = await TestAuthority.create('Old', { fromMs: nowMs - 2 * DAY_MS, untilMs: nowMs - DAY_MS });
    const leaf = await TestAuthority.create('Leaf', { ca: false });
    for (const authority of [expired, leaf])
      expect(await register(authority, null)).toMatchObject({ kind: 'refused', field: 'certificate' });
  });

  test('belongs to one organisation, however it is certified', async () => {
    const { authority } = await making();
    await expect(register(authority, null, otherOrg)).rejects.toMatchObject({
      code: 'REGISTRY_CONFLICT',
      facts: { field: 'authority' },
    });
  });

  test('registers into channels and groups of its organisation only', async () => {
    const authority = await TestAuthority.create('Far');
    const refused = { kind: 'refused' };
    expect(await register(authority, { channelIds: [randomUUID()] })).toMatchObject(refused);
    expect(await register(authority, { groupId: randomUUID() })).toMatchObject(refused);
    const mine = await newChannel();
    expect(await register(authority, { channelIds: [mine] }, otherOrg)).toMatchObject(refused);
    expect(await register(authority, { channelIds: [mine] })).toMatchObject({ kind: 'ok' });
  });
});

describe('just-in-time registration', () => {
  test('makes a thing of a certificate that nobody knew, connected, once', async () => {
    const channel = await newChannel();
    const { authority, kept } = await making({ channelIds: [channel], types: ['publish'], type: 'gateway' });
    const name = `pump ${randomUUID()}`;
    const issued = await authority.issue(name, { usages: [ExtendedKeyUsage.clientAuth] });
    const told: DirectoryChange[] = [];
    const off = registry.directory.onChange((change) => told.push(change));
    const thing = await find(issued);
    off();
    expect(thing).toMatchObject({ kind: 'thing', org, type: 'gateway', enabled: true });
    expect(told.map(({ entity }) => entity)).toEqual(['thing', 'connection']);
    expect(thing?.metadata).toMatchObject({
      certificate: { subject: { CN: name }, fingerprint: issued.fingerprint, authority: kept.id },
    });
    expect(
      await rows('SELECT channel, publish, subscribe FROM registry.connections WHERE thing = $1', thing?.id),
    ).toEqual([{ channel, publish: true, subscribe: false }]);
    expect(await find(issued)).toMatchObject({ id: thing?.id });
    expect(await thingsNamed(name)).toHaveLength(1);
    const [audited] = await rows('SELECT * FROM registry.audit WHERE entity_id = $1', thing?.id);
    expect(audited).toMatchObject({ action: 'things.create', actor_kind: 'system', org });
  });

  test('makes one thing when many connections show a certificate at once, on two nodes', async () => {
    const { authority } = await making();
    const name = `pump ${randomUUID()}`;
    const issued = await authority.issue(name);
    const found = await Promise.all(
      Array.from({ length: CONNECTIONS }, (_, index) => find(issued, index % 2 === 0 ? registry : other)),
    );
    expect(new Set(found.map((thing) => thing?.id)).size).toBe(1);
    expect(found[0]).not.toBeNull();
    expect(await thingsNamed(name)).toHaveLength(1);
  });

  test('takes no certificate that is not plainly a client’s of that authority', async () => {
    const { authority } = await making();
    const namesake = await TestAuthority.create(authority.name);
    const long = 'x'.repeat(300);
    const cases: readonly (readonly [string, Issued])[] = [
      ['of an authority with the same name and another key', await namesake.issue('a')],
      ['that names two', await authority.issue('', { name: 'CN=a, CN=b' })],
      ['that names none', await authority.issue('', { name: 'O=a' })],
      ['whose name holds U+0000', await authority.issue('', { name: [{ CN: ['a\0b'] }] })],
      ['whose name holds a line break', await authority.issue('', { name: [{ CN: ['a\nCN=b'] }] })],
      ['whose name is too long', await authority.issue('', { name: [{ CN: [long] }] })],
      ['for servers only', await authority.issue('a', { usages: [ExtendedKeyUsage.serverAuth] })],
      ['that has expired', await authority.issue('a', { fromMs: nowMs - 2 * HOUR_MS, untilMs: nowMs - HOUR_MS })],
      ['that is not valid yet', await authority.issue('a', { fromMs: nowMs + HOUR_MS })],
      ['that may issue itself', await authority.issue('a', { extensions: [new BasicConstraintsExtension(true)] })],
      [
        'whose key may not sign',
        await authority.issue('a', { extensions: [new KeyUsagesExtension(KeyUsageFlags.keyAgreement, true)] }),
      ],
      [
        'with a critical extension that nobody knows',
        await authority.issue('a', { extensions: [new Extension('1.2.3.4.5', true, NULL_DER)] }),
      ],
      ['signed by SHA-1', await authority.issue('a', { hash: 'SHA-1' })],
      ['that is the authority’s own', authority.own],
    ];
    for (const [why, wrong] of cases) expect(await find(wrong), `a certificate ${why}`).toBeNull();
    expect(await find(await authority.issue('a')), 'and one that is').not.toBeNull();
  });

  test('is off unless it is on', async () => {
    const { authority, kept } = await making({ enabled: false });
    const issued = await authority.issue('a');
    expect(await find(issued)).toBeNull();
    const told: DirectoryChange[] = [];
    const off = registry.directory.onChange((change) => told.push(change));
    await registry.authorities.update(kept.id, { jit: { ...(kept.jit as JustInTime), enabled: true } }, null);
    off();
    expect(told, 'what was refused until now is looked up again').toMatchObject([{ entity: 'certificate' }]);
    expect(await find(issued)).not.toBeNull();
    const second = await TestAuthority.create('Without');
    await register(second, null);
    expect(await find(await second.issue('a'))).toBeNull();
  });

  test('never lets a disabled or deleted thing come back, until it is forgotten', async () => {
    const { authority, kept } = await making();
    const issued = await authority.issue('a');
    const id = (await find(issued))?.id ?? '';
    await rows('UPDATE registry.things SET enabled = false WHERE id = $1', id);
    expect(await find(issued)).toMatchObject({ id, enabled: false });
    await expect(registry.authorities.forget(kept.id, issued.fingerprint)).rejects.toMatchObject({
      code: 'REGISTRY_IN_USE',
    });
    await rows('DELETE FROM registry.things WHERE id = $1', id);
    expect(await find(issued)).toBeNull();
    const { items } = await registry.authorities.registrations(kept.id, {
      org,
      offset: 0,
      limit: 10,
      order: 'created',
      direction: 'desc',
    });
    expect(items).toMatchObject([{ fingerprint: issued.fingerprint, thing: null, name: 'a' }]);
    expect(await registry.authorities.forget(kept.id, issued.fingerprint)).toBe(true);
    expect(await registry.authorities.forget(kept.id, issued.fingerprint)).toBe(false);
    const again = await find(issued);
    expect(again).not.toBeNull();
    expect(again?.id).not.toBe(id);
  });

  test('registers so many in a minute, and then again', async () => {
    nowMs = Math.floor(nowMs / MINUTE_MS) * MINUTE_MS;
    const { authority } = await making();
    const issued = await Promise.all(
      Array.from({ length: PER_MINUTE_MAX + 5 }, (_, index) => authority.issue(`n${index}`)),
    );
    const found = await Promise.all(issued.map((each) => find(each)));
    expect(found.filter((thing) => thing !== null)).toHaveLength(PER_MINUTE_MAX);
    const [known, late] = [found.findIndex((thing) => thing !== null), found.indexOf(null)];
    expect(await find(issued[known] as Issued), 'who is known is let in').toMatchObject({ id: found[known]?.id });
    nowMs += MINUTE_MS;
    expect(await find(issued[late] as Issued)).not.toBeNull();
  });

  test('lets nothing into an organisation that is frozen, until it is unfrozen', async () => {
    const { authority } = await making();
    const name = `pump ${randomUUID()}`;
    const device = await authority.issue(name);
    await registry.orgs.setFrozen(org, true);
    expect(await find(device)).toBeNull();
    expect(await thingsNamed(name)).toEqual([]);
    await registry.orgs.setFrozen(org, false);
    expect(await find(device)).toMatchObject({ org, enabled: true });
  });

  test('leaves a thing out whose place has gone', async () => {
    const channel = await newChannel();
    const { authority } = await making({ channelIds: [channel] });
    await rows('DELETE FROM registry.channels WHERE id = $1', channel);
    const name = `pump ${randomUUID()}`;
    expect(await find(await authority.issue(name))).toBeNull();
    expect(await thingsNamed(name)).toEqual([]);
  });

  test('ends with its authority, which says how many rely on it', async () => {
    const { authority, kept } = await making({ nameFrom: 'serial' });
    const issued = await authority.issue('', { name: 'CN=a, CN=b' });
    const thing = await find(issued);
    expect(thing).not.toBeNull();
    await expect(registry.authorities.remove(kept.id, false, null)).rejects.toMatchObject({
      code: 'REGISTRY_IN_USE',
      facts: { things: 1 },
    });
    const told: DirectoryChange[] = [];
    const off = registry.directory.onChange((change) => told.push(change));
    expect(await registry.authorities.remove(kept.id, true, null)).toBe(1);
    off();
    expect(told.flatMap(({ voids }) => voids)).toEqual([thing?.id]);
    expect(await find(issued)).toBeNull();
    expect(await registry.authorities.remove(kept.id, true, null)).toBeNull();
  });
});
