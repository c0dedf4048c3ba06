import { createHash, randomUUID, X509Certificate } from 'node:crypto';
import type { Credential, Identified, Principal } from '@millrace/core';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../millrace.ts';
import { ADMIN, type Asker, type ControlPlane, type Node, startControlPlane } from './plane.ts';

const PER_THING_MAX = 4;
const UNKNOWN = { kind: 'refused', reason: 'unknown' };

interface Issued {
  readonly serial: string;
  readonly certificate: string;
  readonly chain: string;
  readonly private_key?: string;
}

describe('certificates of the platform', () => {
  let plane: ControlPlane;
  let here: Node;
  let there: Node;
  let admin: Asker;
  let org: string;
  let pool: pg.Pool;
  let thing: { id: string; key: string };
  let roots: string[];

  beforeAll(async () => {
    plane = await startControlPlane();
    const settings = { MILLRACE_CERTS_PER_THING_MAX: PER_THING_MAX };
    here = await plane.node(settings);
    there = await plane.node(settings);
    pool = new pg.Pool({ connectionString: plane.url, max: 1 });
    // The database may stop before the last of its connections is closed.
    pool.on('error', () => {});
    admin = await here.stranger.asUser(ADMIN.email, ADMIN.password);
    // Nobody has asked before: whoever is first makes it.
    const asked = [here, there, here, there].map(({ stranger }) => stranger.call('GET', '/certs/ca'));
    roots = (await Promise.all(asked)).map(({ body }) => body);
  }, 120_000);
  beforeEach(async () => {
    thing = (await admin.call('POST', '/things', { name: 'pump' })).body;
    org = (thing as unknown as { org: string }).org;
  });
  afterAll(async () => {
    await pool?.end();
    await plane?.dispose();
  }, 60_000);

  const issue = async (more: object = {}): Promise<Issued> => {
    const { status, headers, body } = await admin.call('POST', '/certs', { thing_id: thing.id, ...more });
    expect(status, JSON.stringify(body)).toBe(201);
    expect([headers.get('location'), headers.get('etag')]).toEqual([`/certs/${body.serial}`, '"1"']);
    return body;
  };
  const shown = (pem: string): Credential => {
    const { raw } = new X509Certificate(pem);
    return { kind: 'certificate', certificate: raw, fingerprint: createHash('sha256').update(raw).digest('hex') };
  };
  const identify = (pem: string, node = here): Promise<Identified> => Promise.resolve(node.gate.identify(shown(pem)));
  const known = async (pem: string, node = here): Promise<Principal> => {
    const identified = await identify(pem, node);
    if (identified.kind === 'refused') throw new Error(`it is ${identified.reason}`);
    return identified.principal;
  };
  const revoke = (serial: string, reason = 'keyCompromise') =>
    admin.call('POST', `/certs/${serial}/revoke`, { reason });

  test('let a thing in without any password, on every node, until they are revoked: then at once nowhere', async () => {
    const { serial, certificate } = await issue();
    const principals = [await known(certificate), await known(certificate, there)];
    expect(principals.map(({ subject }) => subject.id)).toEqual([thing.id, thing.id]);
    expect((await revoke(serial)).body.status).toBe('revoked');
    expect(principals[0]?.revoked, 'before the answer').toBe(true);
    expect(await identify(certificate)).toMatchObject(UNKNOWN);
    await eventually('the other node has heard of it', 20_000, async () => principals[1]?.revoked);
    expect(await identify(certificate, there)).toMatchObject(UNKNOWN);
    const again = await revoke(serial, 'superseded');
    expect([again.status, again.body.reason], 'the first reason stays').toEqual([200, 'keyCompromise']);
  });

  test('show their key once, and keep it nowhere', async () => {
    const { serial, private_key = '' } = await issue();
    expect(private_key).toContain('-----BEGIN PRIVATE KEY-----');
    const { body } = await admin.call('GET', `/certs/${serial}`);
    expect(body).toMatchObject({ serial, thing_id: thing.id, org, status: 'active', reason: null });
    expect(JSON.stringify(body)).not.toContain('PRIVATE');
    const secret = private_key.split('\n')[1] ?? 'none';
    const dumps = await pool.query(
      `SELECT to_jsonb(kept)::text AS text FROM registry.issued_certificates AS kept WHERE serial = $1
       UNION ALL SELECT to_jsonb(kept)::text FROM registry.audit AS kept WHERE entity_id = $1`,
      [serial],
    );
    expect(dumps.rows).toHaveLength(2);
    for (const { text } of dumps.rows) expect(text).not.toContain(secret);
  });

  test('hold for the thing alone, whoever else claims them or their authority', async () => {
    const { serial, certificate, chain } = await issue();
    const thief = (await admin.call('POST', '/things', { name: 'thief' })).body;
    const { fingerprint } = shown(certificate) as { fingerprint: string };
    const [authority = ''] = chain.split(/(?<=-----END CERTIFICATE-----)/);
    await admin.call('PUT', `/things/${thief.id}/certificates`, { fingerprints: [fingerprint], authorities: [] });
    await admin.call('PUT', `/things/${thing.id}/certificates`, { fingerprints: [], authorities: [authority] });
    expect((await known(certificate)).subject.id).toBe(thing.id);
    await revoke(serial);
    expect(await identify(certificate), 'its authority is trusted, yet it is revoked').toMatchObject(UNKNOWN);
    for (const one of chain.split(/(?<=-----END CERTIFICATE-----)/).filter((pem) => pem.includes('BEGIN')))
      expect(await identify(one), 'an authority is no thing').toMatchObject(UNKNOWN);
  });

  test('end with their thing, also when another gets its id', async () => {
    const { serial, certificate } = await issue();
    await known(certificate);
    await admin.call('DELETE', `/things/${thing.id}`);
    expect(await identify(certificate)).toMatchObject(UNKNOWN);
    expect((await admin.call('POST', '/things', { id: thing.id })).status).toBe(201);
    expect(await identify(certificate)).toMatchObject(UNKNOWN);
    const { body } = await admin.call('GET', `/certs/${serial}`);
    expect([body.status, body.reason]).toEqual(['revoked', 'cessationOfOperation']);
  });

  test('keep a disabled thing out', async () => {
    const { certificate } = await issue();
    await admin.call('POST', `/things/${thing.id}/disable`);
    expect(await identify(certificate)).toEqual({ kind: 'refused', reason: 'disabled' });
    await admin.call('POST', `/things/${thing.id}/enable`);
    expect((await known(certificate)).subject.id).toBe(thing.id);
  });

  test('are renewed by the thing itself; the old one is good for the overlap', async () => {
    const first = await issue();
    const self = here.stranger.as(`Thing ${thing.key}`);
    expect((await self.call('GET', `/certs/${first.serial}`)).status).toBe(200);
    const renewed = await self.call('POST', `/certs/${first.serial}/renew`, { overlap_seconds: 3_600 });
    expect(renewed.status, JSON.stringify(renewed.body)).toBe(201);
    for (const pem of [first.certificate, renewed.body.certificate])
      expect((await known(pem)).subject.id).toBe(thing.id);
    const { body: old } = await self.call('GET', `/certs/${first.serial}`);
    expect([old.status, old.successor]).toEqual(['active', renewed.body.serial]);
    expect((await self.call('POST', `/certs/${first.serial}/renew`, {})).status, 'a second time').toBe(409);
    const next = await self.call('POST', `/certs/${renewed.body.serial}/renew`, { overlap_seconds: 0 });
    expect(next.status).toBe(201);
    expect(await identify(renewed.body.certificate)).toMatchObject(UNKNOWN);
    expect((await known(next.body.certificate)).subject.id).toBe(thing.id);
    const other = (await admin.call('POST', '/things', {})).body;
    const stranger = here.stranger.as(`Thing ${other.key}`);
    expect((await stranger.call('POST', `/certs/${next.body.serial}/renew`, {})).status).toBe(403);
    expect((await self.call('DELETE', `/certs/${next.body.serial}`)).status, 'it may not revoke').toBe(403);
    expect((await self.call('POST', '/certs', { thing_id: thing.id })).status, 'nor issue').toBe(403);
  });

  test('are not renewed by a token that carries only a part of the rights of a machine', async () => {
    const app = (await admin.call('POST', '/apps', { name: 'Billing', kind: 'machine', scopes: ['things:read'] })).body;
    const { serial } = await issue({ thing_id: app.id });
    const login = Buffer.from(`${app.client_id}:${app.client_secret}`).toString('base64');
    const response = await here.stranger.raw('POST', '/oauth/token', 'grant_type=client_credentials', {
      authorization: `Basic ${login}`,
      'content-type': 'application/x-www-form-urlencoded',
    });
    const { access_token } = (await response.json()) as { access_token: string };
    const machine = here.stranger.as(`Bearer ${access_token}`);
    expect((await machine.call('GET', '/things')).status).not.toBe(401);
    expect((await machine.call('POST', `/certs/${serial}/renew`, {})).status).toBe(403);
    expect((await admin.call('GET', `/certs?thing_id=${app.id}`)).body.total).toBe(1);
  });

  test('that were renewed end with the overlap for who is connected, too', async () => {
    const first = await issue();
    const principals = [await known(first.certificate), await known(first.certificate, there)];
    await admin.call('POST', `/certs/${first.serial}/renew`, { overlap_seconds: 1 });
    await eventually('who is connected is cut off', 40_000, async () => principals.every(({ revoked }) => revoked));
    for (const node of [here, there]) expect(await identify(first.certificate, node)).toMatchObject(UNKNOWN);
    const { body } = await admin.call('GET', `/certs/${first.serial}`);
    expect([body.status, body.reason]).toEqual(['revoked', 'superseded']);
  }, 60_000);

  test('are so many at a time for a thing; a revoked one makes room', async () => {
    const issued = [];
    for (let count = 0; count < PER_THING_MAX; count++) issued.push(await issue());
    const full = await admin.call('POST', '/certs', { thing_id: thing.id });
    expect([full.status, full.body.detail]).toEqual([409, expect.stringContaining(`${PER_THING_MAX} certificates`)]);
    const attempts = await Promise.all([revoke(issued[0]?.serial ?? ''), revoke(issued[0]?.serial ?? '')]);
    expect(attempts.map(({ status }) => status)).toEqual([200, 200]);
    const rush = await Promise.all([1, 2, 3].map(() => admin.call('POST', '/certs', { thing_id: thing.id })));
    expect(rush.map(({ status }) => status).sort()).toEqual([201, 409, 409]);
  });

  test('are issued so many in a day to a thing, whatever becomes of them', async () => {
    const self = here.stranger.as(`Thing ${thing.key}`);
    let { serial } = await issue();
    for (let count = 1; count < PER_THING_MAX * 4; count++) {
      const renewed = await self.call('POST', `/certs/${serial}/renew`, { overlap_seconds: 0 });
      expect(renewed.status, JSON.stringify(renewed.body)).toBe(201);
      serial = renewed.body.serial;
    }
    const refused = await self.call('POST', `/certs/${serial}/renew`, { overlap_seconds: 0 });
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '3600']);
    expect((await self.call('GET', `/certs/${serial}`)).body.status, 'the last one is still good').toBe('active');
  });

  test('are issued by who may do so in the group of the thing, to what is in it alone', async () => {
    const email = `group-${thing.id}@example.org`;
    const member = await here.stranger.newUser(email);
    const [group, inner] = [randomUUID(), randomUUID()];
    await pool.query(
      `WITH made AS (INSERT INTO registry.groups (id, org, parent, ancestors, name)
         VALUES ($1, $3, NULL, '{}', 'plant'), ($2, $3, $1, ARRAY[$1::uuid], 'hall') RETURNING id)
       SELECT id FROM made`,
      [group, inner, org],
    );
    for (const [table, columns, values] of [
      ['memberships', 'org, user_id, role', "$1, id, 'viewer'"],
      ['group_roles', 'org, user_id, group_id, role', "$1, id, $3, 'editor'"],
    ] as const)
      await pool.query(
        `INSERT INTO registry.${table} (${columns}) SELECT ${values} FROM registry.users WHERE email = $2 AND $3::uuid IS NOT NULL`,
        [org, email, group],
      );
    await pool.query('UPDATE registry.things SET group_id = $2 WHERE id = $1', [thing.id, inner]);
    const issued = await member.call('POST', '/certs', { thing_id: thing.id });
    expect(issued.status, JSON.stringify(issued.body)).toBe(201);
    expect((await member.call('POST', `/certs/${issued.body.serial}/revoke`, {})).status).toBe(200);
    const outside = (await admin.call('POST', '/things', {})).body;
    expect((await member.call('POST', '/certs', { thing_id: outside.id })).status).toBe(403);
  });

  test('are listed by thing and by status', async () => {
    const [first, second] = [await issue(), await issue({ ttl: '24h' })];
    await admin.call('DELETE', `/certs/${first.serial}`);
    const list = async (query: string) => {
      const { status, body } = await admin.call('GET', query);
      expect(status, JSON.stringify(body)).toBe(200);
      return [body.total, body.certs.map(({ serial }: Issued) => serial)];
    };
    const path = `/certs?thing_id=${thing.id}`;
    expect(await list(`${path}&order=created&dir=asc`)).toEqual([2, [first.serial, second.serial]]);
    expect(await list(`${path}&status=active`)).toEqual([1, [second.serial]]);
    expect(await list(`${path}&status=revoked`)).toEqual([1, [first.serial]]);
    expect(await list(`${path}&status=expired`)).toEqual([0, []]);
    const { body } = await admin.call('GET', `${path}&order=expires&dir=asc&limit=1`);
    expect(body.certs).toMatchObject([{ serial: second.serial }]);
    expect(await list(`${path}&order=expires&dir=asc&limit=1&cursor=${body.cursor}`)).toEqual([2, [first.serial]]);
    expect(await list(`/things/${thing.id}/certs?limit=1&offset=1&dir=asc`)).toEqual([2, [second.serial]]);
  });

  test('are for who may see the thing; of another organisation nothing is told', async () => {
    const { serial, certificate } = await issue();
    const stranger = await here.stranger.newUser(`stranger-${serial}@example.org`);
    for (const [method, path, body] of [
      ['GET', `/certs/${serial}`, undefined],
      ['DELETE', `/certs/${serial}`, undefined],
      ['POST', `/certs/${serial}/renew`, {}],
      ['POST', `/certs/${serial}/revoke`, {}],
      ['POST', '/certs', { thing_id: thing.id }],
      ['GET', `/things/${thing.id}/certs`, undefined],
      ['GET', `/certs?org=${org}`, undefined],
      ['GET', `/certs/ca?org=${org}`, undefined],
      ['GET', `/certs/crl?org=${org}`, undefined],
    ] as const) {
      expect((await stranger.call(method, path, body)).status, `${method} ${path}`).toBe(404);
      expect((await here.stranger.call(method, path, body)).status, `nobody: ${method} ${path}`).toBe(401);
    }
    expect((await stranger.call('GET', '/certs')).body.total).toBe(0);
    const theirs = (await stranger.call('POST', '/things', {})).body;
    const { body } = await stranger.call('POST', '/certs', { thing_id: theirs.id });
    expect(body.chain.split('-----END')[0], 'each organisation has an authority of its own').not.toBe(
      (await (await admin.raw('GET', `/certs/ca?org=${org}`)).text()).split('-----END')[0],
    );
    expect((await known(certificate)).subject.id).toBe(thing.id);
  });

  test('are written down, with who did it', async () => {
    const { serial } = await issue();
    await revoke(serial);
    const { rows } = await pool.query(
      'SELECT action, actor_name, detail FROM registry.audit WHERE entity_id = $1 ORDER BY id',
      [serial],
    );
    expect(rows).toMatchObject([
      { action: 'certs.create', actor_name: ADMIN.email, detail: { thing: thing.id, algorithm: 'ec-256' } },
      { action: 'certs.revoke', actor_name: ADMIN.email, detail: { thing: thing.id, reason: 'keyCompromise' } },
    ]);
  });

  test('are asked for in words that are told to be wrong', async () => {
    for (const [body, told] of [
      [{}, 'thing_id'],
      [{ thing_id: thing.id, days: 3 }, 'days: unknown field'],
      [{ thing_id: thing.id, ttl: 59 }, 'ttl'],
      [{ thing_id: thing.id, ttl: '826d' }, 'ttl'],
      [{ thing_id: thing.id, ttl: '1y' }, 'ttl'],
      [{ thing_id: thing.id, key_type: 'dsa' }, 'key_type'],
      [{ thing_id: thing.id, key_bits: 2048 }, 'key_bits'],
      [{ thing_id: thing.id, key_type: 'ed25519', key_bits: 256 }, 'key_bits'],
    ] as const) {
      const answer = await admin.call('POST', '/certs', body);
      expect([answer.status, answer.body.detail]).toEqual([422, expect.stringContaining(told)]);
    }
    for (const serial of ['none', '%00', 'f'.repeat(32), '0'.repeat(2_000)])
      expect((await admin.call('GET', `/certs/${serial}`)).status).toBe(404);
    for (const path of ['/certs/crl/none', `/certs/crl/${thing.id}`, `/certs/ca/${thing.id}`, '/certs/ca/%00'])
      expect((await here.stranger.call('GET', path)).status, path).toBe(404);
    const { serial } = await issue();
    expect((await admin.call('POST', `/certs/${serial}/revoke`, { reason: 'certificateHold' })).status).toBe(422);
  });

  test('have one root, whichever node is asked first, and one list, whichever node is asked', async () => {
    expect(roots).toHaveLength(4);
    expect(new Set(roots).size).toBe(1);
    expect(roots[0]).toMatch(/^-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n$/);
    const list = async (as: Asker) => {
      const response = await as.raw('GET', `/certs/crl?org=${org}`);
      expect(response.status).toBe(200);
      return [response.headers.get('etag'), Buffer.from(await response.arrayBuffer()).toString('base64')];
    };
    const elsewhere = await there.stranger.asUser(ADMIN.email, ADMIN.password);
    const { serial } = await issue();
    const before = await list(admin);
    expect(await list(elsewhere)).toEqual(before);
    await revoke(serial);
    const [one, two] = await Promise.all([list(elsewhere), list(admin)]);
    expect(one).toEqual(two);
    expect(one).not.toEqual(before);
    expect(Buffer.from(one[1] ?? '', 'base64').includes(Buffer.from(serial, 'hex'))).toBe(true);
  });
});
