import type { X509Certificate } from 'node:crypto';
import { isUuid, type ThingRecord } from '@millrace/core';
import { THING_RECORD } from '../access/directory.ts';
import type { ChangeFeed } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { commonName, isIssuedBy, isWithinValidity, parseCertificate } from './authorities.ts';
import type { JustInTimeRegistration } from './jit.ts';

/** What lets a thing in by TLS. */
export interface Trust {
  /** SHA-256 of certificates, 64 hex digits in lower case. */
  readonly fingerprints: readonly string[];
  /** Certificates of authorities, PEM. */
  readonly authorities: readonly string[];
}
export interface Certificates {
  get(thing: string): Promise<Trust>;
  /** Replaces all. What is the same already is no change, and cuts nobody.  @returns false if the thing is gone
   *  @throws RegistryError REGISTRY_CONFLICT with field fingerprint when it is another thing's */
  replace(thing: string, trust: Trust): Promise<boolean>;
  /** @see Directory.thingByCertificate */
  find(fingerprint: string, certificate: Uint8Array): Promise<ThingRecord | null>;
}

interface TrustRow {
  readonly fingerprint: string | null;
  readonly authority: string | null;
}
type FoundRow = ThingRecord & TrustRow;
type IssuedRow = { readonly live: boolean } & { readonly [Key in keyof ThingRecord]: ThingRecord[Key] | null };

const KEPT = 'SELECT fingerprint, authority FROM registry.certificates WHERE thing = $1 ORDER BY place';
/** By fingerprint; else what the named thing trusts. */
const FIND = `SELECT ${THING_RECORD}, fingerprint, authority
  FROM registry.certificates JOIN registry.things ON things.id = thing JOIN registry.orgs ON orgs.id = things.org
  WHERE fingerprint = $1 OR (thing = $2 AND authority IS NOT NULL) ORDER BY fingerprint IS NULL, place`;

/** What the platform issued itself: that row alone says whether it is good, whatever else trusts it. */
const ISSUED = `SELECT revoked_at IS NULL AND expires_at > $2 AND (superseded_at IS NULL OR superseded_at > $2) AS live, ${THING_RECORD}
  FROM registry.issued_certificates AS issued LEFT JOIN registry.things ON things.id = thing AND things.org = issued.org
    LEFT JOIN registry.orgs ON orgs.id = things.org
  WHERE fingerprint = $1`;

export interface CertificatesOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly justInTime: JustInTimeRegistration;
  readonly now: () => number;
}

export function createCertificates({ session, feed, justInTime, now }: CertificatesOptions): Certificates {
  const trusted = async (
    fingerprint: string,
    certificate: X509Certificate,
    nowMs: number,
  ): Promise<ThingRecord | null> => {
    const named = commonName(certificate);
    const thing = named !== null && isUuid(named) ? named : null;
    const rows = await session.query<FoundRow>(FIND, [fingerprint, thing]);
    const row = rows.find(
      (each) =>
        each.fingerprint !== null || (each.authority !== null && isIssuedBy(certificate, each.authority, nowMs)),
    );
    if (row === undefined) return null;
    const { fingerprint: _, authority: __, ...found } = row;
    return found;
  };

  return {
    get: async (thing) => trustOf(await session.query<TrustRow>(KEPT, [thing])),

    replace: (thing, trust) =>
      feed.transaction(async (tx) => {
        const [found] = await tx.query<{ org: string }>('SELECT org FROM registry.things WHERE id = $1 FOR UPDATE', [
          thing,
        ]);
        if (found === undefined) return false;
        const before = trustOf(await tx.query<TrustRow>(KEPT, [thing]));
        const after = { fingerprints: [...new Set(trust.fingerprints)], authorities: [...new Set(trust.authorities)] };
        if (JSON.stringify(before) === JSON.stringify(after)) return true;
        await tx.query('DELETE FROM registry.certificates WHERE thing = $1', [thing]);
        await tx.query(
          `INSERT INTO registry.certificates (thing, place, fingerprint, authority)
           SELECT $1, place, fingerprint, authority
           FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS given (fingerprint, authority, place)
           ORDER BY fingerprint`,
          [
            thing,
            [...after.fingerprints, ...after.authorities.map(() => null)],
            [...after.fingerprints.map(() => null), ...after.authorities],
          ],
        );
        tx.changed('certificate', thing, found.org, [thing]);
        const detail = { trust: true, fingerprints: after.fingerprints, authorities: after.authorities.length };
        tx.audit({ action: 'things.update', entity: 'things', id: thing, org: found.org, detail });
        return true;
      }),

    async find(fingerprint, der) {
      const certificate = parseCertificate(der);
      const nowMs = now();
      if (certificate === null || !isWithinValidity(certificate, nowMs)) return null;
      const [issued] = await session.query<IssuedRow>(ISSUED, [fingerprint, new Date(nowMs)]);
      if (issued !== undefined) {
        const { live, ...thing } = issued;
        return live && thing.id !== null ? (thing as ThingRecord) : null;
      }
      const found = await trusted(fingerprint, certificate, nowMs);
      if (found !== null) return found;
      if ((await justInTime.arrive(fingerprint, certificate)) !== 'registered') return null;
      return trusted(fingerprint, certificate, nowMs);
    },
  };
}

const trustOf = (rows: readonly TrustRow[]): Trust => ({
  fingerprints: rows.flatMap(({ fingerprint }) => (fingerprint === null ? [] : [fingerprint])),
  authorities: rows.flatMap(({ authority }) => (authority === null ? [] : [authority])),
});
