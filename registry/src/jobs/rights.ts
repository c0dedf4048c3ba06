import { type ControlAction, Protocol, type Scope } from '@millrace/core';
import type { Asking } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import type { Job } from './jobs.ts';

/** Whether who asked for a job still may what it does: they may have been removed, disabled or given another role since,
 *  and the key or application that they came by may have been revoked. */
export type JobRights = (job: Job) => Promise<boolean>;

type Judges = Pick<Plane, 'gate' | 'registry'>;

/** @throws what the registry does when it can not be asked: then nobody knows */
export function createJobRights(plane: Judges): JobRights {
  const { gate, registry } = plane;
  return async (job) => {
    const asking = await askingOf(job, plane);
    if (asking === null) return false;
    const { subject, scope } = await asking.principal();
    const { org, kind, groups } = job;
    const [object = ''] = kind.split('.');
    const action = kind satisfies ControlAction;
    const branches = await registry.access.branches(
      org,
      groups.filter((group) => group !== null),
    );
    for (const group of groups) {
      const branch = group === null ? [] : branches.get(group);
      // Of a group that is gone each line is refused by itself.
      if (branch === undefined) continue;
      const { context } = asking;
      const { allowed } = await gate.explain({ subject, scope, org, object, action, groups: branch, context });
      if (!allowed) return false;
    }
    return true;
  };
}

/** Who asked for a job, as they would ask now: what a step does in their name is judged by it.
 *  @returns null if they are nobody any more  @throws what the registry does when it can not be asked */
export async function askingOf({ actor }: Pick<Job, 'actor'>, { gate, registry }: Judges): Promise<Asking | null> {
  if (actor.id === null) return null;
  const subject = await registry.directory.subject(actor.id);
  if (subject === null) return null;
  // A machine's token ends long before a large job: what counts is the machine.
  const via = subject.kind === 'thing' ? null : actor.via;
  const scope = via === null ? null : await scopeOf(registry, via);
  if (scope === undefined) return null;
  const identified = await gate.identify({ kind: 'subject', id: subject.id, ...(scope === null ? {} : { scope }) });
  if (identified.kind === 'refused') return null;
  return {
    principal: async () => identified.principal,
    context: {
      protocol: Protocol.http,
      remoteAddress: actor.address ?? '',
      // The request itself was let in as it came: what it came over does not change.
      tls: true,
      mutualTls: false,
      nowMs: registry.access.now(),
    },
  };
}

/** What a key or an application carries of its user's rights; undefined if it is good no more. */
export async function scopeOf(
  registry: Pick<Plane['registry'], 'access' | 'applications'>,
  via: string,
): Promise<Scope | undefined> {
  const key = await registry.access.keys.get(via);
  if (key !== null) {
    const isOver = key.expiresAt !== null && key.expiresAt.getTime() <= registry.access.now();
    return key.enabled && !isOver ? { id: via, org: key.org, grants: key.grants } : undefined;
  }
  return (await registry.applications.grants.scope(via)) ?? undefined;
}
