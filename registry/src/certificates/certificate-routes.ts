import { example } from '../http/examples.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { CertificatesAnswer, CertificatesBody, ProblemAnswer } from '../http/schemas.ts';
import { thingFor } from '../inventory/lookup.ts';
import { parseAuthority, parseFingerprint } from './authorities.ts';
import type { Trust } from './certificates.ts';

const tag = 'things';
const path = '/things/{id}/certificates';
const trusted = { description: 'What the thing is let in by.', schema: CertificatesAnswer };

export const certificateRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path,
      tag,
      summary: 'Certificates and authorities that a thing connects by',
      answers: { 200: trusted },
      examples: [{ name: 'of a thing', parameters: { id: example.thing }, status: 200 }],
    },
    async (call, plane) => {
      const thing = await thingFor(call, plane, 'read');
      return json(200, await plane.registry.certificates.get(thing.id));
    },
  ),
  route(
    {
      method: 'put',
      path,
      tag,
      summary: 'Replace them',
      description:
        'A thing that shows a certificate over TLS needs no password: one of these fingerprints, or one that one of these authorities issued itself to the id of the thing (CN), within the validity of both. Whoever is connected with what is taken away is cut off at once.',
      body: CertificatesBody,
      answers: {
        200: trusted,
        409: {
          description: 'A fingerprint belongs to another thing.',
          schema: ProblemAnswer,
          type: 'application/problem+json',
        },
      },
      examples: [
        {
          name: 'a fingerprint',
          parameters: { id: example.thing },
          body: { fingerprints: ['9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'], authorities: [] },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const { id } = await thingFor(call, plane, 'update');
      const trust: Trust = {
        fingerprints: [...new Set(call.body.fingerprints.map(fingerprintOf))],
        authorities: [...new Set(call.body.authorities.map(authorityOf))],
      };
      if (!(await plane.registry.certificates.replace(id, trust))) throw notFound('thing');
      return json(200, trust);
    },
  ),
];

function fingerprintOf(text: string, index: number): string {
  const fingerprint = parseFingerprint(text);
  if (fingerprint !== null) return fingerprint;
  throw wrong(`fingerprints.${index}: must be a SHA-256 in hex, 64 digits with or without colons`);
}

function authorityOf(text: string, index: number): string {
  const parsed = parseAuthority(text);
  if (parsed.kind === 'ok') return parsed.pem;
  throw wrong(`authorities.${index}: ${parsed.problem}`);
}

const wrong = (problem: string): Refusal => new Refusal(422, `The body is wrong: ${problem}.`);
