import type { Target } from '../../pack.ts';
import type { HandshakeFigures, HandshakePlan } from './plan.ts';
import type { Wire } from './publish.ts';

export function openSecure(_port: number, _target: Target): Promise<Wire> {
  throw new Error('not yet');
}
export function handshakes(_plan: HandshakePlan): Promise<HandshakeFigures> {
  throw new Error('not yet');
}
