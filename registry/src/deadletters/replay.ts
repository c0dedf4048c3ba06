import { type DeadLetter, isUuid, LogError, Protocol, type protocolNames } from '@millrace/core';
import type { Asking } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import type { Channel } from '../inventory/channels.ts';
import { digestOf, type Replayed } from './payload.ts';
import { letterId } from './states.ts';

/** Puts what a dead letter holds on the log anew, in the name of its publisher, once.
 *  @holds the same letter with the same content gives the same message, however often and by whichever node it is tried,
 *         also when a node died on the way  @source docs/adr/0035-dead-letter-replay.md
 *  @returns id of the message, and whether it had been replayed so before
 *  @throws Refusal 409, 413, 503; LogError LOG_FULL, LOG_UNREACHABLE */
export async function replay(
  plane: Plane,
  letter: DeadLetter,
  content: Replayed,
): Promise<{ readonly id: string; readonly repeated: boolean }> {
  const { intake } = plane;
  if (intake === null) throw new Refusal(503, 'This node has no log: ask one that takes messages in.');
  const { letters } = plane.registry;
  const digest = digestOf(content);
  const begun = await letters.begin(letter, digest);
  if (begun.appended) return { id: begun.id, repeated: true };
  // Begun before, and cut short: it may be stored already, longer ago than repeats are told by the log.
  const isThere = !begun.fresh && (await plane.store.fate(begun.id)) !== null;
  if (!isThere) {
    try {
      await intake.append({
        id: begun.id,
        org: letter.org,
        channel: letter.channel,
        subtopic: letter.subtopic,
        publisher: letter.publisher,
        protocol: Protocol[letter.protocol as (typeof protocolNames)[number]] ?? Protocol.unknown,
        contentType: content.contentType,
        payload: content.payload,
        dedupKey: `replay:${letterId(letter)}:${digest}`,
        // Relative times count from when it came first.
        timeUs: Number(letter.receivedUs),
      });
    } catch (error) {
      if (error instanceof LogError && error.code === 'LOG_RECORD_TOO_LARGE')
        throw new Refusal(413, 'The payload is larger than a message may be.');
      throw error;
    }
  }
  await letters.replayed(letter, begun);
  return { id: begun.id, repeated: false };
}

/** The channel that a letter is replayed on.
 *  @throws Refusal 409 where there is none that takes it */
export async function channelOf(plane: Plane, letter: DeadLetter): Promise<Channel> {
  const channel = isUuid(letter.channel) ? await plane.registry.channels.get(letter.channel, letter.org) : null;
  if (channel === null || channel.org !== letter.org)
    throw new Refusal(409, 'Its channel is gone: there is nowhere to replay it.');
  if (!channel.enabled) throw new Refusal(409, 'Its channel is disabled: enable it, then replay.');
  return channel;
}

/** Who may publish nothing here gets nothing in by a replay: what was forbidden must be allowed first.
 *  @throws Refusal 409 */
export async function refuseForbidden(
  plane: Plane,
  letter: DeadLetter,
  { groups }: Channel,
  asking: Pick<Asking, 'context'>,
): Promise<void> {
  if (letter.reason !== 'forbidden') return;
  const subject = isUuid(letter.publisher) ? await plane.registry.directory.subject(letter.publisher) : null;
  const { allowed } =
    subject === null
      ? { allowed: false }
      : await plane.gate.explain({
          subject,
          scope: null,
          org: letter.org,
          object:
            letter.subtopic === ''
              ? `channels/${letter.channel}/messages`
              : `channels/${letter.channel}/messages/${letter.subtopic}`,
          action: 'publish',
          groups,
          context: asking.context,
        });
  if (!allowed)
    throw new Refusal(
      409,
      'Its publisher may still not publish there: connect it with the channel, or allow it by a policy, then replay.',
    );
}

/** What who replays says in the place of a letter's payload is said in the name of its publisher. For a thing that takes
 *  what an import takes (who may update a thing could publish as it anyway); nobody speaks for another user. A publisher
 *  that is none of ours, or gone, is told apart from ours by its id.  @throws Refusal 403  @source ADR 0034 */
export async function refuseForgery({ registry, gate }: Plane, letter: DeadLetter, asking: Asking): Promise<void> {
  const { publisher, org } = letter;
  const principal = await asking.principal();
  if (publisher === principal.subject.id || !isUuid(publisher)) return;
  const { context } = asking;
  const thing = await registry.imports.thing(org, publisher);
  if (typeof thing === 'string') {
    if ((await registry.directory.subject(publisher))?.kind !== 'user') return;
    throw new Refusal(403, 'Another user published it: nobody else can say anything in their name.');
  }
  const isMachine = (await registry.applications.apps.machines([publisher])).has(publisher);
  const may =
    (await gate.allows(principal, org, `things/${publisher}`, 'things.update', context, thing.groups)) &&
    (!isMachine || (await gate.allows(principal, org, `apps/${publisher}`, 'apps.update', context)));
  if (!may) throw new Refusal(403, 'You may replay it as it is; to edit it takes things.update of its publisher.');
}
