import {
  type ChannelRecord,
  connectionRules,
  type Directory,
  isUuid,
  memberRule,
  type OrgRole,
  type PolicyRule,
  type SubjectRecord,
  type ThingRecord,
} from '@millrace/core';
import type { Tickets } from './bridge/tickets.ts';
import type { ChangeFeed } from './changes.ts';
import type { Session } from './database/database.ts';
import type { Certificates } from './entities/certificates.ts';

interface ConnectionRow {
  readonly channel: string;
  readonly publish: boolean;
  readonly subscribe: boolean;
}

export interface DirectoryOptions {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly tickets: Tickets;
  readonly certificates: Certificates;
}

/** The gate's cold reads, each one statement by a primary or unique key. */
export function createDirectory({ session, feed, tickets, certificates }: DirectoryOptions): Directory {
  const oneThing = async (where: string, value: string): Promise<ThingRecord | null> => {
    const sql = `SELECT id, org, enabled, metadata FROM registry.things WHERE ${where} = $1`;
    const [row] = await session.query<Omit<ThingRecord, 'kind'>>(sql, [value]);
    return row === undefined ? null : { kind: 'thing', ...row };
  };
  const subject = async (id: string): Promise<SubjectRecord | null> => {
    if (!isUuid(id)) return null;
    const thing = await oneThing('id', id);
    if (thing !== null) return thing;
    const sql = 'SELECT id, email, enabled, admin FROM registry.users WHERE id = $1';
    const [user] = await session.query<{ id: string; email: string; enabled: boolean; admin: boolean }>(sql, [id]);
    return user === undefined ? null : { kind: 'user', ...user };
  };
  return {
    get version() {
      return feed.version;
    },
    onChange: (listener) => feed.onChange(listener),
    thingByKey: (digest) => oneThing('key_digest', digest),
    thingByCertificate: (fingerprint, certificate) => certificates.find(fingerprint, certificate),
    subject,

    async redeemTicket(digest) {
      const id = await tickets.redeem(digest);
      return id === null ? null : subject(id);
    },

    async channel(reference, org): Promise<ChannelRecord | null> {
      const columns = 'SELECT id, org, enabled, alias, content_type AS "contentType" FROM registry.channels WHERE';
      if (isUuid(reference)) return (await session.query<ChannelRecord>(`${columns} id = $1`, [reference]))[0] ?? null;
      if (org === null) return null;
      return (await session.query<ChannelRecord>(`${columns} org = $1 AND alias = $2`, [org, reference]))[0] ?? null;
    },

    async rules(subject, org): Promise<readonly PolicyRule[]> {
      if (!isUuid(subject) || !isUuid(org)) return [];
      const [connections, members] = await Promise.all([
        session.query<ConnectionRow>(
          'SELECT channel, publish, subscribe FROM registry.connections WHERE thing = $1 AND org = $2',
          [subject, org],
        ),
        session.query<{ role: OrgRole }>('SELECT role FROM registry.memberships WHERE user_id = $1 AND org = $2', [
          subject,
          org,
        ]),
      ]);
      return [
        ...connections.flatMap((row) => connectionRules(subject, org, row.channel, row)),
        ...members.map((row) => memberRule(subject, row.role, org)),
      ];
    },
  };
}
