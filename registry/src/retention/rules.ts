import type { Hold, OrgRetention, RetentionRules } from '@millrace/core';
import type { Session } from '../database/database.ts';

/** What holds for stored data now. A channel's own comes before its organisation's, and that before the installation's. */
export async function readRules(session: Session, days: number | null, nowMs: number): Promise<RetentionRules> {
  const orgs = await session.query<{ id: string; days: number | null; rollupDays: number | null }>(
    'SELECT id, retention_days AS days, rollup_retention_days AS "rollupDays" FROM registry.orgs',
  );
  const channels = await session.query<{ id: string; org: string; days: number | null; rollupDays: number | null }>(
    `SELECT id, org, (profile->>'retentionDays')::integer AS days, (profile->>'rollupRetentionDays')::integer AS "rollupDays"
     FROM registry.channels WHERE profile ? 'retentionDays' OR profile ? 'rollupRetentionDays'`,
  );
  const holds = await session.query<{
    org: string;
    channels: string[] | null;
    publishers: string[] | null;
    fromUs: string | null;
    toUs: string | null;
  }>(
    `SELECT org, channels::text[], publishers::text[], from_us::text AS "fromUs", to_us::text AS "toUs"
     FROM registry.holds WHERE released_at IS NULL`,
  );
  const found = new Map<
    string,
    OrgRetention & { channels: Map<string, { days: number | null; rollupDays: number | null }>; holds: Hold[] }
  >();
  for (const org of orgs)
    found.set(org.id, { days: org.days ?? days, rollupDays: org.rollupDays, channels: new Map(), holds: [] });
  for (const { id, org, ...own } of channels) {
    const of = found.get(org);
    of?.channels.set(id, { days: own.days ?? of.days, rollupDays: own.rollupDays ?? of.rollupDays });
  }
  for (const hold of holds)
    found.get(hold.org)?.holds.push({
      ...(hold.channels === null ? {} : { channels: hold.channels }),
      ...(hold.publishers === null ? {} : { publishers: hold.publishers }),
      ...(hold.fromUs === null ? {} : { fromUs: BigInt(hold.fromUs) }),
      ...(hold.toUs === null ? {} : { toUs: BigInt(hold.toUs) }),
    });
  return { nowMs, days, orgs: found };
}

/** SQL of a channel's profile as who stores its messages needs it: what may be held has no end of its own, since the
 *  engine asks nobody before it removes what has expired.
 *  @holds joined with registry.channels and registry.orgs  @param days of the installation */
export const storedProfile = (days: number | null): string =>
  `jsonb_strip_nulls(channels.profile || jsonb_build_object('retentionDays',
    CASE WHEN EXISTS (SELECT FROM registry.holds WHERE holds.org = channels.org AND holds.released_at IS NULL
      AND (holds.channels IS NULL OR channels.id = ANY (holds.channels))) THEN NULL
    ELSE coalesce((channels.profile->>'retentionDays')::integer, orgs.retention_days, ${days === null ? 'NULL' : Math.trunc(days)}) END))`;
