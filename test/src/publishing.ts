import type { Publisher, Rest } from './millrace.ts';

export interface Answered {
  readonly status: number;
  readonly contentType: string;
  /** Seconds; null if the answer has none. */
  readonly retryAfter: number | null;
  readonly detail: string;
}

/** Sends one request and reads the whole answer. */
export async function ask(
  rest: Rest,
  method: string,
  path: string,
  body?: string,
  contentType = 'application/json',
): Promise<Answered> {
  const response = await rest.raw(method, path, body, body === undefined ? {} : { 'content-type': contentType });
  const text = await response.text();
  const retryAfter = response.headers.get('retry-after');
  return {
    status: response.status,
    contentType: response.headers.get('content-type') ?? '',
    retryAfter: retryAfter === null ? null : Number(retryAfter),
    detail: text.startsWith('{') ? String((JSON.parse(text) as { detail?: string }).detail ?? '') : text,
  };
}

/** Publishes one reading. @param bytes of text that make the message so large */
export function publish(publisher: Publisher, name: string, bytes = 0): Promise<Answered> {
  const value = bytes === 0 ? { v: 1 } : { vs: 'x'.repeat(bytes) };
  const path = `/channels/${publisher.channel}/messages`;
  return ask(publisher.rest, 'POST', path, JSON.stringify([{ n: name, ...value }]), 'application/senml+json');
}

/** What /health/ready says. */
export async function readiness(rest: Rest): Promise<{ status: number; checks: Readonly<Record<string, string>> }> {
  const response = await rest.raw('GET', '/health/ready');
  const { checks = {} } = (await response.json()) as { checks?: Record<string, string> };
  return { status: response.status, checks };
}
