import { z } from '@hono/zod-openapi';
import type { ControlAction, DeadLetter } from '@millrace/core';
import { advise } from '../fate/reasons.ts';
import { example } from '../http/examples.ts';
import { orgOf, permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { pageOf } from '../inventory/lookup.ts';
import { jobAnswer } from '../jobs/job-routes.ts';
import { JobAnswer } from '../jobs/schemas.ts';
import { problem } from '../people/answers.ts';
import { refuseFrozen } from '../people/frozen.ts';
import { inspected, letterAnswer } from './answers.ts';
import { keyOf, type LetterFilter, letterOf, listLetters, UNREADABLE } from './letters.ts';
import { replayOf } from './payload.ts';
import { channelOf, refuseForbidden, refuseForgery, replay } from './replay.ts';
import { type ReplayInput, refuseAnonymous } from './replay-work.ts';
import { letterRights } from './rights.ts';
import {
  DiscardAnswer,
  DiscardBody,
  InspectedAnswer,
  type LettersFilterBody,
  LettersPage,
  LettersQuery,
  MatchingAnswer,
  ReplayAnswer,
  ReplayBody,
  ReplayManyBody,
} from './schemas.ts';
import { letterId } from './states.ts';

const tag = 'messages';
/** Of a payload in a list. */
const SHOWN_BYTES = 4_096;
/** Letters that one request counts or discards at most. */
const MATCHING_MAX = 10_000;
const MATCHING_PAGE = 1_000;
const examples = [{ name: 'one that never was', parameters: { id: example.message }, status: 404 }];

export const deadLetterRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/dead-letters',
      tag,
      summary: 'Messages and records that could not be processed, newest first',
      description: 'With the beginning of their payloads; GET /dead-letters/{id} gives all of one.',
      query: LettersQuery,
      answers: { 200: { description: 'A page of dead letters.', schema: LettersPage } },
      examples: [
        { name: 'of a channel', query: { channel: example.channel }, status: 200 },
        { name: 'those that were put aside', query: { state: 'discarded', reason: 'malformed_json' }, status: 200 },
      ],
    },
    async (call, plane) => {
      const user = await call.user();
      const { scope } = await call.principal();
      const everyOrg = user.admin && scope === null && call.query.org === undefined;
      const org = everyOrg ? null : await orgOf(call, plane);
      const { state = 'open', cursor, org: _, offset: __, limit: ___, ...filter } = call.query;
      if (org !== null) await permitAll(call, plane, org, filter.channel, 'deadletters.read');
      const paging = pageOf(call.query);
      if (cursor !== undefined && paging.offset !== 0)
        throw new Refusal(400, 'A cursor begins its page: offset must be 0.');
      const found = await listLetters(
        plane,
        { ...filterOf(filter), org, state },
        { ...paging, cursor, payloadBytesMax: SHOWN_BYTES },
      );
      const may = letterRights(plane, call, 'deadletters.read');
      const shown = [];
      for (const each of found.letters) if (org === null || (await may(each.letter))) shown.push(each);
      return json(200, {
        total: paging.offset + found.letters.length + (found.cursor === undefined ? 0 : 1),
        ...paging,
        ...(found.cursor === undefined ? {} : { cursor: found.cursor }),
        dead_letters: shown.map(({ letter, closed }) => letterAnswer(letter, closed)),
      });
    },
  ),
  route(
    {
      method: 'get',
      path: '/dead-letters/{id}',
      tag,
      summary: 'One dead letter, with all of its payload',
      query: z.object({
        encoding: z.enum(['utf8', 'base64', 'hex']).optional().describe('utf8 if left out, and if it is some.'),
      }),
      answers: { 200: { description: 'The letter, looked through.', schema: InspectedAnswer } },
      examples,
    },
    async (call, plane) => {
      const letter = await letterFor(call, plane, 'deadletters.read');
      const { letters } = plane.registry;
      const [closed, origin] = await Promise.all([letters.of([keyOf(letter)]), letters.origin(letter.message)]);
      return json(200, {
        ...letterAnswer(letter, closed.get(letterId(keyOf(letter))) ?? null, call.query.encoding),
        advice: advise(letter.reason),
        ...inspected(letter),
        ...(origin === null ? {} : { replay_of: letterId(origin) }),
      });
    },
  ),
  route(
    {
      method: 'post',
      path: '/dead-letters/{id}/replay',
      tag,
      summary: 'Publish what a dead letter holds anew, edited if you like',
      description:
        'In the name of its publisher, with relative times counted from when it came first. The same content again is the same message.',
      body: ReplayBody,
      answers: {
        200: { description: 'The very same had been replayed before.', schema: ReplayAnswer },
        202: { description: 'It is on the log: Location tells its fate.', schema: ReplayAnswer },
        403: problem('You may not replay it, or not edit it: that takes things.update of its publisher.'),
      },
      examples: [{ ...examples[0], name: 'one that never was', body: {}, status: 404 }],
    },
    async (call, plane) => {
      const letter = await letterFor(call, plane, 'deadletters.replay');
      const channel = await channelOf(plane, letter);
      await refuseForbidden(plane, letter, channel, call);
      if (call.body.payload !== undefined) await refuseForgery(plane, letter, call);
      const done = await replay(plane, letter, replayOf(letter, call.body));
      return json(done.repeated ? 200 : 202, done, { location: `/messages/${done.id}` });
    },
  ),
  route(
    {
      method: 'post',
      path: '/dead-letters/replay',
      tag,
      summary: 'Replay many dead letters, as they are',
      description: 'A job: GET /jobs/{id} tells how far it is. It takes what is open now, the newest first.',
      body: ReplayManyBody,
      answers: {
        200: { description: 'How many there are (dry_run).', schema: MatchingAnswer },
        202: { description: 'The job: Location names it.', schema: JobAnswer },
      },
      examples: [
        {
          name: 'how many there would be',
          body: { filter: { channel: example.channel, reason: 'forbidden' }, dry_run: true },
          status: 200,
        },
      ],
    },
    async (call, plane) => {
      const org = await orgOf(call, plane);
      const { filter, dry_run: isDry = false } = call.body;
      await permitAll(call, plane, org, filter.channel, 'deadletters.replay');
      if (isDry) {
        const { letters, more } = await matching(call, plane, org, filter, 'deadletters.replay');
        return json(200, { matching: letters.length, more });
      }
      if (plane.intake === null) throw new Refusal(503, 'This node has no log: ask one that takes messages in.');
      refuseAnonymous(await call.principal());
      const { from, to, ...rest } = filter;
      const nowUs = BigInt(call.context.nowMs) * 1_000n;
      const input: ReplayInput = {
        filter: {
          ...rest,
          ...(from === undefined ? {} : { from: String(from) }),
          to: String(to === undefined || to > nowUs ? nowUs : to),
        },
      };
      const channel = filter.channel === undefined ? null : await plane.registry.channels.get(filter.channel, org);
      const groups = [channel?.groups.at(-1) ?? null];
      const job = await plane.registry.jobs.submit(org, 'deadletters.replay', input, { unit: 'dead letters', groups });
      return json(202, jobAnswer(job), { location: `/jobs/${job.id}` });
    },
  ),
  route(
    {
      method: 'post',
      path: '/dead-letters/discard',
      tag,
      summary: 'Put dead letters aside that nobody will replay',
      description: `They are kept as long as before, and listed by ?state=discarded. At most ${MATCHING_MAX} a request.`,
      body: DiscardBody,
      answers: { 200: { description: 'How many were open, and are no more.', schema: DiscardAnswer } },
      examples: [{ name: 'all of a channel', body: { filter: { channel: example.channel } }, status: 200 }],
    },
    async (call, plane) => {
      const { ids, filter } = call.body;
      const org = await orgOf(call, plane);
      if (ids !== undefined) {
        const letters: DeadLetter[] = [];
        for (const id of new Set(ids)) letters.push(await letterFor(call, plane, 'deadletters.delete', id));
        if (letters.some((letter) => letter.org !== org)) throw notFound('dead letter');
        return json(200, { discarded: await plane.registry.letters.discard(org, letters.map(factsOf)), more: false });
      }
      await permitAll(call, plane, org, filter?.channel, 'deadletters.delete');
      const { letters, more } = await matching(call, plane, org, filter ?? {}, 'deadletters.delete');
      let discarded = 0;
      for (let at = 0; at < letters.length; at += MATCHING_PAGE)
        discarded += await plane.registry.letters.discard(org, letters.slice(at, at + MATCHING_PAGE).map(factsOf));
      return json(200, { discarded, more });
    },
  ),
];

const factsOf = (letter: DeadLetter) => ({
  ...keyOf(letter),
  org: letter.org,
  channel: letter.channel,
  publisher: letter.publisher,
  reason: letter.reason,
  receivedUs: letter.receivedUs,
});

/** Of all of an organisation, or of all of a channel.  @throws Refusal 404, 403 */
async function permitAll(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  channel: string | undefined,
  action: ControlAction,
): Promise<void> {
  const found = channel === undefined ? null : await plane.registry.channels.get(channel, org);
  // What a group's members may do with the channels in it needs no right on the organisation.
  if (found !== null && found.org === org) {
    const principal = await call.principal();
    if (await plane.gate.allows(principal, org, `channels/${found.id}`, action, call.context, found.groups))
      return permit(call, plane, org, `channels/${found.id}`, action, { groups: found.groups, hidden: 'organisation' });
  }
  return permit(call, plane, org, 'deadletters', action, { hidden: 'organisation' });
}

/** @throws Refusal 404, 403 */
async function letterFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  action: ControlAction,
  id = call.parameters.id ?? '',
): Promise<DeadLetter> {
  await call.user();
  const letter = await letterOf(plane, id);
  if (letter === null || letter.message === UNREADABLE) throw notFound('dead letter');
  if (await letterRights(plane, call, action)(letter)) await refuseFrozen(plane.registry.orgs, letter.org, action);
  // Says no, as everywhere.
  else await permit(call, plane, letter.org, `channels/${letter.channel}`, action, { hidden: 'dead letter' });
  return letter;
}

type Filter = LettersFilterBody;
export function filterOf({ from, to, ...rest }: Filter): Omit<LetterFilter, 'org' | 'state'> {
  const given = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  return { ...given, ...(from === undefined ? {} : { fromUs: from }), ...(to === undefined ? {} : { toUs: to }) };
}

/** Open letters that somebody may do something with, without their payloads. */
async function matching(
  call: Call<unknown, unknown>,
  plane: Plane,
  org: string,
  filter: Filter,
  action: ControlAction,
): Promise<{ letters: DeadLetter[]; more: boolean }> {
  const may = letterRights(plane, call, action);
  const letters: DeadLetter[] = [];
  let cursor: string | undefined;
  for (let pages = 0; pages < (2 * MATCHING_MAX) / MATCHING_PAGE; pages++) {
    const found = await listLetters(
      plane,
      { ...filterOf(filter), org, state: 'open' },
      { offset: 0, limit: MATCHING_PAGE, cursor, payloadBytesMax: 0 },
    );
    for (const { letter } of found.letters)
      if (letter.message !== UNREADABLE && (await may(letter))) letters.push(letter);
    cursor = found.cursor;
    if (cursor === undefined || letters.length >= MATCHING_MAX) break;
  }
  return { letters: letters.slice(0, MATCHING_MAX), more: cursor !== undefined || letters.length > MATCHING_MAX };
}
