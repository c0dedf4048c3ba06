import type { ThingRecord } from '@millrace/core';
import { THING_RECORD } from '../access/directory.ts';
import type { Session } from '../database/database.ts';

/** The DevEUI of a thing, over registry.things. @holds as migration 0013 indexes it */
export const DEV_EUI = 'registry.lora_dev_eui(things.metadata, things.external_id)';
const THINGS = 'registry.things JOIN registry.orgs ON orgs.id = things.org';

/** The oldest first, at most two: a second one is a mistake that somebody should hear of. */
export const thingByDevEui = (session: Session, org: string, devEui: string): Promise<ThingRecord[]> =>
  session.query<ThingRecord>(
    `SELECT ${THING_RECORD} FROM ${THINGS} WHERE things.org = $1 AND ${DEV_EUI} = $2
     ORDER BY things.created_at, things.id LIMIT 2`,
    [org, devEui],
    'lora-device',
  );

export async function thingRecord(session: Session, id: string): Promise<ThingRecord | null> {
  const [thing] = await session.query<ThingRecord>(`SELECT ${THING_RECORD} FROM ${THINGS} WHERE things.id = $1`, [id]);
  return thing ?? null;
}
