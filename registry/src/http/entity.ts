import type { Call } from './plane.ts';
import { Refusal } from './refusal.ts';
import { json, noContent } from './route.ts';

/** The ETag of an entity at a version. @source RFC 9110 §8.8.3 */
export const etag = (version: number): { readonly etag: string } => ({ etag: `"${version}"` });

/** The version that a change was made for, by If-Match; null: any.  @throws Refusal 400, 412 */
export function expectedVersion({ request }: Call<unknown, unknown>): number | null {
  const given = request.headers.get('if-match')?.trim();
  if (given === undefined || given === '*') return null;
  const [, version] = /^"(\d{1,9})"$/.exec(given) ?? [];
  if (version !== undefined) return Number(version);
  // Ours are strong, single and numbers: nothing else can match.
  if (/^(?:W\/)?"[^"]*"(?:\s*,\s*(?:W\/)?"[^"]*")*$/.test(given))
    throw new Refusal(412, 'If-Match must be the ETag that you were given: "<version>".');
  throw new Refusal(400, 'If-Match must be an ETag in quotes, as "3", or *.');
}

/** Answers a deletion, and says what went with it: in the header `Deleted`, and as JSON if the client prefers it.
 *  @param counts by what it is, as `{ connections: 3 }` */
export function deleted({ request }: Call<unknown, unknown>, counts: Readonly<Record<string, number>> = {}): Response {
  const parts = Object.entries(counts).filter(([, count]) => count > 0);
  const headers = { deleted: parts.map(([what, count]) => `${what}=${count}`).join(', ') };
  if (!/(?:^|[,;\s])return=representation\b/i.test(request.headers.get('prefer') ?? ''))
    return noContent(parts.length === 0 ? {} : headers);
  return json(200, { deleted: Object.fromEntries(parts) }, parts.length === 0 ? {} : headers);
}
