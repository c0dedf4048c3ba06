import { createHmac } from 'node:crypto';

/** The heads that prove that a request is ours: one signature for each secret that is good.
 *  @param secrets base64  @param nowMs of this very try: who takes it refuses old ones
 *  @source Standard Webhooks 1.0.0, standardwebhooks.com */
export function signedHeaders(
  id: string,
  body: Uint8Array,
  secrets: readonly string[],
  nowMs: number,
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(nowMs / 1_000));
  const signatures = secrets.map((secret) => {
    const hmac = createHmac('sha256', Buffer.from(secret, 'base64')).update(`${id}.${timestamp}.`).update(body);
    return `v1,${hmac.digest('base64')}`;
  });
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures.join(' ') };
}
