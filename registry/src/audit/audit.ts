import { uuidV7 } from '@millrace/core';
import type { Session } from '../database/database.ts';
import { currentActor } from './actor.ts';
import { withoutSecrets } from './changed-fields.ts';

/** One change, as the audit tells it. Never a secret: no key, token, password or their digests. */
export interface Audited {
  /** `<entity>.<verb>`: things.create, members.update, policies.attach. */
  readonly action: string;
  /** In the plural, as in paths. */
  readonly entity: string;
  readonly id: string;
  readonly org: string | null;
  /** What was changed, for people. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** Writes changes down in the transaction that makes them: what is undone leaves no trace, what is done always does. */
export async function writeAudit(session: Session, entries: readonly Audited[]): Promise<void> {
  const actor = currentActor();
  await session.query(
    `INSERT INTO registry.audit (id, at, org, action, entity, entity_id, outcome, actor_kind, actor, actor_name, via, address, protocol, detail)
     SELECT entry.id, now(), entry.org, entry.action, entry.entity, entry.entity_id, 'done', $2, $3, $4, $5, $6, $7, entry.detail
     FROM jsonb_to_recordset($1) AS entry (id uuid, org uuid, action text, entity text, entity_id text, detail jsonb)`,
    [
      JSON.stringify(
        entries.map(({ action, entity, id, org, detail = {} }) => ({
          id: uuidV7(),
          org,
          action,
          entity,
          entity_id: id,
          detail: withoutSecrets(detail),
        })),
      ),
      actor.kind,
      actor.id,
      actor.name,
      actor.via,
      actor.address,
      actor.protocol,
    ],
  );
}
