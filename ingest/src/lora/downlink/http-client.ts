import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { guardedLookup, hostFault } from '../addresses.ts';
import type { HttpEnqueue } from './enqueue.ts';

const ANSWER_MS_MAX = 15_000;
const ANSWER_BYTES_MAX = 65_536;

export interface HttpAnswer {
  readonly status: number;
  /** The answer's JSON; null if it is none. */
  readonly body: unknown;
}

/** Asks a network server's HTTP interface. Redirects are not followed.
 *  @param token as an API key of ChirpStack or of The Things Stack
 *  @throws Error when nobody answers, PrivateAddress where it must not be asked */
export async function askServer(
  { url, token }: { readonly url: string; readonly token: string },
  { method, path, body }: HttpEnqueue,
  privateToo: boolean,
): Promise<HttpAnswer> {
  const target = new URL(url.replace(/\/+$/, '') + path);
  const fault = hostFault(target.hostname, privateToo);
  if (fault !== null) throw fault;
  const text = body === null ? '' : JSON.stringify(body);
  const options = {
    method,
    lookup: guardedLookup(privateToo),
    agent: false,
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
    headers: {
      accept: 'application/json',
      authorization: `Bearer ${token}`,
      // What ChirpStack's REST proxies take it from.
      'grpc-metadata-authorization': `Bearer ${token}`,
      ...(text === '' ? {} : { 'content-type': 'application/json' }),
      'content-length': String(Buffer.byteLength(text)),
    },
  } as const;
  return new Promise((resolve, reject) => {
    const send = target.protocol === 'https:' ? requestHttps : requestHttp;
    const request = send(target, options, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > ANSWER_BYTES_MAX) response.destroy(new Error('the answer is too large'));
        else chunks.push(chunk);
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: parsed(Buffer.concat(chunks)) }));
    });
    request.on('error', reject);
    request.end(text);
  });
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return null;
  }
}
