import type { z } from '@hono/zod-openapi';
import { uuidV7 } from '@millrace/core';
import { deleted } from '../http/entity.ts';
import { example } from '../http/examples.ts';
import { permit } from '../http/identity.ts';
import type { Call, Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, route } from '../http/route.ts';
import { listOf, permittedThing } from '../inventory/lookup.ts';
import { pageAnswer } from '../inventory/page.ts';
import { removed } from '../inventory/problems.ts';
import type { Thing } from '../inventory/things.ts';
import { checkIsLwm2m } from '../lwm2m/known.ts';
import { NewCommandBody, withoutValues } from './arguments.ts';
import { EXPIRES_SECONDS } from './expiry.ts';
import type { CommandRecord } from './queue.ts';
import { CommandAnswer, CommandListQuery, CommandsPage, PAGE_MAX } from './schemas.ts';

const tag = 'commands';
const one = { description: 'The command.', schema: CommandAnswer };
const here = { id: example.thing };
type Verb = 'create' | 'read' | 'list' | 'delete';

export const commandRoutes: readonly Route[] = [
  route(
    {
      method: 'post',
      path: '/things/{id}/commands',
      tag,
      summary: 'Give a thing a command',
      description:
        'It waits until the device can be reached, and survives a restart. GET /commands/{id} tells what becomes of it.',
      body: NewCommandBody,
      answers: { 202: { description: 'It is on its way: Location names it.', schema: CommandAnswer } },
      examples: [
        {
          name: 'a downlink of LoRaWAN',
          parameters: here,
          body: { kind: 'lora.downlink', arguments: { f_port: 10, hex: '01ff' }, expires_in: 3_600 },
          status: 202,
        },
        {
          name: 'a value of LwM2M',
          parameters: { id: example.lwm2mThing },
          body: { kind: 'lwm2m.read', arguments: { path: '/3303/0/5700' } },
          status: 202,
        },
      ],
    },
    async (call, plane) => {
      const thing = await commandedThing(call, plane, 'create');
      const { kind, arguments: given } = call.body;
      if (kind !== 'lora.downlink') await checkIsLwm2m(plane, thing.id);
      return accepted(await submit(plane, thing, kind, given, call.body.expires_in));
    },
  ),
  route(
    {
      method: 'get',
      path: '/things/{id}/commands',
      tag,
      summary: 'List the commands of a thing, newest first',
      query: CommandListQuery,
      answers: { 200: { description: 'A page of commands.', schema: CommandsPage } },
      examples: [
        { name: 'all', parameters: here, status: 200 },
        { name: 'those that wait', parameters: here, query: { state: 'open', kind: 'lwm2m.write' }, status: 200 },
      ],
    },
    async (call, plane) => {
      const thing = await commandedThing(call, plane, 'list');
      const { kind, state: states, ...query } = call.query;
      // Nothing else of a command can be ordered by, whatever a cursor says.
      const page = listOf(thing.org, { ...query, order: 'created', dir: 'desc' });
      const limit = Math.min(page.limit, PAGE_MAX);
      const found = await plane.registry.commands.list({ ...page, limit, thing: thing.id, kind, states });
      const whole = await mayCommand(call, plane, thing);
      return json(
        200,
        pageAnswer(found, 'commands', (record) => commandAnswer(record, whole)),
      );
    },
  ),
  route(
    {
      method: 'get',
      path: '/commands/{id}',
      tag,
      summary: 'What became of a command',
      description: 'It is told for a week after its end (MILLRACE_COMMANDS_RETENTION_DAYS).',
      answers: { 200: one },
      examples: [{ name: 'a command', parameters: { id: example.command }, status: 200 }],
    },
    async (call, plane) => {
      const { record, thing } = await commandFor(call, plane, 'read');
      return json(200, commandAnswer(record, await mayCommand(call, plane, thing)));
    },
  ),
  route(
    {
      method: 'delete',
      path: '/commands/{id}',
      tag,
      summary: 'Cancel a command that nobody has begun',
      answers: { 200: removed[200] as never, 204: { description: 'It is cancelled.' } },
      examples: [{ name: 'a command', parameters: { id: example.command }, status: 204 }],
    },
    async (call, plane) => {
      const { record } = await commandFor(call, plane, 'delete');
      const cancelled = await plane.registry.commands.cancel(record.id);
      if (cancelled === null) throw notFound('command');
      if (!cancelled) throw new Refusal(409, 'It has been begun, or has ended: it can not be cancelled any more.');
      return deleted(call);
    },
  ),
];

/** A thing that somebody gives commands to, or asks about them.  @throws Refusal 404, 403 */
export const commandedThing = (
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: Verb,
  id = call.parameters.id ?? '',
): Promise<Thing> => permittedThing(call, plane, `commands.${verb}`, id);

/** @throws Refusal 404, 403 */
async function commandFor(
  call: Call<unknown, unknown>,
  plane: Plane,
  verb: 'read' | 'delete',
): Promise<{ record: CommandRecord; thing: Thing }> {
  await call.principal();
  const record = await plane.registry.commands.get(call.parameters.id ?? '');
  const thing = record === null ? null : await plane.registry.things.get(record.thing);
  if (record === null || thing === null) throw notFound('command');
  const { org, groups } = thing;
  await permit(call, plane, org, `things/${thing.id}`, `commands.${verb}`, { groups, hidden: 'command' });
  return { record, thing };
}

/** Whether who asks may see what is written to the thing. */
async function mayCommand(call: Call<unknown, unknown>, plane: Plane, thing: Thing): Promise<boolean> {
  const { id, org, groups } = thing;
  return plane.gate.allows(await call.principal(), org, `things/${id}`, 'commands.create', call.context, groups);
}

type NewCommand = z.output<typeof NewCommandBody>;

/** @throws RegistryError as CommandStore.submit */
export function submit(
  plane: Plane,
  { id, org }: Pick<Thing, 'id' | 'org'>,
  kind: NewCommand['kind'],
  given: Readonly<Record<string, unknown>>,
  expiresIn = EXPIRES_SECONDS,
): Promise<CommandRecord> {
  const expiresMs = plane.registry.access.now() + expiresIn * 1_000;
  return plane.registry.commands.submit({ id: uuidV7(), org, thing: id, kind, arguments: given, expiresMs });
}

export const accepted = (record: CommandRecord): Response =>
  json(202, commandAnswer(record, true), { location: `/commands/${record.id}` });

/** @param whole who asks may see what is written */
const commandAnswer = (record: CommandRecord, whole: boolean) => ({
  id: record.id,
  org: record.org,
  thing_id: record.thing,
  kind: record.kind,
  state: record.state,
  arguments: whole ? record.arguments : withoutValues(record.arguments),
  result: record.result,
  detail: record.detail,
  actor: record.actor,
  attempts: record.attempts,
  created_at: record.createdAt.toISOString(),
  expires_at: record.expiresAt.toISOString(),
  settled_at: record.settledAt?.toISOString() ?? null,
});
