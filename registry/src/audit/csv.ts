import type { Entry } from './entries.ts';

const COLUMNS: readonly (readonly [string, (entry: Entry) => string | number | null])[] = [
  ['id', ({ id }) => id],
  ['at', ({ at }) => at.toISOString()],
  ['org', ({ org }) => org],
  ['action', ({ action }) => action],
  ['entity', ({ entity }) => entity],
  ['entity_id', ({ entityId }) => entityId],
  ['outcome', ({ outcome }) => outcome],
  ['actor_kind', ({ actorKind }) => actorKind],
  ['actor', ({ actor }) => actor],
  ['actor_name', ({ actorName }) => actorName],
  ['via', ({ via }) => via],
  ['address', ({ address }) => address],
  ['protocol', ({ protocol }) => protocol],
  ['count', ({ count }) => count],
  ['detail', ({ detail }) => JSON.stringify(detail)],
];

export const csvHead = `${COLUMNS.map(([name]) => name).join(',')}\r\n`;

export const csvLine = (entry: Entry): string => `${COLUMNS.map(([, value]) => cell(value(entry))).join(',')}\r\n`;

/** One cell. What a spreadsheet would take for a formula gets a ' before it: names come from people.
 *  @source RFC 4180 §2; OWASP, CSV injection */
export function cell(value: string | number | null): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const safe = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
