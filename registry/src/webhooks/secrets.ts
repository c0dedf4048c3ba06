import { randomBytes } from 'node:crypto';
import type { Credentials } from '@millrace/core';
import { RegistryError } from '../error.ts';

const SECRET_BYTES = 32;
/** How it is shown, the one time. @source Standard Webhooks 1.0.0 */
const PREFIX = 'whsec_';

/** What a webhook keeps sealed.
 *  @shape keys: base64, the newest first; untilMs: when one that was replaced is good no more */
export interface WebhookSecrets {
  readonly keys: readonly { readonly key: string; readonly untilMs: number | null }[];
  readonly headers: Readonly<Record<string, string>>;
}

export const newKey = (): string => randomBytes(SECRET_BYTES).toString('base64');
export const shownKey = (key: string): string => PREFIX + key;

const about = (webhook: string): string => `webhook ${webhook}`;

export const sealSecrets = (credentials: Credentials, webhook: string, secrets: WebhookSecrets): string =>
  credentials.encrypt(JSON.stringify(secrets), about(webhook));

/** @throws RegistryError REGISTRY_SECRET_MISMATCH */
export function openSecrets(credentials: Credentials, webhook: string, sealed: string): WebhookSecrets {
  try {
    return JSON.parse(credentials.decrypt(sealed, about(webhook))) as WebhookSecrets;
  } catch {
    // No cause: it could tell of the plain text.
    throw new RegistryError('REGISTRY_SECRET_MISMATCH', 'never', { webhook });
  }
}

/** A new key, and those that are still good beside it until the overlap is over. */
export function rotated({ keys, headers }: WebhookSecrets, nowMs: number, overlapMs: number): WebhookSecrets {
  const untilMs = nowMs + overlapMs;
  const before = keys
    .map(({ key, untilMs: until }) => ({ key, untilMs: Math.min(until ?? untilMs, untilMs) }))
    .filter(({ untilMs: until }) => until > nowMs)
    .slice(0, KEYS_BEFORE_MAX);
  return { keys: [{ key: newKey(), untilMs: null }, ...before], headers };
}
const KEYS_BEFORE_MAX = 3;

export const goodKeys = ({ keys }: WebhookSecrets, nowMs: number): string[] =>
  keys.filter(({ untilMs }) => untilMs === null || untilMs > nowMs).map(({ key }) => key);
