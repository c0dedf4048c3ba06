export { BenchError, type BenchErrorCode } from './errors.ts';
export type { Figure, Figures } from './figures.ts';
export type { LoadFigures, LoadPlan } from './load/plan.ts';
export { runLoad } from './load/run.ts';
export { type TreeMemory, treeMemory } from './memory.ts';
export type { RoadReport, SoakFigures, Target } from './report.ts';
export { defaultResultFile, writeReport } from './report.ts';
export { FULL, QUICK, type RoadOptions, runRoad } from './road.ts';
export { formatReport } from './table.ts';
