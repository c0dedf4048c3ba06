import { setImmediate as turn } from 'node:timers/promises';
import {
  type Admission,
  type ChannelRecord,
  type DenyReason,
  EVERY_SUBTOPIC,
  isUuid,
  messagesObject,
  type Principal,
} from '@millrace/core';
import { type Asking, isMember, permit } from '../http/identity.ts';
import type { Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { refuseFrozen } from '../people/frozen.ts';
import { CHANNELS_MAX } from './schemas.ts';

/** Judged for one question, each subtopic of a channel once; and channels at a time: the gate bounds what of one subject
 *  is cold. After so many, others have a turn. */
const JUDGED_MAX = 10_000;
const JUDGED_AT_ONCE = 16;
const JUDGED_A_TURN = 256;

type Place = Pick<ChannelRecord, 'id' | 'org'>;
type Verdict =
  | { readonly kind: 'readable'; readonly channel: Place }
  /** Some of its subtopics only. */
  | { readonly kind: 'partly' }
  | { readonly kind: 'denied'; readonly reason: DenyReason };

/** Channels that somebody may read of.
 *  @shape leftOut: how many of the organisation are not among them, as far as they can be read at all or were not
 *         looked at */
export interface ReadableChannels {
  readonly org: string;
  readonly channels: readonly string[];
  readonly leftOut: number;
}

export interface Wanted {
  /** Ids or aliases; undefined: all of the organisation. */
  readonly channels: readonly string[] | undefined;
  /** undefined: every one. */
  readonly subtopics: readonly string[] | undefined;
  /** Of aliases, and of all channels. */
  org(): Promise<string>;
}

/** The channels that are asked of, each judged as for reading its messages. Of those that are named all must be
 *  readable, and of one organisation.
 *  @throws Refusal 404, 403, 422 for channels of several organisations */
export async function readableChannels(asking: Asking, plane: Plane, wanted: Wanted): Promise<ReadableChannels> {
  if (wanted.channels === undefined) return allReadable(asking, plane, await wanted.org(), wanted.subtopics);
  const references = [...new Set(wanted.channels)];
  const subtopicCount = wanted.subtopics?.length ?? 0;
  if (references.length * subtopicCount > JUDGED_MAX)
    throw new Refusal(
      422,
      `These are ${references.length} channels with ${subtopicCount} subtopics each, together more than ${JUDGED_MAX}: ask in parts.`,
    );
  const places = await inTurn(references, (reference) => readableChannel(asking, plane, reference, wanted));
  const [first] = places;
  if (places.some(({ org }) => org !== first?.org))
    throw new Refusal(422, 'The channels are of several organisations: ask one at a time.');
  const org = first?.org ?? (await wanted.org());
  return { org, channels: [...new Set(places.map(({ id }) => id))], leftOut: 0 };
}

/** The channel, if the asker may read it.  @throws Refusal 404, 403 */
export async function readableChannel(
  asking: Asking,
  plane: Plane,
  reference: string,
  { subtopics, org }: Pick<Wanted, 'subtopics' | 'org'>,
): Promise<Place> {
  const principal = await asking.principal();
  const missing = () => notFound(`channel: ${reference.slice(0, 100)}`);
  // No alias holds it, and PostgreSQL can not be asked for it.
  if (reference.includes('\0')) throw missing();
  let id = reference;
  if (principal.subject.kind === 'user' && !isUuid(reference)) {
    const channel = await plane.registry.channels.get(reference, await org());
    if (channel === null) throw missing();
    id = channel.id;
  }
  const verdict = await judge(asking, plane, id, subtopics);
  if (verdict.kind === 'readable') return verdict.channel;
  if (verdict.kind === 'partly')
    throw new Refusal(403, 'You may not read every subtopic of the channel: say which, by subtopic.');
  if (verdict.reason === 'no_such_channel') throw missing();
  const channel = await plane.registry.channels.get(
    id,
    principal.subject.kind === 'thing' ? principal.subject.org : null,
  );
  if (channel === null || !(await isMember(principal, plane, channel.org))) throw missing();
  if (verdict.reason === 'channel_disabled' && principal.subject.kind === 'user')
    await permit(asking, plane, channel.org, `channels/${channel.id}`, 'messages.read', { groups: channel.groups });
  throw new Refusal(403, DENIALS[verdict.reason]);
}

const DENIALS = {
  channel_disabled: 'The channel is disabled.',
  subject_disabled: 'The thing or user is disabled.',
  not_allowed: 'There is no connection with "subscribe" between the thing and this channel: POST /connect makes one.',
  denied_by_policy: 'A policy denies it.',
} as const;

async function judge(
  asking: Asking,
  plane: Plane,
  id: string,
  subtopics: readonly string[] = [EVERY_SUBTOPIC],
): Promise<Verdict> {
  const principal = await asking.principal();
  const may = (subtopic: string): Admission | Promise<Admission> =>
    plane.gate.may(principal, 'subscribe', id, subtopic, asking.context);
  let channel: Place | undefined;
  let disabled: ChannelRecord | null | undefined;
  for (const subtopic of subtopics) {
    const isWhole = subtopic === EVERY_SUBTOPIC;
    const admission = await may(isWhole ? '' : subtopic);
    if (admission.kind === 'deny') {
      if (admission.reason === 'channel_disabled') {
        if (disabled === undefined) disabled = await disabledFor(asking, plane, principal, id);
        if (disabled !== null && !(await isDenied(asking, plane, principal, disabled, subtopic))) {
          channel = disabled;
          continue;
        }
      }
      return { kind: 'denied', reason: admission.reason };
    }
    if (isWhole && (await may(EVERY_SUBTOPIC)).kind === 'deny') return { kind: 'partly' };
    channel = admission.channel;
  }
  if (channel !== undefined) return { kind: 'readable', channel: { id: channel.id, org: channel.org } };
  // No subtopic is asked for: whether the channel can be read at all still counts.
  const admission = await may('');
  if (admission.kind === 'deny') return { kind: 'denied', reason: admission.reason };
  return { kind: 'readable', channel: { id: admission.channel.id, org: admission.channel.org } };
}

/** A disabled channel takes no messages, but its members may read what it has; what a policy denies stays denied.
 *  @returns null: nothing of it */
async function disabledFor(
  { context }: Asking,
  { gate, registry }: Plane,
  principal: Principal,
  id: string,
): Promise<ChannelRecord | null> {
  if (principal.subject.kind !== 'user') return null;
  const channel = await registry.channels.get(id, null);
  if (channel === null || (await registry.orgs.frozen(channel.org))) return null;
  const { org, groups } = channel;
  const may = await gate.allows(principal, org, `channels/${channel.id}`, 'messages.read', context, groups);
  return may ? channel : null;
}

async function isDenied(
  { context }: Asking,
  { gate }: Plane,
  { subject, scope }: Principal,
  { id, org, groups }: ChannelRecord,
  subtopic: string,
): Promise<boolean> {
  const object = messagesObject(id, subtopic);
  const { reason } = await gate.explain({ subject, scope, org, object, action: 'subscribe', groups, context });
  return reason === 'denied_by_policy';
}

async function allReadable(
  asking: Asking,
  plane: Plane,
  org: string,
  subtopics: readonly string[] | undefined,
): Promise<ReadableChannels> {
  const principal = await asking.principal();
  if (!(await isMember(principal, plane, org))) throw notFound('organisation');
  await refuseFrozen(plane.registry.orgs, org, 'messages.read');
  const channelsMax = Math.floor(JUDGED_MAX / Math.max(1, subtopics?.length ?? 1));
  const { ids, total } = await candidates(plane, principal, org, channelsMax);
  const channels: string[] = [];
  let leftOut = total - ids.length;
  const verdicts = await inTurn(ids, (id) => judge(asking, plane, id, subtopics));
  for (const verdict of verdicts) {
    if (verdict.kind === 'denied') continue;
    if (verdict.kind === 'readable' && channels.length < CHANNELS_MAX) channels.push(verdict.channel.id);
    else leftOut++;
  }
  return { org, channels, leftOut };
}

const NAMED_CHANNEL = /^channels\/([^/*]+)(?:\/|$)/;
const OBJECT = 2;

/** Channels of an organisation that it is worth judging: of who has rights on some by name, as things have by their
 *  connections, those. */
async function candidates(
  plane: Plane,
  { subject }: Principal,
  org: string,
  channelsMax: number,
): Promise<{ ids: readonly string[]; total: number }> {
  if (subject.kind === 'thing') {
    const rules = (await plane.registry.directory.rules(subject.id, org)).filter(({ type }) => type === 'p');
    const names = rules.map(({ values }) => NAMED_CHANNEL.exec(values[OBJECT] ?? '')?.[1]);
    if (names.every((name) => name !== undefined && isUuid(name))) {
      const ids = [...new Set(names as string[])].sort();
      return { ids: ids.slice(0, channelsMax), total: ids.length };
    }
  }
  return plane.registry.channels.ids({ org, offset: 0, limit: channelsMax, order: 'id', direction: 'asc' });
}

async function inTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += JUDGED_AT_ONCE) {
    if (at > 0 && at % JUDGED_A_TURN === 0) await turn();
    results.push(...(await Promise.all(items.slice(at, at + JUDGED_AT_ONCE).map(work))));
  }
  return results;
}
