import type { Session } from '../database/database.ts';

/** What is changed in turns, one transaction of an organisation at a time. */
const PARTS = {
  gateways: 0x4d_4c_10,
  groups: 0x4d_4c_11,
  manifest: 0x4d_4c_12,
  lora: 0x4d_4c_13,
  webhooks: 0x4d_4c_14,
} as const;

/** Waits for its turn, which lasts to the end of the transaction. Two organisations may share a turn, by chance. */
export async function lockOrg(tx: Session, part: keyof typeof PARTS, org: string): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock($1::integer, hashtext($2))', [PARTS[part], org]);
}
