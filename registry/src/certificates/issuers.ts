import { randomUUID, X509Certificate } from 'node:crypto';
import type { Session } from '../database/database.ts';
import type { Parts } from '../parts.ts';
import type { PublicKey } from './keys.ts';
import {
  type MadeLeaf,
  makeAuthority,
  makeLeaf,
  type Signer,
  type Validity,
  validity,
  type Whereabouts,
} from './making.ts';

const DAY_MS = 86_400_000;
const ROOT_MS = 3_650 * DAY_MS;
/** Half of the root's life, so that what a root signs always ends before it. */
const ISSUER_MS = ROOT_MS / 2;
/** The longest that is usual among public authorities, too. */
export const TTL_MS_MAX = 825 * DAY_MS;

/** An authority of the platform: the root (org null), or one that issues for an organisation. */
export interface Issuer {
  readonly id: string;
  readonly org: string | null;
  readonly root: string | null;
  readonly serial: string;
  /** PEM. */
  readonly certificate: string;
  readonly keySealed: string;
  readonly expiresAt: Date;
}
export interface Issuers {
  /** The newest root; made when there is none yet. */
  root(): Promise<Issuer>;
  /** The one that issues for an organisation now; made when there is none yet. */
  of(org: string): Promise<Issuer>;
  get(id: string): Promise<Issuer | null>;
  isOrg(id: string): Promise<boolean>;
  /** Its certificate, then that of the root: what a client sends along, and what a verifier trusts. PEM. */
  chain(issuer: Issuer): Promise<string>;
  issue(issuer: Issuer, thing: string, key: PublicKey, when: Validity): Promise<MadeLeaf>;
  /** What it signs lists and answers with. */
  signer(issuer: Issuer): Signer;
}

export const ISSUER = `id, org, root, serial, certificate, key_sealed AS "keySealed", expires_at AS "expiresAt"`;

/** @holds a leaf ends before its issuer, and an issuer before its root: both are made anew long before they end */
export function createIssuers({ database, credentials, publicUrl, now }: Parts): Issuers {
  const usable = async (session: Session, org: string | null): Promise<Issuer | null> => {
    const until = new Date(now() + (org === null ? ISSUER_MS : TTL_MS_MAX) + DAY_MS);
    const [found] = await session.query<Issuer>(
      `SELECT ${ISSUER} FROM registry.issuers WHERE org IS NOT DISTINCT FROM $1 AND expires_at > $2
       ORDER BY expires_at DESC, id LIMIT 1`,
      [org, until],
    );
    return found ?? null;
  };
  const where = (issuer: string): Whereabouts | null => {
    const url = publicUrl();
    if (url === '') return null;
    return { crl: `${url}/certs/crl/${issuer}`, ocsp: `${url}/certs/ocsp`, issuer: `${url}/certs/ca/${issuer}` };
  };
  const signer = (issuer: Issuer): Signer => ({
    pem: issuer.certificate,
    secret: credentials.decrypt(issuer.keySealed, issuer.id),
  });
  const make = async (session: Session, org: string | null, root: Issuer | null): Promise<Issuer> => {
    const id = randomUUID();
    const made = await makeAuthority(
      org === null ? 'root' : 'things',
      validity(now(), org === null ? ROOT_MS : ISSUER_MS),
      root === null ? null : signer(root),
      root === null ? null : where(root.id),
    );
    const [issuer] = await session.query<Issuer>(
      `INSERT INTO registry.issuers (id, org, root, serial, certificate, key_sealed, ocsp_names, expires_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING ${ISSUER}`,
      [
        id,
        org,
        root?.id ?? null,
        made.serial,
        made.pem,
        credentials.encrypt(made.secret, id),
        made.ocspNames,
        new X509Certificate(made.pem).validTo,
      ],
    );
    return issuer as Issuer;
  };
  const rootIn = async (session: Session): Promise<Issuer> =>
    (await usable(session, null)) ?? (await make(session, null, null));
  /** Nodes that want the first at once take turns. */
  const making = <T>(work: (session: Session) => Promise<T>): Promise<T> =>
    database.transaction(async (tx) => {
      await tx.query('LOCK TABLE registry.issuers IN SHARE ROW EXCLUSIVE MODE');
      return work(tx);
    });
  const get = async (id: string): Promise<Issuer | null> =>
    (await database.query<Issuer>(`SELECT ${ISSUER} FROM registry.issuers WHERE id = $1`, [id]))[0] ?? null;

  return {
    signer,
    get,
    isOrg: async (id) => (await database.query('SELECT 1 FROM registry.orgs WHERE id = $1', [id])).length > 0,
    root: async () => (await usable(database, null)) ?? (await making(rootIn)),
    of: async (org) =>
      (await usable(database, org)) ??
      (await making(async (tx) => (await usable(tx, org)) ?? (await make(tx, org, await rootIn(tx))))),
    async chain(issuer) {
      const root = issuer.root === null ? null : await get(issuer.root);
      return root === null ? `${issuer.certificate}\n` : `${issuer.certificate}\n${root.certificate}\n`;
    },
    issue: (issuer, thing, key, when) => makeLeaf(thing, key, when, signer(issuer), where(issuer.id)),
  };
}
