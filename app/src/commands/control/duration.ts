import { Failure } from './failure.ts';

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };

/** `90`, `15m`, `12h`, `30d` in seconds.  @throws Failure 2 */
export function durationSeconds(given: string): number {
  const [, count, unit = 's'] = /^(\d{1,9})([smhdw])?$/.exec(given.trim()) ?? [];
  if (count === undefined) throw new Failure(2, `“${given}” is no duration: as 90 (seconds), 15m, 12h, 30d.`);
  return Number(count) * (UNITS[unit] ?? 1);
}
