import type { Session } from '../database/database.ts';

/** Has the stored data looked through soon: what holds for it has changed. */
export const wantSweep = async (session: Session): Promise<void> => {
  await session.query('UPDATE registry.store_upkeep SET wanted_at = now() WHERE wanted_at > now()');
};
