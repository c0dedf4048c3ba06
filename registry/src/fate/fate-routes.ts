import { z } from '@hono/zod-openapi';
import { isUuid, type MessageFate, protocolNames } from '@millrace/core';
import { keyOf, listLetters } from '../deadletters/letters.ts';
import { letterId } from '../deadletters/states.ts';
import { example } from '../http/examples.ts';
import { mayRead, receivedText } from '../http/messages.ts';
import type { Plane } from '../http/plane.ts';
import { Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { type Found, findRepeated, findWaiting } from './log-scan.ts';
import { explain } from './reasons.ts';
import { type DeadPart, storedSteps, waitingSteps } from './steps.ts';

const tag = 'messages';
/** Dead records that a fate names. */
const DEAD_MAX = 100;

const FateAnswer = z
  .object({
    id: z.uuid(),
    status: z.enum(['accepted', 'stored', 'dead']),
    channel: z.string(),
    subtopic: z.string(),
    publisher: z.string(),
    protocol: z.string(),
    content_type: z.string(),
    received: z.iso.datetime(),
    size: z.int(),
    decision: z.string().optional(),
    readings: z.int(),
    dead_letters: z.int(),
    stored: z.string().optional(),
    reason: z.string().optional(),
    detail: z.string(),
    log: z.object({ partition: z.int(), offset: z.int() }),
    steps: z
      .array(
        z.object({
          what: z.enum([
            'accepted',
            'durable',
            'waiting',
            'decided',
            'processed',
            'stored',
            'dead',
            'dropped',
            'delivered',
          ]),
          at: z.iso.datetime().optional().describe('Where it is known when.'),
          detail: z.string(),
          link: z.string().optional().describe('Where to look: a path of this API.'),
        }),
      )
      .describe('Its way, step by step.'),
    waiting: z
      .object({
        before: z.int().describe('Messages that are processed before it.'),
        seconds: z.number().describe('How long the first of them has waited already.'),
      })
      .optional(),
    repeats: z.uuid().optional().describe('The message that it repeats, while the log still has it.'),
    replay_of: z.string().optional().describe('Id of the dead letter that it is the replay of.'),
    dead: z
      .array(
        z.object({
          id: z.string(),
          index: z.int().nullable(),
          reason: z.string(),
          detail: z.string(),
          state: z.string(),
          replays: z.array(z.uuid()),
        }),
      )
      .optional()
      .describe(`Its dead letters, at most ${DEAD_MAX}.`),
  })
  .openapi('Fate');

export const fateRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/messages/{id}',
      tag,
      summary: 'What became of a message',
      description:
        'Its id is what publishing answers (HTTP: `id`; WebSocket: the ack), and what subscribers get with it. MQTT and CoAP acknowledge without one: GET /channels/{id}/health names the last.',
      answers: { 200: { description: 'Its fate.', schema: FateAnswer } },
      examples: [{ name: 'one that never was', parameters: { id: example.message }, status: 404 }],
    },
    async (call, plane) => {
      const id = (call.parameters.id ?? '').toLowerCase();
      await call.principal();
      if (!isUuid(id)) throw neverSeen();
      const first = await plane.store.fate(id);
      const waiting = first === null ? await plane.scans.run(() => findWaiting(plane, id)) : null;
      // Stored while we looked into the log: ask again.
      const fate = first ?? (waiting === null ? await plane.store.fate(id) : null);
      if (fate !== null) {
        await mayRead(call, plane, fate).catch(hideAs(neverSeen));
        return json(200, await stored(plane, fate));
      }
      if (waiting === null) throw neverSeen();
      const { org, channel, subtopic, publisher } = waiting.reader;
      await mayRead(call, plane, { org, channel, subtopic, publisher }).catch(hideAs(neverSeen));
      return json(200, accepted(id, waiting));
    },
  ),
];

/** Somebody else's message is told of in the very words of one that never was. */
const hideAs =
  (other: () => Refusal) =>
  (error: unknown): never => {
    throw error instanceof Refusal && error.status === 404 ? other() : error;
  };
const neverSeen = (): Refusal =>
  new Refusal(
    404,
    'There is no such message: ids are what publishing answered. What was refused (rights, rate, size) never got one: GET /audit?outcome=denied tells of rights, GET /channels/{id}/health of the channel.',
  );

const status = ({ reason }: MessageFate): 'stored' | 'dead' =>
  reason === '' || reason === 'filtered' || reason === 'duplicate' ? 'stored' : 'dead';

async function stored(plane: Plane, fate: MessageFate) {
  const { log } = plane;
  const [dead, origin, repeats] = await Promise.all([
    fate.deadLetters === 0 ? [] : deadOf(plane, fate),
    plane.registry.letters.origin(fate.id),
    fate.reason === 'duplicate' && log !== null
      ? plane.scans.run(() => findRepeated(log, fate.partition, fate.offset))
      : null,
  ]);
  return {
    id: fate.id,
    status: status(fate),
    ...headOf(fate),
    decision: fate.decision,
    readings: fate.readings,
    dead_letters: fate.deadLetters,
    stored: fate.stored,
    ...(fate.reason === '' ? {} : { reason: fate.reason }),
    detail: fate.reason === '' ? storedDetail(fate) : explain(fate.reason),
    log: { partition: fate.partition, offset: fate.offset },
    steps: storedSteps(fate, dead, repeats),
    ...(repeats === null ? {} : { repeats }),
    ...(origin === null ? {} : { replay_of: letterId(origin) }),
    ...(dead.length === 0 ? {} : { dead }),
  };
}

const headOf = (of: Omit<MessageFate, 'id' | 'decision' | 'reason' | 'stored'>) => ({
  channel: of.channel,
  subtopic: of.subtopic,
  publisher: of.publisher,
  protocol: of.protocol,
  content_type: of.contentType,
  received: receivedText(of.receivedUs),
  size: of.size,
});

async function deadOf(plane: Plane, { id, org }: MessageFate): Promise<DeadPart[]> {
  const { letters } = await listLetters(
    plane,
    { org, message: id, state: 'all' },
    { offset: 0, limit: DEAD_MAX, payloadBytesMax: 0 },
  );
  return letters.map(({ letter, closed }) => ({
    id: letterId(keyOf(letter)),
    index: letter.index,
    reason: letter.reason,
    detail: letter.detail === '' ? explain(letter.reason) : letter.detail,
    state: closed?.state ?? 'open',
    replays: closed?.replays ?? [],
  }));
}

function storedDetail({ stored: as, readings, deadLetters }: MessageFate): string {
  const kept =
    as === 'readings'
      ? `Stored as ${readings} reading${readings === 1 ? '' : 's'}.`
      : as === 'payload'
        ? 'Kept as it came.'
        : 'Processed; nothing of it is stored.';
  if (deadLetters === 0) return kept;
  return `${kept} ${deadLetters} record${deadLetters === 1 ? ' is a dead letter' : 's are dead letters'}: see GET /dead-letters?message=<id>.`;
}

function accepted(id: string, found: Found) {
  const { reader, partition, offset, before, oldestUs } = found;
  const seconds = oldestUs === null ? 0 : Math.max(0, Math.round(Date.now() / 100 - oldestUs / 100_000) / 10);
  return {
    id,
    status: 'accepted',
    ...headOf({
      org: reader.org,
      channel: reader.channel,
      subtopic: reader.subtopic,
      publisher: reader.publisher,
      protocol: protocolNames[reader.protocol] ?? 'unknown',
      contentType: reader.contentType,
      receivedUs: String(reader.receivedUs),
      size: reader.payload.length,
      partition,
      offset,
      readings: 0,
      deadLetters: 0,
    }),
    readings: 0,
    dead_letters: 0,
    detail: 'Durable in the log and waiting to be processed.',
    log: { partition, offset },
    steps: waitingSteps(found, seconds),
    waiting: { before, seconds },
  };
}
