import type { Client } from '@millrace/sdk';
import { durationSeconds } from './duration.ts';
import { idOf, PAGING, queryOf, show } from './entity.ts';
import { bodyOf, FILE } from './fields.ts';
import { type Call, flag, type OptionSpecification, type Topic, text, word, words } from './specification.ts';
import { column, type Row, time } from './table.ts';

const THING = '0197c2d0-6a3e-7000-8000-000000000010';
const COMMAND = '0197c2d0-6a3e-7000-8000-0000000000a0';
const KINDS = ['read', 'write', 'execute', 'observe', 'cancel', 'create', 'delete', 'discover'];
const STATES = ['queued', 'sent', 'acknowledged', 'done', 'failed', 'expired', 'cancelled'];
export const FINAL: ReadonlySet<string> = new Set(['done', 'failed', 'expired', 'cancelled']);
const POLL_MS = 1_000;

export const thing = { name: '<thing>', description: 'id of the thing, or its name' };
const command = { name: '<command>', description: 'id of the command' };
export const EXPIRES: OptionSpecification = {
  flags: '--expires <duration>',
  description: 'it must be begun within: 90, 15m, 12h, 7d (a day)',
};
const COMMAND_FILTERS: readonly OptionSpecification[] = [
  { flags: '--state <states>', description: `comma-separated: open, ${STATES.join(', ')}` },
  {
    flags: '--kind <kind>',
    description: 'only these',
    choices: [...KINDS.map((kind) => `lwm2m.${kind}`), 'lora.downlink'],
  },
];
const COMMAND_COLUMNS = [
  column('ID', 'id'),
  column('KIND', 'kind'),
  column('STATE', 'state'),
  column('ARGUMENTS', 'arguments'),
  column('DETAIL', 'detail'),
  time('CREATED', 'created_at'),
  time('EXPIRES', 'expires_at', { wide: true }),
  time('ENDED', 'settled_at', { wide: true }),
  column('ATTEMPTS', 'attempts', { wide: true, align: 'right' }),
];

export const thingOf = async (call: Call, client: Client): Promise<string> =>
  idOf(client.things as never, 'thing', word(call, 0));

export const commands: Topic = {
  name: 'commands',
  summary: 'what somebody wants of a device, and what became of it',
  commands: [
    {
      name: 'list',
      summary: 'list the commands of a thing, the newest first',
      arguments: [thing],
      options: [...COMMAND_FILTERS, ...PAGING],
      examples: [`millrace commands list ${THING} --state open`, 'millrace commands list valve --all --json'],
      async run(call) {
        const client = await call.client();
        const id = await thingOf(call, client);
        const query = queryOf(call, [...COMMAND_FILTERS, ...PAGING]);
        const of = {
          list: (given: object) => client.commands.list(id, given),
          all: (given: object) => client.commands.all(id, given),
        };
        await show(call, of as never, 'commands', COMMAND_COLUMNS, query);
      },
    },
    {
      name: 'get',
      summary: 'show a command, and what became of it',
      arguments: [command],
      options: [{ flags: '--wait', description: 'until it has ended' }],
      examples: [`millrace commands get ${COMMAND} --wait`],
      async run(call) {
        const { commands: all } = await call.client();
        for (;;) {
          const one = (await all.get(word(call, 0), { signal: call.signal })) as Row;
          if (!flag(call, 'wait') || FINAL.has(String(one.state))) {
            call.output.one(one);
            return;
          }
          await paused(call.signal);
        }
      },
    },
    {
      name: 'send',
      summary: 'give a thing a command',
      arguments: [thing],
      options: [
        { flags: '--kind <kind>', description: 'which', choices: COMMAND_FILTERS[1]?.choices ?? [] },
        { flags: '--arguments <json>', description: 'what the kind takes, as a JSON object' },
        EXPIRES,
        FILE,
      ],
      examples: [
        `millrace commands send ${THING} --kind lora.downlink --arguments '{"f_port":10,"hex":"01ff"}' --expires 1h`,
        `millrace commands send valve -f downlink.yaml`,
      ],
      async run(call) {
        const body = await bodyOf(call, [
          { flags: '--kind <kind>', description: '', member: 'kind' },
          { flags: '--arguments <json>', description: '', member: 'arguments', kind: 'json' },
        ]);
        const client = await call.client();
        const id = await thingOf(call, client);
        call.output.one(await client.commands.create(id, { ...body, ...expiry(call) } as never));
      },
    },
    {
      name: 'cancel',
      summary: 'cancel commands that nobody has begun',
      arguments: [{ name: '<command...>', description: 'id of the command' }],
      examples: [`millrace commands cancel ${COMMAND}`],
      async run(call) {
        const { commands: all } = await call.client();
        for (const id of words(call, 0)) {
          await all.cancel(id);
          call.output.note(`cancelled ${id}`);
        }
      },
    },
  ],
};

/** @throws the signal's reason, by Ctrl-C */
const paused = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, POLL_MS);
    signal.addEventListener('abort', stop, { once: true });
  });

export function expiry(call: Call): { expires_in?: number } {
  const given = text(call, 'expires');
  return given === undefined ? {} : { expires_in: durationSeconds(given) };
}
