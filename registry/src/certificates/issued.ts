import type { ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { type Listed, type ListQuery, listRows } from '../inventory/page.ts';
import type { Parts } from '../parts.ts';
import type { Issuers } from './issuers.ts';
import type { PublicKey } from './keys.ts';
import { validity } from './making.ts';
import type { Reason } from './revocation-list.ts';

/** A certificate that the platform issued. */
export interface IssuedCertificate {
  readonly serial: string;
  readonly issuer: string;
  readonly org: string;
  readonly thing: string;
  readonly fingerprint: string;
  readonly certificate: string;
  readonly keyType: string;
  readonly notBefore: Date;
  readonly expiresAt: Date;
  readonly supersededAt: Date | null;
  readonly successor: string | null;
  readonly revokedAt: Date | null;
  readonly reason: Reason | null;
  readonly createdAt: Date;
}
export const certificateStatuses = ['active', 'revoked', 'expired', 'all'] as const;
export type CertificateStatus = (typeof certificateStatuses)[number];

/** @shape ordered by `updated`: by when it expires */
export interface IssuedListQuery extends Omit<ListQuery, 'status'> {
  readonly thing?: string | undefined;
  readonly state: CertificateStatus;
}
export interface IssueRequest {
  readonly thing: string;
  readonly org: string;
  readonly key: PublicKey;
  readonly ttlMs: number;
}
export type Issuance =
  | { readonly kind: 'ok'; readonly certificate: IssuedCertificate; readonly chain: string }
  /** The thing has as many as it may. */
  | { readonly kind: 'full'; readonly countMax: number }
  /** The thing has been issued so many in a day that something must be wrong with it. */
  | { readonly kind: 'too_often' }
  /** The one to renew has been revoked, has expired, or was renewed already. */
  | { readonly kind: 'ended' }
  /** The thing or the certificate is not there. */
  | { readonly kind: 'gone' };

export interface IssuedCertificates {
  issue(request: IssueRequest): Promise<Issuance>;
  /** A further one for the same thing; the old one holds for the overlap, then it counts as superseded. */
  renew(serial: string, key: PublicKey, ttlMs: number, overlapMs: number): Promise<Issuance>;
  /** Whoever is connected with it is cut off. What is revoked already stays as it is.  @returns null if there is none */
  revoke(serial: string, reason: Reason): Promise<IssuedCertificate | null>;
  get(serial: string): Promise<IssuedCertificate | null>;
  list(query: IssuedListQuery): Promise<Listed<IssuedCertificate & { readonly id: string }>>;
  /** Where a thing is: what rights to it depend on. */
  place(thing: string): Promise<{ org: string; groups: string[] } | null>;
  /** Ends what was superseded, and forgets what has long expired. */
  sweep(): Promise<void>;
}

const COLUMNS = `serial, issuer, org, thing, fingerprint, certificate, key_type AS "keyType", not_before AS "notBefore",
  expires_at AS "expiresAt", superseded_at AS "supersededAt", successor, revoked_at AS "revokedAt", reason, created_at AS "createdAt"`;
/** @shape $2: now */
const LIVE = 'revoked_at IS NULL AND expires_at > $2 AND (superseded_at IS NULL OR superseded_at > $2)';
const PLACE = `SELECT things.org, CASE WHEN groups.id IS NULL THEN '{}' ELSE groups.ancestors || groups.id END AS groups
  FROM registry.things LEFT JOIN registry.groups ON groups.id = group_id WHERE things.id = $1`;
/** A serial number has the size of a UUID. No certificate is ever updated: that order stands for when they expire. */
const LISTED = `(SELECT serial::uuid AS id, expires_at AS updated_at, kept.* FROM registry.issued_certificates AS kept) AS issued`;
const DAY_MS = 86_400_000;
const SWEPT_MAX = 500;
/** A thing that renews without end would fill the lists of what is revoked. */
const A_DAY_FACTOR = 4;

export function createIssued(parts: Parts, issuers: Issuers): IssuedCertificates {
  const { database, feed, config, now } = parts;
  const countMax = config.MILLRACE_CERTS_PER_THING_MAX;

  const get = async (session: Session, serial: string, lock = ''): Promise<IssuedCertificate | null> => {
    const sql = `SELECT ${COLUMNS} FROM registry.issued_certificates WHERE serial = $1 ${lock}`;
    return (await session.query<IssuedCertificate>(sql, [serial]))[0] ?? null;
  };

  /** Makes one; under the thing's lock it counts those that there are. */
  const insert = async (
    { thing, org, key, ttlMs }: IssueRequest,
    before: (tx: ChangeSession, serial: string) => Promise<'ok' | 'ended'>,
  ): Promise<Issuance> => {
    const issuer = await issuers.of(org);
    const when = validity(now(), ttlMs);
    const made = await issuers.issue(issuer, thing, key, when);
    const chain = await issuers.chain(issuer);
    return feed.transaction(async (tx) => {
      const [found] = await tx.query('SELECT 1 FROM registry.things WHERE id = $1 AND org = $2 FOR NO KEY UPDATE', [
        thing,
        org,
      ]);
      if (found === undefined) return { kind: 'gone' };
      const [held] = await tx.query<{ live: number; recent: number }>(
        `SELECT count(*) FILTER (WHERE ${LIVE})::integer AS live,
           count(*) FILTER (WHERE created_at > now() - interval '1 day')::integer AS recent
         FROM registry.issued_certificates WHERE thing = $1`,
        [thing, new Date(now())],
      );
      if ((held?.live ?? 0) >= countMax) return { kind: 'full', countMax };
      if ((held?.recent ?? 0) >= countMax * A_DAY_FACTOR) return { kind: 'too_often' };
      if ((await before(tx, made.serial)) === 'ended') return { kind: 'ended' };
      const [certificate] = await tx.query<IssuedCertificate>(
        `INSERT INTO registry.issued_certificates
           (serial, issuer, org, thing, fingerprint, certificate, key_type, not_before, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING ${COLUMNS}`,
        [made.serial, issuer.id, org, thing, made.fingerprint, made.pem, key.name, when.notBefore, when.notAfter],
      );
      const detail = { thing, algorithm: key.name, expires_at: when.notAfter.toISOString() };
      tx.audit({ action: 'certs.create', entity: 'certs', id: made.serial, org, detail });
      return { kind: 'ok', certificate: certificate as IssuedCertificate, chain };
    });
  };

  const end = async (tx: ChangeSession, one: IssuedCertificate, reason: Reason): Promise<IssuedCertificate> => {
    const [ended] = await tx.query<IssuedCertificate>(
      `UPDATE registry.issued_certificates SET revoked_at = $2, reason = $3 WHERE serial = $1 RETURNING ${COLUMNS}`,
      [one.serial, new Date(now()), reason],
    );
    await tx.query('UPDATE registry.issuers SET crl = NULL WHERE id = $1', [one.issuer]);
    tx.changed('certificate', one.thing, one.org, [one.thing]);
    const detail = { thing: one.thing, reason };
    tx.audit({ action: 'certs.revoke', entity: 'certs', id: one.serial, org: one.org, detail });
    return ended as IssuedCertificate;
  };

  return {
    issue: (request) => insert(request, async () => 'ok'),

    async renew(serial, key, ttlMs, overlapMs) {
      const old = await get(database, serial);
      if (old === null) return { kind: 'gone' };
      return insert({ thing: old.thing, org: old.org, key, ttlMs }, async (tx, successor) => {
        const locked = await get(tx, serial, 'FOR UPDATE');
        const nowMs = now();
        if (locked === null || locked.revokedAt !== null || locked.supersededAt !== null) return 'ended';
        if (locked.expiresAt.getTime() <= nowMs) return 'ended';
        const until = new Date(Math.min(nowMs + overlapMs, locked.expiresAt.getTime()));
        const superseded =
          'UPDATE registry.issued_certificates SET superseded_at = $2, successor = $3 WHERE serial = $1';
        await tx.query(superseded, [serial, until, successor]);
        const detail = { thing: old.thing, successor, until: until.toISOString() };
        tx.audit({ action: 'certs.renew', entity: 'certs', id: serial, org: old.org, detail });
        if (overlapMs <= 0) await end(tx, locked, 'superseded');
        return 'ok';
      });
    },

    revoke: (serial, reason) =>
      feed.transaction(async (tx) => {
        const found = await get(tx, serial, 'FOR UPDATE');
        return found === null || found.revokedAt !== null ? found : end(tx, found, reason);
      }),

    get: (serial) => get(database, serial),

    list: ({ thing, state, ...query }) =>
      listRows(database, LISTED, `id, ${COLUMNS}`, query, (clauses) => {
        const at = new Date(now());
        if (thing !== undefined) clauses.add('thing = ?', thing);
        if (state === 'active')
          clauses.add('revoked_at IS NULL AND expires_at > ? AND (superseded_at IS NULL OR superseded_at > ?)', at);
        if (state === 'revoked') clauses.add('(revoked_at IS NOT NULL OR superseded_at <= ?)', at);
        if (state === 'expired') clauses.add('expires_at <= ?', at);
      }),

    async place(thing) {
      return (await database.query<{ org: string; groups: string[] }>(PLACE, [thing]))[0] ?? null;
    },

    async sweep() {
      const nowMs = now();
      const due = await database.query<{ serial: string }>(
        `SELECT serial FROM registry.issued_certificates WHERE superseded_at <= $1 AND revoked_at IS NULL
         ORDER BY superseded_at LIMIT $2`,
        [new Date(nowMs), SWEPT_MAX],
      );
      for (const { serial } of due) {
        await feed.transaction(async (tx) => {
          const found = await get(tx, serial, 'FOR UPDATE SKIP LOCKED');
          if (found !== null && found.revokedAt === null) await end(tx, found, 'superseded');
        });
      }
      await database.query('DELETE FROM registry.issued_certificates WHERE expires_at < $1', [
        new Date(nowMs - config.MILLRACE_CERTS_KEPT_DAYS * DAY_MS),
      ]);
    },
  };
}
