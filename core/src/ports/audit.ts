import type { ControlAction, DenyReason, MessageAction, Principal, RequestContext } from './gate.ts';

/** A refusal worth a line in the audit trail. */
export interface Denial {
  readonly principal: Principal;
  readonly org: string | null;
  readonly object: string;
  readonly action: MessageAction | ControlAction;
  readonly reason: DenyReason;
  readonly context: RequestContext;
}

/** Where refusals are written down, by whoever refused. */
export interface AuditTrail {
  /** Gathered, joined with its like, and written later: cheap, never waits, never throws. When there are more kinds of
   *  them than can be kept, further ones are counted only. */
  denied(denial: Denial): void;
}
