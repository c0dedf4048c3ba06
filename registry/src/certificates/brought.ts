import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { uuidV7 } from '@millrace/core';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { checkVersion } from '../inventory/change.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';
import type { ThingType } from '../inventory/things.ts';
import type { Parts } from '../parts.ts';
import { commonName, isIssuedBy, isWithinValidity, parseAuthority } from './authorities.ts';
import { judgeKey } from './keys.ts';
import { hasUnknownCritical } from './x509.ts';

/** How a certificate that nobody knows yet, but that the authority issued, becomes a thing. */
export interface JustInTime {
  readonly enabled: boolean;
  readonly groupId: string | null;
  readonly type: ThingType;
  readonly channelIds: readonly string[];
  readonly types: readonly ('publish' | 'subscribe')[];
  readonly nameFrom: 'cn' | 'serial';
}
/** An authority that an organisation brought. */
export interface BroughtAuthority {
  readonly id: string;
  readonly org: string;
  readonly name: string;
  readonly certificate: string;
  readonly subject: string;
  readonly fingerprint: string;
  readonly notBefore: Date;
  readonly expiresAt: Date;
  readonly jit: JustInTime | null;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}
export interface Registration {
  readonly fingerprint: string;
  /** null when it has been deleted: the certificate does not make another one. */
  readonly thing: string | null;
  readonly name: string;
  readonly createdAt: Date;
}
export interface NewAuthority {
  readonly org: string;
  readonly name: string;
  readonly certificate: string;
  /** A certificate that it issued to the registration code. */
  readonly proof: string;
  readonly jit: JustInTime | null;
}
export interface AuthorityPatch {
  readonly name?: string | undefined;
  readonly jit?: JustInTime | null | undefined;
}
export type Registering =
  | { readonly kind: 'ok'; readonly authority: BroughtAuthority }
  | { readonly kind: 'refused'; readonly field: AuthorityField; readonly problem: string }
  | { readonly kind: 'full'; readonly countMax: number };
export type AuthorityField = 'certificate' | 'proof' | 'jit.group_id' | 'jit.channel_ids';

export interface BroughtAuthorities {
  /** What the proof must be issued to: whoever holds the authority's key can make it. */
  code(org: string): { code: string; expiresAt: Date };
  /** @throws RegistryError REGISTRY_CONFLICT with field authority when its key is registered already */
  register(authority: NewAuthority): Promise<Registering>;
  get(id: string): Promise<BroughtAuthority | null>;
  list(query: ListQuery): Promise<Listed<BroughtAuthority>>;
  /** null if it is gone.  @throws RegistryError REGISTRY_VERSION_MISMATCH */
  update(id: string, patch: AuthorityPatch, expected: number | null): Promise<Registering | null>;
  /** With cascade, what came in by it is not let in by its certificates any more.  @returns how many things that were
   *  @throws RegistryError REGISTRY_IN_USE, REGISTRY_VERSION_MISMATCH */
  remove(id: string, cascade: boolean, expected: number | null): Promise<number | null>;
  registrations(authority: string, query: ListQuery): Promise<Listed<Registration & { readonly id: string }>>;
  /** Lets the certificate of a deleted thing make a thing again.  @throws RegistryError REGISTRY_IN_USE */
  forget(authority: string, fingerprint: string): Promise<boolean>;
}

const COLUMNS = `id, org, name, certificate, subject, fingerprint, not_before AS "notBefore", expires_at AS "expiresAt",
  jit, version, created_at AS "createdAt", updated_at AS "updatedAt"`;
/** Fingerprints by which things came in through an authority, and still do. */
const RELYING = `SELECT kept.thing, kept.fingerprint FROM registry.jit_registrations AS came
  JOIN registry.certificates AS kept ON kept.fingerprint = came.fingerprint AND kept.thing = came.thing WHERE came.authority = $1`;
/** @shape id: half of the fingerprint, to turn pages by */
const REGISTRATIONS = `(SELECT left(came.fingerprint, 32)::uuid AS id, came.fingerprint, authority, authorities.org, came.name,
    came.created_at, came.created_at AS updated_at, things.id AS thing
  FROM registry.jit_registrations AS came JOIN registry.authorities ON authorities.id = came.authority
    LEFT JOIN registry.things ON things.id = came.thing) AS registrations`;
const CODE_MS = 3_600_000;
const TOLD_MAX = 1_000;

export function createBrought({ database, feed, credentials, config, now }: Parts): BroughtAuthorities {
  const countMax = config.MILLRACE_CERTS_AUTHORITIES_MAX;
  /** Short enough for a common name, which holds 64 characters. */
  const codeOf = (org: string, untilMs: number): string =>
    `${untilMs.toString(36)}-${credentials.digest(`authority of ${org} until ${untilMs}`).slice(0, 40)}`;
  const isCode = (org: string, code: string): boolean => {
    const untilMs = Number.parseInt(code.split('-')[0] ?? '', 36);
    if (!Number.isSafeInteger(untilMs) || untilMs < now() || untilMs > now() + CODE_MS) return false;
    const [wanted, given] = [codeOf(org, untilMs), code].map((text) => createHash('sha256').update(text).digest());
    return wanted !== undefined && given !== undefined && timingSafeEqual(wanted, given);
  };
  const get = async (session: Session, id: string, lock = ''): Promise<BroughtAuthority | null> => {
    const sql = `SELECT ${COLUMNS} FROM registry.authorities WHERE id = $1 ${lock}`;
    return (await session.query<BroughtAuthority>(sql, [id]))[0] ?? null;
  };

  return {
    code(org) {
      const untilMs = now() + CODE_MS;
      return { code: codeOf(org, untilMs), expiresAt: new Date(untilMs) };
    },

    async register({ org, name, certificate: pem, proof, jit }) {
      const problem = await problemOfAuthority(pem, now());
      if (problem !== null) return refused('certificate', problem);
      const authority = new X509Certificate(pem);
      const shown = parseOne(proof);
      if (shown === null) return refused('proof', 'must hold exactly one certificate in PEM');
      if (!isIssuedBy(shown, pem, now()))
        return refused('proof', 'was not issued by this authority, or is not valid now');
      if (!isCode(org, commonName(shown) ?? ''))
        return refused('proof', 'must be issued to the registration code (CN) of the last hour');
      const spki = authority.publicKey.export({ type: 'spki', format: 'der' });
      return feed.transaction(async (tx) => {
        await tx.query('SELECT 1 FROM registry.orgs WHERE id = $1 FOR NO KEY UPDATE', [org]);
        const [held] = await tx.query<{ count: number }>(
          'SELECT count(*)::integer AS count FROM registry.authorities WHERE org = $1',
          [org],
        );
        if ((held?.count ?? 0) >= countMax) return { kind: 'full', countMax };
        const misplaced = jit === null ? null : await problemOfPlaces(tx, org, jit);
        if (misplaced !== null) return misplaced;
        const [made] = await tx.query<BroughtAuthority>(
          `INSERT INTO registry.authorities
             (id, org, name, certificate, subject, fingerprint, key_digest, not_before, expires_at, jit)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING ${COLUMNS}`,
          [
            uuidV7(),
            org,
            name,
            authority.toString().trim(),
            authority.subject,
            createHash('sha256').update(authority.raw).digest('hex'),
            createHash('sha256').update(spki).digest('hex'),
            authority.validFrom,
            authority.validTo,
            jit === null ? null : JSON.stringify(jit),
          ],
        );
        const registered = made as BroughtAuthority;
        // Voids nobody, but what was refused until now may be known.
        tx.changed('certificate', registered.id, org, []);
        const detail = { authority: true, name, fingerprint: registered.fingerprint, jit };
        tx.audit({ action: 'certs.create', entity: 'certs', id: registered.id, org, detail });
        return { kind: 'ok', authority: registered };
      });
    },

    get: (id) => get(database, id),

    list: (query) => listRows(database, 'registry.authorities', COLUMNS, query),

    update: (id, { name, jit }, expected) =>
      feed.transaction(async (tx) => {
        const found = await get(tx, id, 'FOR UPDATE');
        if (found === null) return null;
        checkVersion('certs', found, expected);
        const misplaced = jit == null ? null : await problemOfPlaces(tx, found.org, jit);
        if (misplaced !== null) return misplaced;
        const [changed] = await tx.query<BroughtAuthority>(
          `UPDATE registry.authorities SET name = coalesce($2, name), jit = CASE WHEN $3 THEN $4::jsonb ELSE jit END,
             version = version + 1, updated_at = now() WHERE id = $1 RETURNING ${COLUMNS}`,
          [id, name, jit !== undefined, jit == null ? null : JSON.stringify(jit)],
        );
        tx.changed('certificate', id, found.org, []);
        const detail = {
          authority: true,
          ...(name === undefined ? {} : { name }),
          ...(jit === undefined ? {} : { jit }),
        };
        tx.audit({ action: 'certs.update', entity: 'certs', id, org: found.org, detail });
        return { kind: 'ok', authority: changed as BroughtAuthority };
      }),

    remove: (id, cascade, expected) =>
      feed.transaction(async (tx) => {
        const found = await get(tx, id, 'FOR UPDATE');
        if (found === null) return null;
        checkVersion('certs', found, expected);
        const relying = await tx.query<{ thing: string; fingerprint: string }>(RELYING, [id]);
        if (relying.length > 0 && !cascade)
          throw new RegistryError('REGISTRY_IN_USE', 'never', { things: relying.length });
        await tx.query('DELETE FROM registry.certificates WHERE fingerprint = ANY ($1)', [
          relying.map(({ fingerprint }) => fingerprint),
        ]);
        await tx.query('DELETE FROM registry.authorities WHERE id = $1', [id]);
        const things = [...new Set(relying.map(({ thing }) => thing))];
        tx.changed('certificate', id, found.org, []);
        for (let from = 0; from < things.length; from += TOLD_MAX)
          tx.changed('certificate', id, found.org, things.slice(from, from + TOLD_MAX));
        const detail = { authority: true, name: found.name, things: things.length };
        tx.audit({ action: 'certs.delete', entity: 'certs', id, org: found.org, detail });
        return things.length;
      }),

    registrations: (authority, query) =>
      listRows(database, REGISTRATIONS, 'id, fingerprint, thing, name, created_at AS "createdAt"', query, (clauses) =>
        clauses.add('authority = ?', authority),
      ),

    forget: (authority, fingerprint) =>
      feed.transaction(async (tx) => {
        const found = await get(tx, authority, 'FOR UPDATE');
        if (found === null) return false;
        const [came] = await tx.query<{ alive: boolean }>(
          `SELECT things.id IS NOT NULL AS alive FROM registry.jit_registrations AS came
           LEFT JOIN registry.things ON things.id = came.thing WHERE authority = $1 AND fingerprint = $2`,
          [authority, fingerprint],
        );
        if (came === undefined) return false;
        if (came.alive) throw new RegistryError('REGISTRY_IN_USE', 'never', { things: 1 });
        await tx.query('DELETE FROM registry.jit_registrations WHERE fingerprint = $1', [fingerprint]);
        tx.changed('certificate', authority, found.org, []);
        const detail = { authority: true, forgotten: fingerprint };
        tx.audit({ action: 'certs.update', entity: 'certs', id: authority, org: found.org, detail });
        return true;
      }),
  };
}

const refused = (field: AuthorityField, problem: string): Registering => ({ kind: 'refused', field, problem });

async function problemOfPlaces(session: Session, org: string, jit: JustInTime): Promise<Registering | null> {
  const groups = await session.query('SELECT 1 FROM registry.groups WHERE id = $1 AND org = $2', [jit.groupId, org]);
  if (jit.groupId !== null && groups.length === 0) return refused('jit.group_id', 'is no group of the organisation');
  const channels = await session.query('SELECT 1 FROM registry.channels WHERE id = ANY ($1::uuid[]) AND org = $2', [
    jit.channelIds,
    org,
  ]);
  if (channels.length === new Set(jit.channelIds).size) return null;
  return refused('jit.channel_ids', 'holds what is no channel of the organisation');
}

/** Why a certificate can not be an organisation's authority; null if it can. */
async function problemOfAuthority(pem: string, nowMs: number): Promise<string | null> {
  const parsed = parseAuthority(pem);
  if (parsed.kind === 'refused') return parsed.problem;
  const authority = new X509Certificate(pem);
  if (!isWithinValidity(authority, nowMs)) return 'is not valid now';
  const judged = judgeKey(authority.publicKey);
  if (judged.kind === 'refused') return judged.problem;
  // What it may issue only under conditions, we could not hold it to.
  if (await hasUnknownCritical(authority.raw)) return 'has a critical extension that is not understood here';
  return null;
}

function parseOne(pem: string): X509Certificate | null {
  if (pem.split('-----BEGIN ').length !== 2) return null;
  try {
    return new X509Certificate(pem);
  } catch {
    return null;
  }
}
