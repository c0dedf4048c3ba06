// Exit code 0 when the node in this container is ready. Words are checks to leave out: `healthy.mjs store registry`.
import { readFileSync } from 'node:fs';

const ASK_MS_MAX = 5_000;

try {
  // Made when all listeners answer, removed when the node drains.
  const ready = JSON.parse(readFileSync(`${process.env.MILLRACE_DATA_DIR ?? '/data'}/run/ready.json`, 'utf8'));
  const url = new URL('/health/ready', ready.http);
  // Bound to all addresses, and named as one that nobody can ask.
  if (url.hostname === '0.0.0.0') url.hostname = '127.0.0.1';
  if (url.hostname === '[::]') url.hostname = '[::1]';
  // Its certificate is made out to the world's name of it.
  if (url.protocol === 'https:') process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  const excluded = process.argv.slice(2);
  if (excluded.length > 0) url.searchParams.set('exclude', excluded.join(','));
  const answer = await fetch(url, { signal: AbortSignal.timeout(ASK_MS_MAX) });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
