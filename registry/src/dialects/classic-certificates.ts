import { z } from '@hono/zod-openapi';
import { example } from '../http/examples.ts';
import { json, type Route } from '../http/route.ts';
import { PageQuery } from '../http/schemas.ts';
import { type Accent, type Ask, translated } from './translation.ts';

const tag = 'classic dialect';
const Revoked = z.object({ revocation_time: z.iso.datetime() });
const Serials = z.object({
  total: z.int(),
  offset: z.int(),
  limit: z.int(),
  certs: z.array(z.object({ cert_serial: z.string() })),
});

export const certificateAccents: readonly Accent[] = [
  {
    method: 'get',
    path: '/certs/{serial}',
    adds: {
      members: z.object({ client_cert: z.string(), cert_serial: z.string(), expiration: z.iso.datetime() }),
      from: ({ certificate, serial, expires_at }) => ({
        client_cert: certificate,
        cert_serial: serial,
        expiration: expires_at,
      }),
    },
  },
];

export const classicCertificates = (ask: Ask): readonly Route[] => [
  translated(
    ask,
    {
      method: 'delete',
      path: '/certs/{serial}',
      tag: 'certificates',
      summary: 'Revoke a certificate, for no stated reason',
      answers: { 200: { description: 'It is revoked.', schema: Revoked } },
      examples: [{ name: 'one', parameters: { serial: example.serial }, status: 200 }],
    },
    ({ parameters }) => ({ method: 'post', path: '/certs/{serial}/revoke', parameters, body: {} }),
    ({ body }) => json(200, { revocation_time: body.revoked_at }),
  ),
  translated(
    ask,
    {
      method: 'get',
      path: '/serials/{thing}',
      tag,
      summary: 'Serial numbers of the certificates that a thing has',
      query: PageQuery.pick({ offset: true, limit: true }),
      answers: { 200: { description: 'A page of serial numbers.', schema: Serials } },
      examples: [{ name: 'of a thing', parameters: { thing: example.thing }, status: 200 }],
    },
    ({ parameters, query }) => ({
      method: 'get',
      path: '/things/{id}/certs',
      parameters: { id: parameters.thing ?? '' },
      query: { ...query, status: 'active' },
    }),
    ({ body: { certs, total, offset, limit } }) =>
      json(200, {
        total,
        offset,
        limit,
        certs: (certs as { serial: string }[]).map(({ serial }) => ({ cert_serial: serial })),
      }),
  ),
];
