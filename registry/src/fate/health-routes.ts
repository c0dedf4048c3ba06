import { z } from '@hono/zod-openapi';
import { type ActivityWindow, type MessageFate, partitionOf } from '@millrace/core';
import { example } from '../http/examples.ts';
import { permit } from '../http/identity.ts';
import { receivedText } from '../http/messages.ts';
import type { Call, Plane } from '../http/plane.ts';
import { json, type Route, route } from '../http/route.ts';
import type { Channel } from '../inventory/channels.ts';
import { channelFor } from '../inventory/lookup.ts';
import { findingsOf, type Refused } from './findings.ts';
import { lagOf } from './log-scan.ts';

const DAY_MS = 86_400_000;
const CONNECTIONS_MAX = 1_000;
const REFUSED_MAX = 20;
const SILENT_MAX = 100;
const NAMES = { 60: '1m', 900: '15m', 3600: '1h', 86400: '1d' } as const;

const Counts = z.record(z.string(), z.int());
const Rates = z.object({
  messages: z.int(),
  messages_per_second: z.number(),
  bytes: z.int(),
  readings: z.int(),
  readings_per_second: z.number(),
  dropped: Counts.describe('Messages that were left out on purpose, by reason.'),
  dead_messages: Counts.describe('By reason.'),
  dead_records: Counts.describe('By reason.'),
});
const HealthAnswer = z
  .object({
    channel: z.uuid(),
    enabled: z.boolean(),
    at: z.iso.datetime(),
    rates: z
      .object({ '1m': Rates.optional(), '15m': Rates.optional(), '1h': Rates.optional(), '1d': Rates.optional() })
      .describe('Of what is processed. A window that could not be counted at a bounded cost is left out.'),
    lag: z
      .object({ partition: z.int(), messages: z.int(), seconds: z.number() })
      .nullable()
      .describe(
        'What waits in the partition of the channel, and how long the first of it has waited; null: this node has no log.',
      ),
    last_message: z
      .object({
        id: z.uuid(),
        received: z.iso.datetime(),
        publisher: z.string(),
        protocol: z.string(),
        subtopic: z.string(),
        content_type: z.string(),
        readings: z.int(),
        reason: z.string().optional(),
      })
      .nullable(),
    publishers: z
      .array(
        z.object({
          id: z.string(),
          name: z.string().optional(),
          messages: z.int(),
          dead: z.int(),
          last: z.iso.datetime(),
        }),
      )
      .describe('Who published most in the widest window.'),
    publisher_count: z.int(),
    silent: z
      .array(
        z.object({ id: z.string(), name: z.string(), enabled: z.boolean(), online: z.boolean(), seen: z.boolean() }),
      )
      .describe('Connected with publish, and nothing came from them.'),
    refused: z
      .array(z.object({ id: z.string(), name: z.string().nullable(), reason: z.string(), count: z.int() }))
      .describe('Whose publishing was refused since yesterday; for who may read the audit.'),
    content_types: z.array(z.object({ type: z.string(), messages: z.int() })),
    findings: z
      .array(
        z.object({
          severity: z.enum(['error', 'warning', 'info', 'ok']),
          text: z.string(),
          do: z.string().describe('What to do about it.'),
        }),
      )
      .describe('In plain words, the worst first.'),
  })
  .openapi('ChannelHealth');

export const healthRoutes: readonly Route[] = [
  route(
    {
      method: 'get',
      path: '/channels/{id}/health',
      tag: 'messages',
      summary: 'How a channel is: rates, lag, what is lost and why, who publishes',
      description: 'What was refused for its rate or its size has no channel: the nodes count it, in GET /metrics.',
      answers: { 200: { description: 'Its health.', schema: HealthAnswer } },
      examples: [{ name: 'of a channel', parameters: { id: example.channel }, status: 200 }],
    },
    async (call, plane) => {
      const channel = await channelFor(call, plane, 'read');
      const { org, id, groups } = channel;
      await permit(call, plane, org, `channels/${id}`, 'messages.read', { groups });
      return json(200, await healthOf(call, plane, channel));
    },
  ),
];

async function healthOf(call: Call<unknown, unknown>, plane: Plane, channel: Channel) {
  const { id, org, enabled } = channel;
  const { nowMs } = call.context;
  const { log, registry } = plane;
  const partition = log === null ? null : partitionOf(new TextEncoder().encode(id), log.partitionCount);
  const [activity, lag, connected, refused] = await Promise.all([
    plane.store.activity({ org, channel: id, nowUs: BigInt(nowMs) * 1_000n }),
    partition === null ? null : lagOf(plane, partition),
    registry.connections.thingsOf(channel, 0, CONNECTIONS_MAX),
    refusedOf(call, plane, channel),
  ]);
  const principal = await call.principal();
  const names = new Map(connected.items.map((thing) => [thing.id, thing.name]));
  const mayName = await plane.gate.allows(principal, org, 'things', 'things.read', call.context);
  const publishing = connected.items.filter(({ publish }) => publish);
  const heard = new Set(activity.publishers.map(({ publisher }) => publisher));
  // Beyond the first, nobody knows who of the others published.
  const isComplete = activity.publisherCount <= activity.publishers.length && activity.windows.length > 0;
  const quiet = mayName && isComplete ? publishing.filter((thing) => !heard.has(thing.id)) : [];
  const presence = await registry.presence.of(quiet.map((thing) => thing.id));
  const silent = quiet.map((thing) => ({
    id: thing.id,
    name: thing.name,
    enabled: thing.enabled,
    online: presence.get(thing.id)?.online ?? false,
    seen: (presence.get(thing.id)?.lastSeen ?? null) !== null,
  }));
  const facts = { enabled, activity, lag, silent, publishers: publishing.length, refused, nowMs };
  return {
    channel: id,
    enabled,
    at: new Date(nowMs).toISOString(),
    rates: Object.fromEntries(activity.windows.map((window) => [NAMES[window.seconds], ratesOf(window)])),
    lag: lag === null || partition === null ? null : { partition, messages: lag.messages, seconds: lag.seconds },
    last_message: lastOf(activity.last),
    publishers: activity.publishers.map(({ publisher, messages, dead, lastUs }) => {
      const name = mayName ? names.get(publisher) : undefined;
      return { id: publisher, ...(name === undefined ? {} : { name }), messages, dead, last: receivedText(lastUs) };
    }),
    publisher_count: activity.publisherCount,
    silent: silent.slice(0, SILENT_MAX),
    refused,
    content_types: activity.contentTypes,
    findings: findingsOf(facts),
  };
}

const rate = (count: number, seconds: number): number => Math.round((count / seconds) * 1_000) / 1_000;

const ratesOf = ({ seconds, messages, bytes, readings, dropped, deadMessages, deadRecords }: ActivityWindow) => ({
  messages,
  messages_per_second: rate(messages, seconds),
  bytes,
  readings,
  readings_per_second: rate(readings, seconds),
  dropped,
  dead_messages: deadMessages,
  dead_records: deadRecords,
});

const lastOf = (last: MessageFate | null) =>
  last === null
    ? null
    : {
        id: last.id,
        received: receivedText(last.receivedUs),
        publisher: last.publisher,
        protocol: last.protocol,
        subtopic: last.subtopic,
        content_type: last.contentType,
        readings: last.readings,
        ...(last.reason === '' ? {} : { reason: last.reason }),
      };

/** Who was refused, as the audit has it; nobody for who may not read it. */
async function refusedOf(call: Call<unknown, unknown>, plane: Plane, { id, org }: Channel): Promise<Refused[]> {
  const { gate, registry } = plane;
  if (!(await gate.allows(await call.principal(), org, 'audit', 'audit.read', call.context))) return [];
  // What this node refused a moment ago is part of the picture.
  await registry.audit.flush();
  const { entries } = await registry.audit.entries(
    { org, entity: 'channels', id, action: 'publish', outcome: 'denied', from: new Date(call.context.nowMs - DAY_MS) },
    { limit: CONNECTIONS_MAX },
  );
  const found = new Map<string, Refused>();
  for (const { actor, actorName, count, detail } of entries) {
    const reason = typeof detail.reason === 'string' ? detail.reason : 'not_allowed';
    const key = `${actor} ${reason}`;
    const known = found.get(key);
    found.set(key, { id: actor ?? '', name: actorName, reason, count: count + (known?.count ?? 0) });
  }
  return [...found.values()].toSorted((a, b) => b.count - a.count).slice(0, REFUSED_MAX);
}
