import { type Child, runChild, startChild } from '../../child.ts';
import type {
  BridgePlan,
  ConnectFigures,
  ConnectPlan,
  DeliverFigures,
  DeliverPlan,
  HoldFigures,
  HoldPlan,
  ParkFigures,
  ParkPlan,
  PublishFigures,
  PublishPlan,
  ReturnFigures,
  ReturnPlan,
} from './plan.ts';

export interface BridgeLoad {
  publish(plan: Omit<PublishPlan, 'kind'>): Promise<PublishFigures>;
  deliver(plan: Omit<DeliverPlan, 'kind'>): Promise<DeliverFigures>;
  connect(plan: Omit<ConnectPlan, 'kind'>): Promise<ConnectFigures>;
  park(plan: Omit<ParkPlan, 'kind'>): Promise<ParkFigures>;
  comeBack(plan: Omit<ReturnPlan, 'kind'>): Promise<ReturnFigures>;
  /** Held until it is stopped. */
  hold(plan: Omit<HoldPlan, 'kind'>): Promise<Child<HoldFigures>>;
}

const SHORT_MS_MAX = 120_000;
const LONG_MS_MAX = 600_000;

/** The load generator, each load in a process of its own, on one core if wanted.
 *  @throws BenchError CHILD_FAILED, from every call */
export function bridgeLoad(core: number | null): BridgeLoad {
  const run = <Told>(plan: BridgePlan, msMax: number): Promise<Told> =>
    runChild<Told>(import.meta.url, './generator', plan, msMax, core);
  return {
    publish: (plan) => run({ kind: 'publish', ...plan }, plan.messagesEach === undefined ? SHORT_MS_MAX : LONG_MS_MAX),
    deliver: (plan) => run({ kind: 'deliver', ...plan }, SHORT_MS_MAX),
    connect: (plan) => run({ kind: 'connect', ...plan }, SHORT_MS_MAX),
    park: (plan) => run({ kind: 'park', ...plan }, LONG_MS_MAX),
    comeBack: (plan) => run({ kind: 'return', ...plan }, LONG_MS_MAX),
    hold: (plan) => startChild(import.meta.url, './generator', { kind: 'hold', ...plan }, SHORT_MS_MAX, core),
  };
}
