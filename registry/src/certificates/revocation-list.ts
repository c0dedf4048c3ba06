import { createPrivateKey, sign } from 'node:crypto';
import type { Database } from '../database/database.ts';
import type { Parts } from '../parts.ts';
import { encode, integer, TAG, time } from './der.ts';
import type { Issuers } from './issuers.ts';
import type { Signer } from './making.ts';
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
const VERSION_2 = 1;
/** 2.5.29.20 and 2.5.29.21, DER. */
const CRL_NUMBER = Uint8Array.of(0x06, 0x03, 0x55, 0x1d, 0x14);
const CRL_REASON = Uint8Array.of(0x06, 0x03, 0x55, 0x1d, 0x15);
/** An AlgorithmIdentifier, DER.  @source RFC 5758 §3.2 */
const ECDSA_WITH_SHA256 = Uint8Array.from(Buffer.from('300a06082a8648ce3d040302', 'hex'));
/** Of an entry. Unspecified is told by telling none.  @source RFC 5280 §5.3.1 */
const REASON_EXTENSIONS = Object.fromEntries(
  reasons.map((reason) => [
    reason,
    REASONS[reason] === 0
      ? new Uint8Array()
      : encode(
          TAG.sequence,
          encode(TAG.sequence, CRL_REASON, encode(TAG.octets, encode(TAG.enumerated, Uint8Array.of(REASONS[reason])))),
        ),
  ]),
) as Record<Reason, Uint8Array>;

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
  const { X509Certificate, AuthorityKeyIdentifierExtension } = await x509();
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
    const der = write(
      Buffer.from(certificate.subjectName.toArrayBuffer()),
      [new Date(nowMs), new Date(nowMs + lifeMs)],
      revoked,
      [
        Buffer.from((await AuthorityKeyIdentifierExtension.create(certificate.publicKey)).rawData),
        encode(TAG.sequence, CRL_NUMBER, encode(TAG.octets, integer(number + 1))),
      ],
      signer,
    );
    // Verifiers must never see the last one run out.
    const staleAt = new Date(nowMs + lifeMs / 2);
    await tx.query('UPDATE registry.issuers SET crl = $2, crl_number = $3, crl_stale_at = $4 WHERE id = $1', [
      id,
      der,
      number + 1,
      staleAt,
    ]);
    return { list: der, number: number + 1, staleAt };
  });
}

/** @param extensions of the list, DER */
function write(
  issuer: Uint8Array,
  updates: readonly Date[],
  revoked: readonly RevokedRow[],
  extensions: readonly Uint8Array[],
  { secret }: Signer,
): Buffer {
  const entries = revoked.map(({ serial, revokedAt, reason }) =>
    encode(TAG.sequence, encode(TAG.integer, Buffer.from(serial, 'hex')), time(revokedAt), REASON_EXTENSIONS[reason]),
  );
  const body = encode(
    TAG.sequence,
    integer(VERSION_2),
    ECDSA_WITH_SHA256,
    issuer,
    ...updates.map(time),
    // A list of none is left out.
    ...(entries.length === 0 ? [] : [encode(TAG.sequence, Buffer.concat(entries))]),
    encode(TAG.context0, encode(TAG.sequence, ...extensions)),
  );
  const key = createPrivateKey({ key: Buffer.from(secret, 'base64'), format: 'der', type: 'pkcs8' });
  const signature = sign('sha256', body, key);
  return encode(TAG.sequence, body, ECDSA_WITH_SHA256, encode(TAG.bits, Uint8Array.of(0), signature));
}
