import { rows } from './access-world.ts';
import type { Answered, ControlPlane, Node } from './plane.ts';

export interface AuditRow {
  readonly action: string;
  readonly entity: string;
  readonly entity_id: string;
  readonly org: string | null;
  readonly outcome: 'done' | 'denied';
  readonly actor_kind: string;
  readonly actor: string | null;
  readonly via: string | null;
  readonly count: number;
  readonly detail: Record<string, unknown>;
}

/** What some work leaves in the audit, in order.  @holds nothing else changes anything meanwhile */
export async function leaves(
  plane: ControlPlane,
  node: Node,
  work: () => Promise<unknown>,
): Promise<readonly AuditRow[]> {
  await node.registry.audit.flush();
  const before = new Set((await rows(plane, 'SELECT id FROM registry.audit')).map(({ id }) => id as string));
  await work();
  await node.registry.audit.flush();
  const all = await rows(plane, 'SELECT * FROM registry.audit ORDER BY at, id');
  return all.filter(({ id }) => !before.has(id as string)) as unknown as readonly AuditRow[];
}

/** Requests that change nothing that the audit tells of: they only ask, or hand out what dies by itself in a minute. */
const ASKING = new Set([
  'POST /policies/simulate',
  'POST /tickets',
  'POST /identify',
  'POST /things/search',
  'POST /codecs/test',
  'POST /readings/query',
  'POST /readings/latest',
  'POST /sql',
  'POST /sql/queries/{id}/run',
]);

/** Why a request that succeeded has left too little in the audit; null if it left what it should.
 *  @param route as `POST /things/{id}/enable` */
export function traceProblem(route: string, { status }: Answered, left: readonly AuditRow[]): string | null {
  const [method = ''] = route.split(' ');
  if (method === 'GET' || ASKING.has(route) || status < 200 || status > 299) return null;
  const done = left.filter(({ outcome }) => outcome === 'done');
  if (done.length === 0) return `${route} answered ${status}, but the audit has no line of it`;
  const wrong = done.find(({ action, entity }) => !/^[a-z_]+\.[a-z_]+$/.test(action) || !/^[a-z_]+$/.test(entity));
  if (wrong !== undefined) return `${route}: ${wrong.action} of ${wrong.entity} is no <entity>.<verb>`;
  return null;
}

/** Secrets that stand anywhere in the audit. */
export async function secretsInAudit(plane: ControlPlane, secrets: readonly string[]): Promise<string[]> {
  const texts = await rows(plane, 'SELECT audit::text AS text FROM registry.audit');
  return secrets.filter((secret) => texts.some(({ text }) => (text as string).includes(secret)));
}
