import { X509Certificate } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { isUuid } from '@millrace/core';
import { example } from '../http/examples.ts';
import { permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { type Route, route } from '../http/route.ts';
import type { Issuer } from './issuers.ts';
import { binaryAnswer, problemAnswer } from './schemas.ts';

const tag = 'certificates';
const PEM_CHAIN = 'application/pem-certificate-chain';
const CERTIFICATE = 'application/pkix-cert';
const REVOCATION_LIST = 'application/pkix-crl';
const OCSP_REQUEST = 'application/ocsp-request';
const OCSP_RESPONSE = 'application/ocsp-response';
const OCSP_BYTES_MAX = 16_384;

const OrgQuery = z.object({
  org: z.uuid().optional().describe('The authority of this organisation, for its members; the root if left out.'),
});
const away = { 503: problemAnswer('The registry does not answer; try again after Retry-After.') };
const members = {
  ...away,
  401: problemAnswer('An organisation is asked about, and who asks is not known.'),
  403: problemAnswer('Who asks may not.'),
  404: problemAnswer('There is no such organisation, or it is none of yours.'),
};
const noIssuer = { ...away, 404: problemAnswer('There is no such authority.') };

/** What those ask who check a certificate. Open: they hold the certificate, and nothing else of ours. */
export const issuerRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/certs/ca',
      tag,
      summary:
        'The root of all certificates that the platform issues; or the authority of an organisation, and the root',
      open: true,
      query: OrgQuery,
      answers: { 200: binaryAnswer('Certificates, PEM.', PEM_CHAIN), ...members },
      examples: [{ name: 'the root', status: 200 }],
    },
    async (call, plane) => {
      const chain = await plane.registry.issuers.chain(await issuerOf(call, plane, call.query.org));
      return new Response(chain, { headers: { 'content-type': PEM_CHAIN } });
    },
  ),
  route(
    {
      method: 'get',
      path: '/certs/ca/{id}',
      tag,
      summary: 'The certificate of an authority, as certificates name it (caIssuers)',
      open: true,
      answers: { 200: binaryAnswer('A certificate, DER.', CERTIFICATE), ...noIssuer },
      examples: [{ name: 'of the organisation', parameters: { id: example.issuer }, status: 200 }],
    },
    async (call, plane) => {
      const id = call.parameters.id ?? '';
      const issuer = isUuid(id) ? await plane.registry.issuers.get(id) : null;
      if (issuer === null) throw notFound('authority');
      return binary(new X509Certificate(issuer.certificate).raw, CERTIFICATE, { 'cache-control': 'max-age=86400' });
    },
  ),
  route(
    {
      method: 'get',
      path: '/certs/crl',
      tag,
      summary: 'What the root revoked, or the authority of an organisation',
      open: true,
      query: OrgQuery,
      answers: { 200: binaryAnswer('A list of revocation, DER (RFC 5280).', REVOCATION_LIST), ...members },
      examples: [{ name: 'of the root', status: 200 }],
    },
    async (call, plane) => listOf(plane, (await issuerOf(call, plane, call.query.org)).id),
  ),
  route(
    {
      method: 'get',
      path: '/certs/crl/{id}',
      tag,
      summary: 'What an authority revoked, as certificates name it (CRL distribution point)',
      open: true,
      answers: { 200: binaryAnswer('A list of revocation, DER (RFC 5280).', REVOCATION_LIST), ...noIssuer },
      examples: [{ name: 'of the organisation', parameters: { id: example.issuer }, status: 200 }],
    },
    (call, plane) => listOf(plane, call.parameters.id ?? ''),
  ),
  route(
    {
      method: 'post',
      path: '/certs/ocsp',
      tag,
      summary: 'Ask whether certificates are good (OCSP, RFC 6960)',
      description: 'The body is an OCSPRequest.',
      ownBody: { type: OCSP_REQUEST, schema: z.string().openapi({ format: 'binary' }) },
      examples: [{ name: 'no request at all', as: 'nobody', body: 'AAAA', status: 200 }],
      open: true,
      answers: {
        200: binaryAnswer('An OCSPResponse, DER; also for a request that is none.', OCSP_RESPONSE),
        ...away,
        413: problemAnswer('The request is too large.'),
        415: problemAnswer('The body is something else.'),
      },
    },
    async (call, plane) => {
      const type = call.request.headers.get('content-type')?.split(';')[0]?.trim().toLowerCase() ?? OCSP_REQUEST;
      if (type !== OCSP_REQUEST) throw new Refusal(415, `The body must be ${OCSP_REQUEST}.`);
      return asked(plane, await readBytes(call.request));
    },
  ),
  route(
    {
      method: 'get',
      path: '/certs/ocsp/{request}',
      tag,
      summary: 'The same in the path: base64, percent-encoded',
      open: true,
      answers: { ...away, 200: binaryAnswer('An OCSPResponse, DER; also for a request that is none.', OCSP_RESPONSE) },
      examples: [{ name: 'no request at all', parameters: { request: 'AAAA' }, status: 200 }],
    },
    (call, plane) => asked(plane, Buffer.from(call.parameters.request ?? '', 'base64')),
  ),
];

async function issuerOf(call: Call<unknown, unknown>, plane: Plane, org: string | undefined): Promise<Issuer> {
  if (org === undefined) return plane.registry.issuers.root();
  await permit(call, plane, org.toLowerCase(), 'certs', 'certs.read', { hidden: 'organisation' });
  // An administrator may ask about any organisation, also about one that is not there.
  if (!(await plane.registry.issuers.isOrg(org))) throw notFound('organisation');
  return plane.registry.issuers.of(org.toLowerCase());
}

async function listOf(plane: Plane, issuer: string): Promise<Response> {
  const found = isUuid(issuer) ? await plane.registry.revocationLists.get(issuer) : null;
  if (found === null) throw notFound('authority');
  return binary(found.list, REVOCATION_LIST, { etag: `"${found.number}"`, 'cache-control': 'no-cache' });
}

async function asked(plane: Plane, request: Uint8Array): Promise<Response> {
  const { der, secondsMax } = await plane.registry.ocsp.answer(request);
  const kept = secondsMax === 0 ? 'no-store' : `max-age=${secondsMax}, public, no-transform, must-revalidate`;
  return binary(der, OCSP_RESPONSE, { 'cache-control': kept });
}

async function readBytes({ body }: Request): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of (body ?? []) as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.length;
    if (size > OCSP_BYTES_MAX) throw new Refusal(413, `The body is larger than ${OCSP_BYTES_MAX} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const binary = (bytes: Uint8Array, type: string, headers: Readonly<Record<string, string>>): Response =>
  new Response(Uint8Array.from(bytes), { headers: { 'content-type': type, ...headers } });
