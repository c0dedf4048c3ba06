import type { X509Certificate } from 'node:crypto';
import { uuidV7 } from '@millrace/core';
import { actingAs } from '../audit/actor.ts';
import type { ChangeSession } from '../changes.ts';
import type { Parts } from '../parts.ts';
import { commonName, isIssuedBy } from './authorities.ts';
import type { JustInTime } from './brought.ts';
import { isStrongSignature, judgeKey } from './keys.ts';
import { hasUnknownCritical, x509 } from './x509.ts';

/** What came of a certificate that nobody knows. */
export type Arrival =
  /** It is known now, or was already, alive or not: look it up by its fingerprint. */
  | 'registered'
  /** No authority that registers issued it, or it is none that could be let in. */
  | 'unknown'
  /** The authority has registered as many as it may in a minute. */
  | 'too_many'
  /** The group or the channels that the authority registers into are gone. */
  | 'misplaced';

export interface JustInTimeRegistration {
  arrive(fingerprint: string, certificate: X509Certificate): Promise<Arrival>;
}

interface Candidate {
  readonly id: string;
  readonly org: string;
  readonly certificate: string;
  readonly jit: JustInTime;
  readonly full: boolean;
}

/** Beyond it a certificate is no thing's: metadata and database would be filled with what a stranger made up. */
const CERTIFICATE_BYTES_MAX = 8_192;
/** Authorities of one name; only one of them has the key. */
const CANDIDATES_MAX = 64;
const NAME_CHARACTERS_MAX = 256;
const MINUTE_MS = 60_000;
const ACTOR = {
  kind: 'system',
  id: null,
  name: 'just-in-time registration',
  via: null,
  address: null,
  protocol: null,
} as const;
/** Nothing comes into an organisation that is frozen. */
const THAWED = 'NOT EXISTS (SELECT 1 FROM registry.orgs WHERE orgs.id = org AND frozen)';
const CANDIDATES = `SELECT id, org, certificate, jit, minute_at = $2 AND minute_count >= $3 AS full
  FROM registry.authorities
  WHERE jit IS NOT NULL AND (jit ->> 'enabled')::boolean AND md5(subject) = md5($1) AND subject = $1 AND expires_at > $4
    AND ${THAWED}
  ORDER BY created_at, id LIMIT ${CANDIDATES_MAX}`;

/** Makes a thing of a certificate that an organisation's authority issued, the first time that it is shown.
 *  @holds once for each certificate, however many connections show it at the same time on however many nodes; never
 *         again when the thing has been deleted */
export function createJustInTime(parts: Parts): JustInTimeRegistration {
  const { database, feed, config, metrics, now } = parts;
  const countMax = config.MILLRACE_CERTS_JIT_PER_MINUTE_MAX;
  const arrivals = metrics.counter(
    'millrace_certs_arrivals_total',
    'Certificates of registered authorities that nobody knew, by what came of them.',
    ['outcome'],
  );
  const told = (outcome: Arrival): Arrival => {
    arrivals.inc({ outcome });
    return outcome;
  };

  const register = (fingerprint: string, certificate: X509Certificate, { id }: Candidate): Promise<Arrival> =>
    actingAs(ACTOR, () =>
      feed.transaction(async (tx) => {
        // All of one authority take turns: each certificate is counted, and made, once.
        const minute = new Date(Math.floor(now() / MINUTE_MS) * MINUTE_MS);
        const [authority] = await tx.query<Candidate>(
          `SELECT id, org, jit, minute_at = $2 AND minute_count >= $3 AS full FROM registry.authorities
           WHERE id = $1 AND (jit ->> 'enabled')::boolean AND ${THAWED} FOR UPDATE`,
          [id, minute, countMax],
        );
        if (authority === undefined) return 'unknown';
        const known = await tx.query('SELECT 1 FROM registry.jit_registrations WHERE fingerprint = $1', [fingerprint]);
        if (known.length > 0) return 'registered';
        const name = nameOf(certificate, authority.jit);
        if (name === null) return 'unknown';
        if (authority.full) return 'too_many';
        if (!(await placesExist(tx, authority))) return 'misplaced';
        await tx.query(
          `UPDATE registry.authorities SET minute_at = $2, minute_count = CASE WHEN minute_at = $2 THEN minute_count + 1 ELSE 1 END
           WHERE id = $1`,
          [id, minute],
        );
        await make(tx, parts, authority, name, fingerprint, certificate);
        return 'registered';
      }),
    );

  return {
    async arrive(fingerprint, certificate) {
      if (certificate.raw.length > CERTIFICATE_BYTES_MAX) return 'unknown';
      const nowMs = now();
      const minute = new Date(Math.floor(nowMs / MINUTE_MS) * MINUTE_MS);
      const values = [certificate.issuer, minute, countMax, new Date(nowMs)];
      // PostgreSQL keeps no U+0000; no name of an authority holds it.
      if (certificate.issuer === undefined || certificate.issuer.includes('\0')) return 'unknown';
      const candidates = await database.query<Candidate>(CANDIDATES, values);
      if (candidates.length === 0) return 'unknown';
      const issuer = candidates.find((each) => isIssuedBy(certificate, each.certificate, nowMs));
      if (issuer === undefined || !(await isFit(certificate))) return told('unknown');
      if (issuer.full) {
        const known = await database.query('SELECT 1 FROM registry.jit_registrations WHERE fingerprint = $1', [
          fingerprint,
        ]);
        if (known.length === 0) return told('too_many');
      }
      return told(await register(fingerprint, certificate, issuer));
    },
  };
}

async function placesExist(tx: ChangeSession, { org, jit }: Candidate): Promise<boolean> {
  if (jit.groupId !== null) {
    const found = await tx.query('SELECT 1 FROM registry.groups WHERE id = $1 AND org = $2', [jit.groupId, org]);
    if (found.length === 0) return false;
  }
  // Held until the end: none goes away before it is connected.
  const channels = await tx.query(
    'SELECT 1 FROM registry.channels WHERE id = ANY ($1::uuid[]) AND org = $2 ORDER BY id FOR KEY SHARE',
    [jit.channelIds, org],
  );
  return channels.length === new Set(jit.channelIds).size;
}

async function make(
  tx: ChangeSession,
  { credentials }: Parts,
  { id: authority, org, jit }: Candidate,
  name: string,
  fingerprint: string,
  certificate: X509Certificate,
): Promise<void> {
  const thing = uuidV7();
  const key = credentials.newKey();
  const metadata = {
    certificate: {
      subject: subjectOf(certificate),
      serial: certificate.serialNumber.toLowerCase(),
      fingerprint,
      authority,
    },
  };
  await tx.query(
    `INSERT INTO registry.things (id, org, name, type, key_digest, key_sealed, metadata, group_id)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      thing,
      org,
      name,
      jit.type,
      credentials.digest(key),
      credentials.encrypt(key, thing),
      JSON.stringify(metadata),
      jit.groupId,
    ],
  );
  await tx.query('INSERT INTO registry.certificates (thing, place, fingerprint) VALUES ($1, 1, $2)', [
    thing,
    fingerprint,
  ]);
  await tx.query(
    'INSERT INTO registry.jit_registrations (fingerprint, authority, thing, name) VALUES ($1, $2, $3, $4)',
    [fingerprint, authority, thing, name],
  );
  await tx.query(
    `INSERT INTO registry.connections (thing, channel, org, publish, subscribe)
     SELECT $1, channel, $2, $4, $5 FROM unnest($3::uuid[]) AS channel ORDER BY channel`,
    [thing, org, [...new Set(jit.channelIds)], jit.types.includes('publish'), jit.types.includes('subscribe')],
  );
  tx.changed('thing', thing, org, [thing]);
  if (jit.channelIds.length > 0) tx.changed('connection', thing, org, [thing]);
  const detail = { name, type: jit.type, authority, fingerprint, group_id: jit.groupId, channel_ids: jit.channelIds };
  tx.audit({ action: 'things.create', entity: 'things', id: thing, org, detail });
}

/** Whether a certificate could be a client's, beside having been issued by somebody.  @throws never */
async function isFit(certificate: X509Certificate): Promise<boolean> {
  if (certificate.ca || (await hasUnknownCritical(certificate.raw))) return false;
  try {
    if (judgeKey(certificate.publicKey).kind === 'refused') return false;
    const { X509Certificate: Parsed, KeyUsagesExtension, KeyUsageFlags } = await x509();
    const parsed = new Parsed(Uint8Array.from(certificate.raw));
    const usages = parsed.getExtension(KeyUsagesExtension)?.usages;
    if (usages !== undefined && (usages & KeyUsageFlags.digitalSignature) === 0) return false;
    return isStrongSignature(parsed.signatureAlgorithm as object);
  } catch {
    return false;
  }
}

/** What the thing is called; null if the certificate does not say it once and readably. */
function nameOf(certificate: X509Certificate, { nameFrom }: JustInTime): string | null {
  if (nameFrom === 'serial') return certificate.serialNumber.toLowerCase();
  const name = commonName(certificate);
  return name !== null && isReadable(name) ? name : null;
}

const isReadable = (text: string): boolean =>
  text.length > 0 && text.length <= NAME_CHARACTERS_MAX && !/[\p{Cc}\p{Cs}\ufffd]/u.test(text);

/** The readable part of the subject, by the short names of its attributes. */
function subjectOf(certificate: X509Certificate): Record<string, string> {
  const subject = certificate.toLegacyObject().subject as unknown as Record<string, string | string[]>;
  const texts = Object.entries(subject).map(([name, value]) => [name, [value].flat().join(', ')] as const);
  return Object.fromEntries(texts.filter(([name, value]) => isReadable(name) && isReadable(value)));
}
