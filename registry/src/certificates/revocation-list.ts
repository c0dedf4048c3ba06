import type { Database } from '../database/database.ts';
import type { Parts } from '../parts.ts';
import type { Issuers } from './issuers.ts';
import { SIGNING_ALGORITHM, signingKey } from './making.ts';
import { x509 } from './x509.ts';

/** Reasons as RFC 5280 names and numbers them. Holding is not among them: what is revoked stays so. */
export const REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
  aACompromise: 10,
} as const;
export type Reason = keyof typeof REASONS;
export const reasons = Object.keys(REASONS) as [Reason, ...Reason[]];

/** Lists kept in memory, by what they may take. */
const KEPT_MAX = 16;
const HOUR_MS = 3_600_000;
const CRL_NUMBER = '2.5.29.20';

export interface RevocationList {
  /** DER. */
  readonly list: Uint8Array;
  readonly number: number;
  /** When the next is made at the latest. */
  readonly staleAt: Date;
}
export interface RevocationLists {
  /** null if there is no such issuer. */
  get(issuer: string): Promise<RevocationList | null>;
}

interface ListRow {
  readonly number: string;
  readonly stale: boolean;
  readonly staleAt: Date | null;
}
interface RevokedRow {
  readonly serial: string;
  readonly revokedAt: Date;
  readonly reason: Reason;
}

const HEAD = `SELECT crl_number AS number, crl IS NULL OR crl_stale_at <= $2 AS stale, crl_stale_at AS "staleAt"
  FROM registry.issuers WHERE id = $1`;

/** Signed lists of what an issuer revoked: made when asked for, once after each change, by one node for all.
 *  @source RFC 5280 §5 */
export function createRevocationLists({ database, config, now }: Parts, issuers: Issuers): RevocationLists {
  const kept = new Map<string, RevocationList>();
  const keep = (issuer: string, list: RevocationList): RevocationList => {
    kept.delete(issuer);
    kept.set(issuer, list);
    for (const oldest of kept.keys()) {
      if (kept.size <= KEPT_MAX) break;
      kept.delete(oldest);
    }
    return list;
  };
  const get = async (issuer: string): Promise<RevocationList | null> => {
    const [head] = await database.query<ListRow>(HEAD, [issuer, new Date(now())]);
    if (head === undefined) return null;
    if (head.stale || head.staleAt === null) {
      const made = await renew(database, issuers, issuer, now(), config.MILLRACE_CERTS_CRL_HOURS * HOUR_MS);
      return made === null ? null : keep(issuer, made);
    }
    const known = kept.get(issuer);
    if (known !== undefined && known.number === Number(head.number)) return keep(issuer, known);
    const [row] = await database.query<{ list: Buffer | null; number: string; staleAt: Date }>(
      'SELECT crl AS list, crl_number AS number, crl_stale_at AS "staleAt" FROM registry.issuers WHERE id = $1',
      [issuer],
    );
    // It became void between the two questions.
    if (row?.list == null) return get(issuer);
    return keep(issuer, { list: row.list, number: Number(row.number), staleAt: row.staleAt });
  };
  return { get };
}

async function renew(
  database: Database,
  issuers: Issuers,
  id: string,
  nowMs: number,
  lifeMs: number,
): Promise<RevocationList | null> {
  const issuer = await issuers.get(id);
  if (issuer === null) return null;
  const { X509Certificate, X509CrlGenerator, Extension, AuthorityKeyIdentifierExtension } = await x509();
  return database.transaction(async (tx) => {
    const [head] = await tx.query<{ list: Buffer | null; number: string; staleAt: Date }>(
      `SELECT CASE WHEN crl_stale_at > $2 THEN crl END AS list, crl_number AS number, crl_stale_at AS "staleAt"
       FROM registry.issuers WHERE id = $1 FOR UPDATE`,
      [id, new Date(nowMs)],
    );
    if (head === undefined) return null;
    const number = Number(head.number);
    // Another made it while we waited.
    if (head.list !== null) return { list: head.list, number, staleAt: head.staleAt };
    const revoked = await tx.query<RevokedRow>(
      `SELECT serial, revoked_at AS "revokedAt", reason FROM registry.issued_certificates
       WHERE issuer = $1 AND revoked_at IS NOT NULL AND expires_at > $2 ORDER BY revoked_at, serial`,
      [id, new Date(nowMs)],
    );
    const signer = issuers.signer(issuer);
    const certificate = new X509Certificate(signer.pem);
    const list = await X509CrlGenerator.create({
      issuer: certificate.subjectName,
      thisUpdate: new Date(nowMs),
      nextUpdate: new Date(nowMs + lifeMs),
      signingAlgorithm: SIGNING_ALGORITHM,
      signingKey: await signingKey(signer.secret),
      entries: revoked.map(({ serial, revokedAt, reason }) => ({
        serialNumber: serial,
        revocationDate: revokedAt,
        // Unspecified is told by telling none.
        ...(REASONS[reason] === 0 ? {} : { reason: REASONS[reason] as number }),
      })),
      extensions: [
        await AuthorityKeyIdentifierExtension.create(certificate.publicKey),
        new Extension(CRL_NUMBER, false, integer(number + 1)),
      ],
    });
    const der = new Uint8Array(list.rawData);
    // Verifiers must never see the last one run out.
    const staleAt = new Date(nowMs + lifeMs / 2);
    await tx.query('UPDATE registry.issuers SET crl = $2, crl_number = $3, crl_stale_at = $4 WHERE id = $1', [
      id,
      Buffer.from(der),
      number + 1,
      staleAt,
    ]);
    return { list: der, number: number + 1, staleAt };
  });
}

/** A whole number in DER. */
function integer(value: number): Uint8Array<ArrayBuffer> {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  const positive = (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.from([0]), bytes]);
  return Uint8Array.from([0x02, positive.length, ...positive]);
}
