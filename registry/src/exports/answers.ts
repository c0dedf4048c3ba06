import type { Export, ExportFile } from './export-store.ts';

const UNITS = { day: 'd', week: 'w', month: 'mo', quarter: 'q', year: 'y' } as const;

/** A question as it was asked. */
function questionAnswer({ question }: Export): Record<string, unknown> {
  if ('sql' in question) return { sql: question.sql };
  const { interval, ...query } = question.query;
  if (interval === undefined) return { query };
  const width = interval.kind === 'fixed' ? `${interval.everyMs}ms` : `${interval.count}${UNITS[interval.unit]}`;
  return { query: { ...query, interval: width } };
}

export const listedAnswer = (found: Export) => ({
  id: found.id,
  org: found.org,
  name: found.name,
  status: found.expired ? ('expired' as const) : found.status,
  reason: found.reason,
  ...questionAnswer(found),
  format: found.format,
  compression: found.compression,
  destination: found.destination,
  left_out: found.plan.leftOut,
  rows: found.done,
  rows_total: found.total,
  created_by: found.actor.id,
  created_at: found.createdAt.toISOString(),
  finished_at: found.finishedAt?.toISOString() ?? null,
  expires_at: found.expiresAt?.toISOString() ?? null,
});

/** @param place of the node that answers */
export function exportAnswer(found: Export, files: readonly ExportFile[], place: string | null) {
  const isAlive = !found.expired && found.status !== 'cancelled' && found.status !== 'failed';
  const shown = isAlive ? files : [];
  return {
    ...listedAnswer(found),
    bytes: shown.reduce((sum, { bytes }) => sum + bytes, 0),
    files: shown.map(({ name, bytes, rows, sha256, url, place: own }) => ({
      name,
      bytes,
      rows,
      sha256,
      url: url ?? `/exports/${found.id}/files/${name}`,
      here: own !== null && own === place,
    })),
  };
}
