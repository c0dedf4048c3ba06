import type { ControlAction, DeadLetter } from '@millrace/core';
import type { Asking } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';

/** Tells whether who asks may do something with a letter: what is allowed of dead letters as a whole holds for each,
 *  unless a policy keeps its channel from them. Asked once a channel. */
export function letterRights(
  { gate, registry }: Pick<Plane, 'gate' | 'registry'>,
  asking: Asking,
  action: ControlAction,
): (letter: Pick<DeadLetter, 'org' | 'channel'>) => Promise<boolean> {
  const known = new Map<string, Promise<boolean>>();
  const judge = async (org: string, channel: string): Promise<boolean> => {
    const principal = await asking.principal();
    const { context } = asking;
    const found = await registry.directory.channel(channel, org);
    // Of one that is gone nobody knows where it was.
    const groups = found?.org === org ? found.groups : [];
    const object = `channels/${channel}`;
    if (await gate.allows(principal, org, object, action, context, groups)) return true;
    if (!(await gate.allows(principal, org, 'deadletters', action, context))) return false;
    const { subject, scope } = principal;
    const { reason } = await gate.explain({ subject, scope, org, object, action, groups, context });
    return reason !== 'denied_by_policy';
  };
  return ({ org, channel }) => {
    const key = `${org}/${channel}`;
    const judged = known.get(key) ?? judge(org, channel);
    known.set(key, judged);
    return judged;
  };
}
