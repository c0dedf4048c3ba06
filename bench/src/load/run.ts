import { runChild } from '../child.ts';
import type { LoadFigures, LoadPlan } from './plan.ts';

/** Runs the load generator in a process of its own.
 *  @throws BenchError CHILD_FAILED */
export function runLoad(plan: LoadPlan): Promise<LoadFigures> {
  return runChild<LoadFigures>(import.meta.url, './generator', plan, plan.seconds * 1_000 + 60_000);
}
