import type { z } from '@hono/zod-openapi';
import { isUuid } from '@millrace/core';
import { deleted, etag } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { page } from '../http/schemas.ts';
import { listOf, permitMachine } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import type { Issuance, IssuedCertificate } from './issued.ts';
import { type NewKey, newKey, type PublicKey, readRequest } from './keys.ts';
import {
  CertificateAnswer,
  DeletedAnswer,
  IssueBody,
  IssuedListQuery,
  NewCertificateAnswer,
  problemAnswer,
  RenewBody,
  RequestBody,
  RevokeBody,
  ThingCertificatesQuery,
} from './schemas.ts';

const tag = 'certificates';
const TTL_SECONDS = 90 * 86_400;
const OVERLAP_SECONDS = 86_400;
/** RSA keys that are made at a time: each takes a thread for a good part of a second. */
const RSA_MAX = 2;

/** Made by `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=pump`. */
const EXAMPLE_REQUEST = [
  '-----BEGIN CERTIFICATE REQUEST-----',
  'MIHKMHECAQAwDzENMAsGA1UEAwwEcHVtcDBZMBMGByqGSM49AgEGCCqGSM49AwEH',
  'A0IABOIBbCJIVkRCEq8K2dJrqxuSe9ahRpCsdFg0C/UfhQs/ZLBK3HUJH0J6vla2',
  'IzrfqP3zV45W/thtllK9H9HIeXWgADAKBggqhkjOPQQDAgNJADBGAiEAvPz71C20',
  '2gFmUvHbhP9M9CvXalrg4/cxeEer/hz4sa0CIQCOXH/q/kFmGX1rI4Kxm9qywpin',
  'd9RrREwUoL4yvDy38w==',
  '-----END CERTIFICATE REQUEST-----',
  '',
].join('\n');

const one = { description: 'The certificate.', schema: CertificateAnswer };
const made = { description: 'The certificate, and its private key if it was made here.', schema: NewCertificateAnswer };
const full = problemAnswer('The thing has as many certificates as it may (MILLRACE_CERTS_PER_THING_MAX).');
const tooOften = problemAnswer('The thing has been issued four times as many as it may have, within a day.');
const ended = problemAnswer('It has been revoked, has expired or was renewed already; or the thing has too many.');

export const issuedRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/certs',
      tag,
      summary: 'Issue a certificate to a thing, with a new key',
      description:
        'The thing is let in by it, without any password, over every listener with TLS that asks for certificates.',
      body: IssueBody,
      answers: { 201: made, 409: full, 429: tooOften },
      examples: [{ name: 'for 90 days', body: { thing_id: example.thing, ttl: '90d' }, status: 201 }],
    },
    async (call, plane) => {
      const { thing_id, ttl, key_type, key_bits } = call.body;
      const { id, org } = await thingOf(call, plane, thing_id, 'create');
      const key = await keyOf(key_type, key_bits);
      return issued(
        await plane.registry.issued.issue({ thing: id, org, key, ttlMs: (ttl ?? TTL_SECONDS) * 1_000 }),
        key,
      );
    },
  ),
  route(
    {
      method: 'post',
      path: '/certs/csr',
      tag,
      summary: 'Issue a certificate to a thing, for a key that it keeps to itself',
      description: 'P-256, P-384, Ed25519, or RSA of 2048 to 4096 bits.',
      body: RequestBody,
      answers: { 201: made, 409: full, 429: tooOften },
      examples: [
        { name: 'for a year', body: { thing_id: example.thing, csr: EXAMPLE_REQUEST, ttl: '365d' }, status: 201 },
      ],
    },
    async (call, plane) => {
      const { thing_id, ttl, csr } = call.body;
      const { id, org } = await thingOf(call, plane, thing_id, 'create');
      const key = await requested(csr);
      return issued(await plane.registry.issued.issue({ thing: id, org, key, ttlMs: (ttl ?? TTL_SECONDS) * 1_000 }));
    },
  ),
  route(
    {
      method: 'get',
      path: '/certs',
      tag,
      summary: 'List the certificates that were issued',
      query: IssuedListQuery,
      answers: { 200: { description: 'A page of certificates.', schema: page('certs', CertificateAnswer) } },
      examples: [{ name: 'those that are good', query: { status: 'active' }, status: 200 }],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      await permit(call, plane, org, 'certs', 'certs.list');
      return listed(call, plane, org, call.query.thing_id?.toLowerCase());
    },
  ),
  route(
    {
      method: 'get',
      path: '/things/{id}/certs',
      tag,
      summary: 'List the certificates that were issued to a thing',
      query: ThingCertificatesQuery,
      answers: { 200: { description: 'A page of certificates.', schema: page('certs', CertificateAnswer) } },
      examples: [{ name: 'all', parameters: { id: example.thing }, status: 200 }],
    },
    async (call, plane) => {
      const { id, org } = await thingOf(call, plane, call.parameters.id ?? '', 'read');
      return listed(call, plane, org, id);
    },
  ),
  route(
    {
      method: 'get',
      path: '/certs/{serial}',
      tag,
      summary: 'Get a certificate',
      answers: { 200: one },
      examples: [{ name: 'one', parameters: { serial: example.serial }, status: 200 }],
    },
    async (call, plane) => shown(await certificateFor(call, plane, 'read')),
  ),
  route(
    {
      method: 'post',
      path: '/certs/{serial}/renew',
      tag,
      summary: 'Issue a further certificate in place of one that is good',
      description: 'Things may renew their own.',
      body: RenewBody,
      answers: { 201: made, 409: ended, 429: tooOften },
      examples: [
        {
          name: 'with a day of overlap',
          parameters: { serial: example.serial },
          body: { ttl: '90d', overlap_seconds: 86_400 },
          status: 201,
        },
      ],
    },
    async (call, plane) => {
      const { serial } = await certificateFor(call, plane, 'create');
      const { ttl, csr, key_type, key_bits, overlap_seconds } = call.body;
      const key = csr === undefined ? await keyOf(key_type, key_bits) : await requested(csr);
      const [ttlMs, overlapMs] = [(ttl ?? TTL_SECONDS) * 1_000, (overlap_seconds ?? OVERLAP_SECONDS) * 1_000];
      return issued(await plane.registry.issued.renew(serial, key, ttlMs, overlapMs), key);
    },
  ),
  route(
    {
      method: 'post',
      path: '/certs/{serial}/revoke',
      tag,
      summary: 'Revoke a certificate, for good',
      description: 'Whoever is connected with it is cut off at once; the lists of revocation and OCSP tell it.',
      body: RevokeBody,
      answers: { 200: one },
      examples: [
        { name: 'a lost key', parameters: { serial: example.serial }, body: { reason: 'keyCompromise' }, status: 200 },
      ],
    },
    async (call, plane) => {
      const { serial } = await certificateFor(call, plane, 'delete');
      const revoked = await plane.registry.issued.revoke(serial, call.body.reason ?? 'unspecified');
      if (revoked === null) throw notFound('certificate');
      return shown(revoked);
    },
  ),
  route(
    {
      method: 'delete',
      path: '/certs/{serial}',
      tag,
      summary: 'Revoke a certificate, for no stated reason',
      answers: {
        200: { description: 'It is revoked; as Prefer: return=representation asks.', schema: DeletedAnswer },
        204: { description: 'It is revoked.' },
      },
      examples: [{ name: 'one', parameters: { serial: example.serial }, status: 204 }],
    },
    async (call, plane) => {
      const { serial } = await certificateFor(call, plane, 'delete');
      if ((await plane.registry.issued.revoke(serial, 'unspecified')) === null) throw notFound('certificate');
      return deleted(call);
    },
  ),
];

type Verb = 'create' | 'read' | 'delete';

/** @throws Refusal 404, 403 */
async function thingOf(
  call: Call<unknown, unknown>,
  plane: Plane,
  given: string,
  verb: Verb,
): Promise<{ id: string; org: string }> {
  const { subject, scope } = await call.principal();
  const id = given.toLowerCase();
  const place = isUuid(id) ? await plane.registry.issued.place(id) : null;
  if (place === null) throw notFound('thing');
  if (verb !== 'read' || subject.id !== id || scope !== null)
    await permit(call, plane, place.org, `things/${id}`, `certs.${verb}`, { hidden: 'thing', groups: place.groups });
  if (verb === 'create') await permitMachine(call, plane, place.org, id, 'update');
  return { id, org: place.org };
}

/** What a thing has been issued it may read and renew itself; not by a token that carries a part of its rights, since a
 *  certificate carries all.  @throws Refusal 404, 403 */
async function certificateFor(call: Call<unknown, unknown>, plane: Plane, verb: Verb): Promise<IssuedCertificate> {
  const { subject, scope } = await call.principal();
  const serial = (call.parameters.serial ?? '').replaceAll(':', '').toLowerCase();
  const certificate = /^[0-9a-f]{32}$/.test(serial) ? await plane.registry.issued.get(serial) : null;
  if (certificate === null) throw notFound('certificate');
  const { org, thing } = certificate;
  if (verb !== 'delete' && subject.id === thing && scope === null) return certificate;
  const groups = (await plane.registry.issued.place(thing))?.groups ?? [];
  await permit(call, plane, org, `certs/${serial}`, `certs.${verb}`, { hidden: 'certificate', groups });
  if (verb === 'create') await permitMachine(call, plane, org, thing, 'update');
  return certificate;
}

let makingRsa = 0;
async function keyOf(type: NewKeyType = 'ec', bits: number | undefined): Promise<NewKey> {
  if (type !== 'rsa') return newKey({ type, bits });
  if (makingRsa >= RSA_MAX)
    throw new Refusal(503, 'Too many RSA keys are being made. Try again later.', { 'retry-after': '2' });
  makingRsa++;
  try {
    return await newKey({ type, bits });
  } finally {
    makingRsa--;
  }
}
type NewKeyType = z.output<typeof IssueBody>['key_type'];

async function requested(csr: string): Promise<PublicKey> {
  const judged = await readRequest(csr);
  if (judged.kind === 'ok') return judged;
  throw new Refusal(422, `The body is wrong: csr: ${judged.problem}.`);
}

function issued(outcome: Issuance, key?: NewKey | PublicKey): Response {
  switch (outcome.kind) {
    case 'gone':
      throw notFound('thing');
    case 'ended':
      throw new Refusal(409, 'This certificate is not good any more, or was renewed already: issue a new one.');
    case 'too_often':
      throw new Refusal(429, 'The thing has been issued too many certificates today.', { 'retry-after': '3600' });
    case 'full':
      throw new Refusal(409, `The thing has ${outcome.countMax} certificates: revoke one first.`);
    case 'ok': {
      const { certificate, chain } = outcome;
      const secret = key !== undefined && 'secret' in key ? { private_key: key.secret, client_key: key.secret } : {};
      const body = {
        ...answer(certificate),
        chain,
        ...secret,
        cert_serial: certificate.serial,
        client_cert: certificate.certificate,
        issuing_ca: chain,
        private_key_type: certificate.keyType,
        expiration: certificate.expiresAt.toISOString(),
      };
      const headers = { location: `/certs/${certificate.serial}`, ...etagOf(certificate), 'cache-control': 'no-store' };
      return json(201, body, headers);
    }
  }
}

const shown = (certificate: IssuedCertificate): Response => json(200, answer(certificate), etagOf(certificate));
/** What can happen to a certificate: it is superseded, it is revoked. */
const etagOf = ({ supersededAt, revokedAt }: IssuedCertificate) =>
  etag(1 + Number(supersededAt !== null) + 2 * Number(revokedAt !== null));

async function listed(
  call: Call<z.output<typeof ThingCertificatesQuery>, unknown>,
  plane: Plane,
  org: string,
  thing: string | undefined,
): Promise<Response> {
  const { status = 'all', order, ...query } = call.query;
  const by = order === 'expires' ? 'updated' : order;
  const found = await plane.registry.issued.list({ ...listOf(org, { ...query, order: by }), thing, state: status });
  return json(200, pageAnswer(found, 'certs', answer));
}

function answer(certificate: IssuedCertificate): z.input<typeof CertificateAnswer> {
  const { supersededAt, revokedAt, expiresAt } = certificate;
  const nowMs = Date.now();
  const isOver = (at: Date | null): boolean => at !== null && at.getTime() <= nowMs;
  return {
    serial: certificate.serial,
    thing_id: certificate.thing,
    org: certificate.org,
    status: revokedAt !== null || isOver(supersededAt) ? 'revoked' : isOver(expiresAt) ? 'expired' : 'active',
    fingerprint: certificate.fingerprint,
    key_type: certificate.keyType,
    certificate: `${certificate.certificate}\n`,
    not_before: certificate.notBefore.toISOString(),
    expires_at: expiresAt.toISOString(),
    superseded_at: supersededAt?.toISOString() ?? null,
    successor: certificate.successor,
    revoked_at: revokedAt?.toISOString() ?? null,
    reason: certificate.reason,
    created_at: certificate.createdAt.toISOString(),
  };
}
