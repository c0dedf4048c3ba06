import { GONE_PARTITION_MIN, type SessionState } from '@millrace/core';
import type { Session } from '../database/database.ts';
import type { BackupManifest } from './manifest.ts';

const SESSIONS_A_PAGE = 500;

interface Row {
  readonly owner: string;
  readonly client_id: string;
  readonly state: SessionState;
}

/** What is restored points into a log that is gone; the new one is empty and begins at offset 0. */
export async function onNewLog(session: Session, manifest: BackupManifest, partitionCount: number): Promise<void> {
  const { positions } = manifest.log;
  // Under their partition's old number, a message of the new log would seem to be older than they are.
  await session.query(
    `UPDATE registry.retained SET partition = renumbered FROM unnest($1::integer[], $2::integer[]) AS given (was, renumbered)
     WHERE partition = given.was`,
    [positions.map(({ partition }) => partition), positions.map(({ renumbered }) => renumbered)],
  );
  await session.query('UPDATE registry.retained SET partition = $1 + partition WHERE partition < $2', [
    GONE_PARTITION_MIN,
    GONE_PARTITION_MIN,
  ]);
  for (let after: readonly [string, string] | null = null; ; ) {
    const rows: Row[] = await session.query<Row>(
      `SELECT owner, client_id, state FROM registry.mqtt_sessions
       WHERE state IS NOT NULL AND ($1::uuid IS NULL OR (owner, client_id) > ($1::uuid, $2::text COLLATE "C"))
       ORDER BY owner, client_id LIMIT ${SESSIONS_A_PAGE}`,
      [after?.[0] ?? null, after?.[1] ?? ''],
    );
    const end = rows.at(-1);
    if (end === undefined) return;
    await session.query(
      `UPDATE registry.mqtt_sessions AS held SET state = given.state
       FROM unnest($1::uuid[], $2::text[], $3::json[]) AS given (owner, client_id, state)
       WHERE held.owner = given.owner AND held.client_id = given.client_id`,
      [
        rows.map(({ owner }) => owner),
        rows.map(({ client_id }) => client_id),
        rows.map(({ state }) => JSON.stringify(atBeginning(state, partitionCount))),
      ],
    );
    after = [end.owner, end.client_id];
  }
}

/** A session that gets everything that is published from now on. What was on its way to the client is gone with the log;
 *  what it has sent by QoS 2 and not released stays known, so that it is not taken twice. */
export function atBeginning(state: SessionState, partitionCount: number): SessionState {
  const beginning = Array.from({ length: partitionCount }, (_, partition) => ({ partition, offset: 0 }));
  return {
    ...state,
    subscriptions: state.subscriptions.map((each) => ({ ...each, from: beginning })),
    positions: beginning,
    inFlight: [],
    ...(state.inbound === undefined ? {} : { inbound: { ...state.inbound, whole: true } }),
  };
}
