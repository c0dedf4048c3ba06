import { X509Certificate } from 'node:crypto';
import type { Started, ThingRecord } from '@millrace/core';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RegistryConfig } from '../config.ts';
import type { Registry } from '../registry.ts';
import { startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import type { IssuedCertificate } from './issued.ts';
import { TTL_MS_MAX } from './issuers.ts';
import { newKey, type PublicKey } from './keys.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;
const SKEW_MS_MAX = 10_000;
let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let started: Started<Registry>;
let pool: pg.Pool;
let registry: Registry;
let key: PublicKey;
let thing: string;
let org: string;
let nowMs: number;

beforeAll(async () => {
  nowMs = Date.now();
  postgres = await temporaryPostgres();
  pool = new pg.Pool({ connectionString: postgres.url, max: 2 });
  // The database may stop before the last of its connections is closed.
  pool.on('error', () => {});
  const config = RegistryConfig.parse({ MILLRACE_PUBLIC_URL: 'https://iot.example.org', MILLRACE_CERTS_KEPT_DAYS: 30 });
  started = await startRegistry(postgres.url, { now: () => nowMs, config });
  registry = started.value;
  key = await newKey({ type: 'ec' });
  ({ thingId: thing } = (await registry.gettingStarted()) ?? { thingId: '' });
  [{ org }] = (await pool.query('SELECT org FROM registry.things WHERE id = $1', [thing])).rows;
});
beforeEach(() => {
  nowMs = Date.now();
});
afterAll(async () => {
  await pool?.end();
  await started?.stop();
  await postgres?.dispose();
});

const issue = async (ttlMs: number): Promise<IssuedCertificate> => {
  const issued = await registry.issued.issue({ thing, org, key, ttlMs });
  if (issued.kind !== 'ok') throw new Error(issued.kind);
  return issued.certificate;
};
const find = ({ fingerprint, certificate }: IssuedCertificate): Promise<ThingRecord | null> =>
  registry.directory.thingByCertificate(fingerprint, new X509Certificate(certificate).raw);
const listOf = async (one: IssuedCertificate) => {
  const list = await registry.revocationLists.get(one.issuer);
  return { number: list?.number ?? 0, names: Buffer.from(list?.list ?? []).includes(Buffer.from(one.serial, 'hex')) };
};

describe('a certificate of the platform', () => {
  test('is good from a little ago, for clocks that are late, until it expires', async () => {
    const one = await issue(DAY_MS);
    const { validFrom, validTo } = new X509Certificate(one.certificate);
    expect(nowMs - Date.parse(validFrom)).toBeGreaterThanOrEqual(300_000);
    expect(Math.abs(nowMs + DAY_MS - Date.parse(validTo))).toBeLessThan(SKEW_MS_MAX);
    expect(await find(one)).toMatchObject({ id: thing, org });
    nowMs += DAY_MS + 1_000;
    expect(await find(one)).toBeNull();
    nowMs -= DAY_MS + 1_000 + HOUR_MS;
    expect(await find(one), 'the clock jumped back to before it').toBeNull();
  });

  test('ends before its issuer, and that before the root, however old they are', async () => {
    const chains = new Set<string>();
    for (const years of [0, 2, 4, 6, 9]) {
      nowMs = Date.now() + years * YEAR_MS;
      const one = await issue(TTL_MS_MAX);
      const issuer = await registry.issuers.get(one.issuer);
      const root = await registry.issuers.get(issuer?.root ?? '');
      expect(one.expiresAt.getTime()).toBeLessThan(issuer?.expiresAt.getTime() ?? 0);
      expect(issuer?.expiresAt.getTime()).toBeLessThan(root?.expiresAt.getTime() ?? 0);
      expect(
        new X509Certificate(one.certificate).verify(new X509Certificate(issuer?.certificate ?? '').publicKey),
      ).toBe(true);
      chains.add(`${issuer?.id} ${root?.id}`);
      await registry.issued.revoke(one.serial, 'unspecified');
    }
    expect(chains.size, 'they were made anew meanwhile').toBeGreaterThan(2);
  });

  test('is on the list from its revocation until it expires; the list never runs out', async () => {
    const [one, stays] = [await issue(3 * DAY_MS), await issue(10 * DAY_MS)];
    const before = await listOf(one);
    expect(before.names).toBe(false);
    await registry.issued.revoke(one.serial, 'keyCompromise');
    await registry.issued.revoke(stays.serial, 'keyCompromise');
    expect(await listOf(one)).toEqual({ number: before.number + 1, names: true });
    nowMs += 11 * HOUR_MS;
    expect((await listOf(one)).number, 'still fresh').toBe(before.number + 1);
    nowMs += 2 * HOUR_MS;
    expect((await listOf(one)).number, 'half of its time has passed').toBe(before.number + 2);
    nowMs += 3 * DAY_MS;
    expect(await listOf(one)).toEqual({ number: before.number + 3, names: false });
    expect((await listOf(stays)).names).toBe(true);
  });

  test('is forgotten when it has long expired', async () => {
    const one = await issue(DAY_MS);
    nowMs += 20 * DAY_MS;
    await registry.issued.sweep();
    expect(await registry.issued.get(one.serial)).not.toBeNull();
    nowMs += 20 * DAY_MS;
    await registry.issued.sweep();
    expect(await registry.issued.get(one.serial)).toBeNull();
    expect(await find(one)).toBeNull();
  });

  test('says where to ask about it', async () => {
    const text = Buffer.from(new X509Certificate((await issue(DAY_MS)).certificate).raw).toString('latin1');
    for (const path of ['ocsp', 'crl/', 'ca/']) expect(text).toContain(`https://iot.example.org/certs/${path}`);
  });
});
