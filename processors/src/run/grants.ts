import type { ChannelRecord, Directory, SubjectRecord } from '@millrace/core';
import type { Grant, Need } from '../batch/task.ts';

/** Needs that are asked for at the same time. */
const CONCURRENT_MAX = 32;

/** Asks the directory what it says to each need, for the enforcer in the workers.
 *  @throws RegistryError REGISTRY_UNREACHABLE (retry later) */
export async function resolveNeeds(directory: Directory, needs: readonly Need[]): Promise<Grant[]> {
  const grants: Grant[] = [];
  for (let at = 0; at < needs.length; at += CONCURRENT_MAX)
    grants.push(
      ...(await Promise.all(needs.slice(at, at + CONCURRENT_MAX).map((need) => resolveNeed(directory, need)))),
    );
  return grants;
}

async function resolveNeed(directory: Directory, need: Need): Promise<Grant> {
  const [subject, channel] = await Promise.all([
    directory.subject(need.subject),
    directory.channel(need.channel, need.org),
  ]);
  const forbidden = whyForbidden(need, subject, channel);
  const rules = forbidden === null ? await directory.rules(need.subject, need.org) : [];
  return {
    ...need,
    forbidden,
    groups: forbidden === null ? (channel?.groups ?? []) : [],
    channelId: channel !== null && channel.org === need.org ? channel.id : need.channel,
    rules,
  };
}

/** What holds whatever the rules are. */
function whyForbidden(need: Need, subject: SubjectRecord | null, channel: ChannelRecord | null): string | null {
  if (channel === null || channel.org !== need.org) return 'no such channel in this organisation';
  if (!channel.enabled) return 'the channel is disabled';
  if (subject === null) return 'no such publisher';
  if (subject.kind === 'thing' && subject.org !== need.org) return 'the publisher is of another organisation';
  if (!subject.enabled) return 'the publisher is disabled';
  return null;
}
