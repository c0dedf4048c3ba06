import { type LookupAddress, lookup } from 'node:dns';
import { type ClientRequest, Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import type { WebhookOutcome, WebhookRequest, WebhookSender, WebhookTarget } from '@millrace/core';
import { isPublicAddress } from '../public-address.ts';
import { signedHeaders } from './signature.ts';

/** Services of old that would take an HTTP request for something else sit below 1024. */
const isWebPort = (port: number): boolean => port === 80 || port === 443 || port >= 1_024;

export interface SenderOptions {
  /** Also addresses that are not public, and any port. */
  readonly isPrivateAllowed: boolean;
  /** Until the answer's end. */
  readonly timeoutMs: number;
  readonly version: string;
  readonly now?: () => number;
  /** What a host's name stands for, asked anew for each connection; the system's by default. */
  readonly resolve?: typeof lookup;
}

/** Of an answer; what comes beyond is not waited for. */
const ANSWER_BYTES_MAX = 64 * 1024;
/** Of it that is told to who looks why a webhook fails. */
const TOLD_CHARACTERS_MAX = 200;
const SOCKETS_PER_HOST_MAX = 16;
const IDLE_MS_MAX = 30_000;
const RETRY_AFTER_MS_MAX = 3_600_000;

class AddressRefused extends Error {}

/** Makes requests to hosts that tenants name. The address is judged where the connection is made, each time: a name that
 *  stands for another address a moment later leads nowhere else. */
export function createWebhookSender(options: SenderOptions): WebhookSender {
  const { isPrivateAllowed, timeoutMs, version, now = Date.now, resolve = lookup } = options;
  const checked: LookupFunction = (hostname, wanted, done) => {
    resolve(hostname, { ...wanted, all: true }, (error, found) => {
      if (error !== null) return done(error, '', 0);
      const addresses = found as unknown as LookupAddress[];
      const [first] = addresses;
      if (first === undefined) return done(new AddressRefused('the host has no address'), '', 0);
      // One of them that is not public is no accident.
      if (!isPrivateAllowed && addresses.some(({ address }) => !isPublicAddress(address)))
        return done(new AddressRefused('the host has an address that is not public'), '', 0);
      if (wanted.all === true) done(null, addresses);
      else done(null, first.address, first.family);
    });
  };
  const settings = { keepAlive: true, maxSockets: SOCKETS_PER_HOST_MAX, timeout: IDLE_MS_MAX, lookup: checked };
  const http = new HttpAgent(settings);
  const https = new HttpsAgent(settings);

  const open = (target: WebhookTarget, request: WebhookRequest, signal: AbortSignal): ClientRequest => {
    const url = new URL(target.url);
    const isSecure = url.protocol === 'https:';
    if (!isSecure && url.protocol !== 'http:') throw new AddressRefused('only http and https can be used');
    // Of a literal address nobody asks what it stands for.
    const host = url.hostname.replace(/^\[|\]$/g, '');
    if (!isPrivateAllowed && isIP(host) !== 0 && !isPublicAddress(host))
      throw new AddressRefused('the address is not public');
    if (!isPrivateAllowed && !isWebPort(Number(url.port || (isSecure ? 443 : 80))))
      throw new AddressRefused('the port is not one of the web: 80, 443, or from 1024 on');
    return (isSecure ? requestHttps : requestHttp)(url, {
      method: 'POST',
      agent: isSecure ? https : http,
      signal,
      headers: {
        ...target.headers,
        'user-agent': `Millrace/${version}`,
        ...request.headers,
        'content-length': request.body.length,
        ...signedHeaders(request.id, request.body, target.secrets, now()),
      },
    });
  };

  return {
    async send(target, request, stopping) {
      const begun = performance.now();
      const timeout = AbortSignal.timeout(timeoutMs);
      const signal = stopping === undefined ? timeout : AbortSignal.any([timeout, stopping]);
      const ended = (outcome: Omit<WebhookOutcome, 'ms'>): WebhookOutcome => ({
        ...outcome,
        ms: Math.round(performance.now() - begun),
      });
      try {
        return ended(outcomeOf(await answered(open(target, request, signal), request.body), now()));
      } catch (error) {
        const late = timeout.aborted ? `no answer within ${timeoutMs} ms` : messageOf(error);
        return ended({ status: null, error: late, retryAfterMs: null });
      }
    },
  };
}

interface Answered {
  readonly status: number;
  readonly text: string;
  readonly retryAfter: string | undefined;
}

/** The answer, read as far as it is of interest.  @throws what goes wrong on the way */
function answered(request: ClientRequest, body: Uint8Array): Promise<Answered> {
  return new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response: IncomingMessage) => {
      let size = 0;
      let text = '';
      const end = (): void =>
        resolve({ status: response.statusCode ?? 0, text, retryAfter: response.headers['retry-after'] });
      response.on('error', reject);
      response.on('end', end);
      response.on('data', (chunk: Buffer) => {
        if (text.length < TOLD_CHARACTERS_MAX) text = (text + chunk.toString('utf8')).slice(0, TOLD_CHARACTERS_MAX);
        size += chunk.length;
        if (size <= ANSWER_BYTES_MAX) return;
        end();
        response.destroy();
      });
    });
    request.end(body);
  });
}

function outcomeOf({ status, text, retryAfter }: Answered, nowMs: number): Omit<WebhookOutcome, 'ms'> {
  if (status >= 200 && status < 300) return { status, error: null, retryAfterMs: null };
  const said = text.replaceAll(/[\p{C}\s]+/gu, ' ').trim();
  const error = status >= 300 && status < 400 ? 'a redirect, which is not followed' : said || `status ${status}`;
  return { status, error, retryAfterMs: retryAfterMs(retryAfter, nowMs) };
}

/** @source RFC 9110 §10.2.3 */
function retryAfterMs(text: string | undefined, nowMs: number): number | null {
  if (text === undefined) return null;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - nowMs;
  return Number.isNaN(ms) ? null : Math.min(RETRY_AFTER_MS_MAX, Math.max(0, ms));
}

function messageOf(error: unknown): string {
  if (error instanceof AddressRefused) return error.message;
  const { code, message } = error as NodeJS.ErrnoException;
  return (code ?? message ?? 'the connection failed').slice(0, TOLD_CHARACTERS_MAX);
}
