import { createHash, createPrivateKey, sign } from 'node:crypto';
import type { CertID, OCSPRequest } from '@peculiar/asn1-ocsp';
import type { Session } from '../database/database.ts';
import { ISSUER, type Issuer, type Issuers } from './issuers.ts';
import { REASONS, type Reason } from './revocation-list.ts';
import { x509 } from './x509.ts';

/** What an answer says without being signed.  @source RFC 6960 §4.2.1 */
const STATUS = { successful: 0, malformedRequest: 1, unauthorized: 6 } as const;
const REQUEST_BYTES_MAX = 16_384;
const QUESTIONS_MAX = 16;
/** @source RFC 9654 §2.1 */
const NONCE_BYTES_MAX = 128;
/** So long an answer may be kept by who got it. */
const FRESH_MS = 600_000;
const HASHES: Readonly<Record<string, string>> = { '1.3.14.3.2.26': 'sha1', '2.16.840.1.101.3.4.2.1': 'sha256' };
const ECDSA_WITH_SHA256 = '1.2.840.10045.4.3.2';

export interface OcspAnswer {
  /** DER of an OCSPResponse. */
  readonly der: Uint8Array;
  /** So long it may be kept; 0: it was made for one question. */
  readonly secondsMax: number;
}
export interface Ocsp {
  /** @param request DER of an OCSPRequest; hostile bytes are answered too */
  answer(request: Uint8Array): Promise<OcspAnswer>;
}

interface KnownRow {
  readonly serial: string;
  readonly issuer: string;
  readonly revokedAt: Date | null;
  readonly reason: Reason | null;
}

/** Tells whether certificates of the platform are good. Each answer is signed by the issuer itself.
 *  @source RFC 6960, RFC 5019 */
export function createOcsp(session: Session, issuers: Issuers, now: () => number): Ocsp {
  const bare = async (status: number): Promise<OcspAnswer> => {
    const { AsnSerializer, ocsp } = await x509();
    const der = new Uint8Array(AsnSerializer.serialize(new ocsp.OCSPResponse({ responseStatus: status })));
    return { der, secondsMax: 0 };
  };
  const issuersOf = (names: readonly string[]): Promise<(Issuer & { names: string[] })[]> =>
    session.query(`SELECT ${ISSUER}, ocsp_names AS names FROM registry.issuers WHERE ocsp_names && $1`, [names]);
  /** Things of an issuer; issuers of a root. */
  const known = (issuer: Issuer, serials: readonly string[]): Promise<KnownRow[]> =>
    issuer.org === null
      ? session.query(
          `SELECT serial, root AS issuer, NULL AS "revokedAt", NULL AS reason FROM registry.issuers
           WHERE root = $1 AND serial = ANY ($2)`,
          [issuer.id, serials],
        )
      : session.query(
          `SELECT serial, issuer, revoked_at AS "revokedAt", reason FROM registry.issued_certificates
           WHERE issuer = $1 AND serial = ANY ($2)`,
          [issuer.id, serials],
        );

  return {
    async answer(bytes) {
      const request = await parse(bytes);
      if (request === null) return bare(STATUS.malformedRequest);
      const { AsnSerializer, OctetString, asn1, ocsp, AsnParser } = await x509();
      const ids = request.tbsRequest.requestList.map((each) => each.reqCert);
      const names = ids.map(nameOf);
      const found = await issuersOf(names.filter((name) => name !== null));
      const signer = found.find((each) => each.names.some((name) => name === names.find((asked) => asked !== null)));
      // Of nobody that we answer for. RFC 5019 §2.2.3
      if (signer === undefined) return bare(STATUS.unauthorized);
      const rows = new Map((await known(signer, ids.map(serialOf))).map((row) => [row.serial, row]));
      const nowMs = now();
      const thisUpdate = new Date(Math.floor(nowMs / 1_000) * 1_000);
      const nextUpdate = new Date(thisUpdate.getTime() + FRESH_MS);
      const responses = ids.map((id, index) => {
        const name = names[index] ?? null;
        const row = name !== null && signer.names.includes(name) ? rows.get(serialOf(id)) : undefined;
        const certStatus =
          row === undefined
            ? new ocsp.CertStatus({ unknown: null })
            : row.revokedAt === null
              ? new ocsp.CertStatus({ good: null })
              : new ocsp.CertStatus({ revoked: revoked(row.revokedAt, row.reason) });
        return new ocsp.SingleResponse({ certID: id, certStatus, thisUpdate, nextUpdate });
      });
      function revoked(at: Date, reason: Reason | null) {
        const number = REASONS[reason ?? 'unspecified'];
        return new ocsp.RevokedInfo({
          revocationTime: at,
          ...(number === 0 ? {} : { revocationReason: new asn1.CRLReason(number) }),
        });
      }
      const nonce = request.tbsRequest.requestExtensions?.find((each) => each.extnID === ocsp.id_pkix_ocsp_nonce);
      const { pem, secret } = issuers.signer(signer);
      const der = Buffer.from(pem.replaceAll(/-----[A-Z ]+-----/g, ''), 'base64');
      const certificate = AsnParser.parse(der, asn1.Certificate);
      const key = Buffer.from(certificate.tbsCertificate.subjectPublicKeyInfo.subjectPublicKey);
      const data = new ocsp.ResponseData({
        responderID: new ocsp.ResponderID({
          byKey: new ocsp.KeyHash(createHash('sha1').update(key).digest()),
        }),
        producedAt: thisUpdate,
        responses,
        ...(nonce === undefined ? {} : { responseExtensions: [nonce] }),
      });
      const tbs = AsnSerializer.serialize(data);
      const privateKey = createPrivateKey({ key: Buffer.from(secret, 'base64'), format: 'der', type: 'pkcs8' });
      const basic = new ocsp.BasicOCSPResponse({
        tbsResponseData: data,
        tbsResponseDataRaw: tbs,
        signatureAlgorithm: new asn1.AlgorithmIdentifier({ algorithm: ECDSA_WITH_SHA256 }),
        signature: Uint8Array.from(sign('sha256', Buffer.from(tbs), privateKey)).buffer,
        certs: [certificate],
      });
      const response = new ocsp.OCSPResponse({
        responseStatus: STATUS.successful,
        responseBytes: new ocsp.ResponseBytes({
          responseType: ocsp.id_pkix_ocsp_basic,
          response: new OctetString(AsnSerializer.serialize(basic)),
        }),
      });
      return {
        der: new Uint8Array(AsnSerializer.serialize(response)),
        secondsMax: nonce === undefined ? FRESH_MS / 1_000 : 0,
      };
    },
  };
}

/** @returns null for what is no request, or asks for more than there is room for */
async function parse(bytes: Uint8Array): Promise<OCSPRequest | null> {
  if (bytes.length === 0 || bytes.length > REQUEST_BYTES_MAX) return null;
  const { AsnParser, ocsp } = await x509();
  try {
    const request = AsnParser.parse(Uint8Array.from(bytes).buffer, ocsp.OCSPRequest);
    const { requestList, requestExtensions = [] } = request.tbsRequest;
    const nonces = requestExtensions.filter(({ extnID }) => extnID === ocsp.id_pkix_ocsp_nonce);
    const isFit =
      requestList.length > 0 &&
      requestList.length <= QUESTIONS_MAX &&
      nonces.length <= 1 &&
      nonces.every(({ extnValue }) => extnValue.byteLength <= NONCE_BYTES_MAX + 3);
    return isFit ? request : null;
  } catch {
    return null;
  }
}

/** How the issuer of a question stands in ours; null for a hash that we do not keep. */
function nameOf({ hashAlgorithm, issuerNameHash, issuerKeyHash }: CertID): string | null {
  const hash = HASHES[hashAlgorithm.algorithm];
  if (hash === undefined) return null;
  return `${hash}:${hexOf(issuerNameHash.buffer)}:${hexOf(issuerKeyHash.buffer)}`;
}

const serialOf = ({ serialNumber }: CertID): string => hexOf(serialNumber);
const hexOf = (bytes: ArrayBuffer): string => Buffer.from(bytes).toString('hex');
