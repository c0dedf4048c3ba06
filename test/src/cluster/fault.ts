import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterWorld } from './world.ts';

const RECOVERY_MS_MAX = 180_000;

/** What goes wrong, and how it is put right. */
export interface Fault {
  readonly name: string;
  /** Shorter, and what it is about would not happen. */
  readonly lastsMsMin?: number;
  begin(): Promise<void> | void;
  end(): Promise<void> | void;
}

/** @units s */
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

/** Lets a fault last, and waits until all publishers are served again, from whenever that may be and from its end.
 *  @returns what was seen, in a line */
export async function suffer(world: ClusterWorld, fault: Fault, lastsMsAsked: number): Promise<string> {
  const lastsMs = Math.max(lastsMsAsked, fault.lastsMsMin ?? 0);
  const began = performance.now();
  const recovering = Promise.allSettled([world.recovery(began, RECOVERY_MS_MAX)]);
  await fault.begin();
  await sleep(lastsMs);
  await fault.end();
  const [recovery] = await recovering;
  if (recovery.status === 'rejected') throw new Error(`${fault.name}: ${String(recovery.reason)}`);
  await world.recovery(performance.now(), RECOVERY_MS_MAX);
  const { accepted, stored } = recovery.value;
  return `${fault.name} for ${seconds(lastsMs)}: accepted again after ${seconds(accepted)}, stored again after ${seconds(stored)}`;
}
