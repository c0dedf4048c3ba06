import { type ControlAction, Protocol, type Scope } from '@millrace/core';
import type { Plane } from '../http/plane.ts';
import type { Job } from './jobs.ts';

/** Whether who asked for a job still may what it does: they may have been removed, disabled or given another role since,
 *  and the key or application that they came by may have been revoked. */
export type JobRights = (job: Job) => Promise<boolean>;

/** @throws what the registry does when it can not be asked: then nobody knows */
export function createJobRights({ gate, registry }: Pick<Plane, 'gate' | 'registry'>): JobRights {
  return async ({ org, kind, actor, groups }) => {
    const subject = actor.id === null ? null : await registry.directory.subject(actor.id);
    // A machine's token ends long before a large job: what counts is the machine.
    const via = subject?.kind === 'thing' ? null : actor.via;
    const scope = via === null ? null : await scopeOf(registry, via);
    if (subject === null || scope === undefined) return false;
    const context = {
      protocol: Protocol.http,
      remoteAddress: actor.address ?? '',
      // The request itself was let in as it came: what it came over does not change.
      tls: true,
      mutualTls: false,
      nowMs: registry.access.now(),
    };
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
      const { allowed } = await gate.explain({ subject, scope, org, object, action, groups: branch, context });
      if (!allowed) return false;
    }
    return true;
  };
}

/** What a key or an application carries of its user's rights; undefined if it is good no more. */
async function scopeOf(registry: Plane['registry'], via: string): Promise<Scope | undefined> {
  const key = await registry.access.keys.get(via);
  if (key !== null) {
    const isOver = key.expiresAt !== null && key.expiresAt.getTime() <= registry.access.now();
    return key.enabled && !isOver ? { id: via, org: key.org, grants: key.grants } : undefined;
  }
  return (await registry.applications.grants.scope(via)) ?? undefined;
}
