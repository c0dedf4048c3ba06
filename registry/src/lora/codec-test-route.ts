import type { CodecInput, CodecRunner, Decoded, Encoded } from '@millrace/core';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { PageQuery, ProblemAnswer } from '../http/schemas.ts';
import { codecFor } from './codec-routes.ts';
import { CodecTestAnswer, CodecTestBody } from './codec-schemas.ts';

const PORT = 1;

/** For editors: what a codec makes of something, before anybody relies on it. */
export const codecTestRoute: Route = route(
  {
    method: 'post',
    path: '/codecs/test',
    tag: 'codecs',
    summary: 'Try a codec',
    description:
      'One that is there, or one that is only drafted, which takes the right to make codecs. A script that fails is answered with 200 too: errors says what and where.',
    query: PageQuery.pick({ org: true }),
    body: CodecTestBody,
    answers: {
      200: { description: 'What it made of it.', schema: CodecTestAnswer },
      429: {
        description: 'Too many tries; the next after Retry-After.',
        schema: ProblemAnswer,
        type: 'application/problem+json',
      },
    },
    examples: [
      {
        name: 'a codec that is there',
        body: { codec: example.codec, direction: 'up', bytes: '00ff', f_port: 2 },
        status: 200,
      },
      {
        name: 'a draft',
        body: {
          kind: 'javascript',
          script: 'function encodeDownlink({ data }) { return { bytes: [data.open ? 1 : 0], fPort: 3 }; }',
          direction: 'down',
          data: { open: true },
        },
        status: 200,
      },
    ],
  },
  async (call, plane) => {
    const { subject } = await call.principal();
    const codec = await codecOf(call, plane);
    if (plane.codecs === null)
      throw new Refusal(503, 'This node runs no codecs: ask one that does.', { 'retry-after': '60' });
    mustWait(plane, subject.id);
    const startMs = performance.now();
    const made = await tried(plane.codecs, codec, call.body);
    return json(200, { ...answer(made), took_ms: Math.round((performance.now() - startMs) * 10) / 10 });
  },
);

async function codecOf(call: Call<unknown, CodecTestBody>, plane: Plane): Promise<CodecInput> {
  const { codec: asked, kind = 'javascript', script = '' } = call.body;
  if (asked !== undefined) {
    const { id, org, version, kind: of, script: kept } = await codecFor(call, plane, 'read', asked);
    return { id, org, version, kind: of, script: kept };
  }
  const org = await orgOf(call, plane);
  await permit(call, plane, org, 'codecs', 'codecs.create');
  return { id: '', org, version: 0, kind, script };
}

/** @throws Refusal 429 */
function mustWait({ codecTesting }: Plane, subject: string): void {
  const nowMs = performance.now();
  const waitMs = codecTesting.waitMs(subject, nowMs);
  if (waitMs > 0) {
    const seconds = Math.ceil(waitMs / 1_000);
    throw new Refusal(429, `Too many tries of codecs: wait ${seconds} s.`, { 'retry-after': String(seconds) });
  }
  codecTesting.failed(subject, nowMs);
}

function tried(runner: CodecRunner, codec: CodecInput, body: CodecTestBody): Promise<Decoded | Encoded> {
  const { direction, bytes = '', encoding, data, f_port: fPort = PORT, variables = {} } = body;
  if (direction === 'down') return runner.encode(codec, { data, fPort, variables });
  const isHex = encoding === undefined ? /^(?:[0-9A-Fa-f]{2})*$/.test(bytes) : encoding === 'hex';
  return runner.decode(codec, { bytes: Buffer.from(bytes, isHex ? 'hex' : 'base64'), fPort, variables });
}

function answer(made: Decoded | Encoded) {
  const { logs } = made;
  if (made.kind === 'failed') return { f_port: null, warnings: [], errors: [made.detail], logs };
  const { warnings } = made;
  if (made.kind === 'decoded') return { data: made.data, f_port: null, warnings, errors: [], logs };
  return { bytes: Buffer.from(made.bytes).toString('hex'), f_port: made.fPort, warnings, errors: [], logs };
}
