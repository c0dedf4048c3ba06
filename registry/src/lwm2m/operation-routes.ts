import type { Lwm2mResult } from '@millrace/core';
import { accepted, commandedThing, submit } from '../commands/command-routes.ts';
import { expiresIn } from '../commands/expiry.ts';
import type { CommandRecord } from '../commands/queue.ts';
import { CommandAnswer } from '../commands/schemas.ts';
import { example } from '../http/examples.ts';
import type { Plane } from '../http/plane.ts';
import { notFound, Refusal } from '../http/refusal.ts';
import { json, type Route, type RouteExample, route } from '../http/route.ts';
import { ProblemAnswer } from '../http/schemas.ts';
import { type Lwm2mOperation, lwm2mArguments } from './arguments.ts';
import { checkIsLwm2m } from './known.ts';
import { ResultAnswer, WaitQuery } from './schemas.ts';

const WAIT_SECONDS = 10;

const description =
  'It is a command (GET /commands/{id}): if the device does not answer in time, because it sleeps, is slow or has not registered, 202 names it, and it goes on.';
const answers = {
  200: { description: 'What the device answered.', schema: ResultAnswer },
  202: { description: 'It has not answered yet: Location names the command.', schema: CommandAnswer },
  502: {
    description: 'The device has refused; detail says with which code.',
    schema: ProblemAnswer,
    type: 'application/problem+json',
  },
};

/** Examples wait for nothing: no device of theirs is there. */
const at = (name: string, body: object): RouteExample[] => [
  { name, parameters: { id: example.lwm2mThing }, query: { wait: '0' }, body, status: 202 },
];

export const operationRoutes: readonly Route[] = [
  operation('read', 'Read from a device', at('a temperature', { path: '/3303/0/5700' })),
  operation('write', 'Write to a device', at('a set point', { path: '/3308/0/5900', value: 21.5 })),
  operation('execute', 'Have a device execute something', at('a reboot', { path: '/3/0/4' })),
  operation(
    'observe',
    'Have a device report',
    at('a temperature', { path: '/3303/0/5700', attributes: 'pmin=10&pmax=300' }),
  ),
  operation('cancel', 'End what was observed', at('a temperature', { path: '/3303/0/5700' })),
  operation('create', 'Make an instance of an object', at('a timer', { path: '/3340', values: { '5521': 60 } })),
  operation('delete', 'Delete an instance of an object', at('a timer', { path: '/3340/0' })),
  operation('discover', 'What a device has, with its attributes', at('temperatures', { path: '/3303' })),
];

function operation(name: Lwm2mOperation, summary: string, examples: RouteExample[]): Route {
  const path = `/things/{id}/lwm2m/${name}`;
  const body = lwm2mArguments(name, { expires_in: expiresIn });
  return route(
    { method: 'post', path, tag: 'lwm2m', summary, description, query: WaitQuery, body, answers, examples },
    async (call, plane) => {
      const thing = await commandedThing(call, plane, 'create');
      const isThere = await checkIsLwm2m(plane, thing.id);
      const { expires_in, ...given } = call.body;
      const record = await submit(plane, thing, `lwm2m.${name}`, given, expires_in as number | undefined);
      const seconds = call.query.wait ?? WAIT_SECONDS;
      // Nobody answers before it has registered.
      if (seconds === 0 || !isThere) return accepted(record);
      await plane.registry.commands.ended(record, seconds * 1_000, call.request.signal);
      return answered(await current(plane, record.id));
    },
  );
}

/** @throws Refusal 404 if it went with its thing meanwhile */
async function current(plane: Plane, id: string): Promise<CommandRecord> {
  const record = await plane.registry.commands.get(id);
  if (record === null) throw notFound('thing any more');
  return record;
}

function answered(record: CommandRecord): Response {
  const { id, state, detail } = record;
  const result = (record.result ?? {}) as Lwm2mResult;
  if (state === 'done') return json(200, ResultAnswer.parse({ ...result, command_id: id }));
  if (state !== 'failed') return accepted(record);
  const code = result.code === undefined ? '' : ` It answered ${result.code}.`;
  throw new Refusal(502, `The device did not do it.${code}${detail === null ? '' : ` ${detail}`}`, {
    location: `/commands/${id}`,
  });
}
