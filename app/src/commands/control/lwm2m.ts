import { EXPIRES, expiry, FINAL, thing, thingOf } from './commands.ts';
import { durationSeconds } from './duration.ts';
import { PAGING, queryOf, SEARCHING, show } from './entity.ts';
import { Failure } from './failure.ts';
import { bodyOf, FILE, type Field, flagsOf, optionsOf } from './fields.ts';
import {
  type Call,
  type CommandSpecification,
  flag,
  type OptionSpecification,
  type Topic,
  text,
  word,
} from './specification.ts';
import { column, type Row, time } from './table.ts';

const THING = '0197c2d0-6a3e-7000-8000-000000000010';
const REGISTRATION_COLUMNS = [
  column('THING', 'thing_id'),
  column('NAME', 'name'),
  column('ENDPOINT', 'endpoint'),
  column('VERSION', 'lwm2m_version'),
  column('SLEEPS', 'queue_mode'),
  column('SECURE', 'secure'),
  time('UPDATED', 'updated_at'),
  time('EXPIRES', 'expires_at', { wide: true }),
  column('ADDRESS', 'address', { wide: true }),
  column('OBJECTS', 'objects', { wide: true }),
];
const VALUE_COLUMNS = [
  column('PATH', 'path'),
  column('VALUE', 'value'),
  column('UNIT', 'unit'),
  column('NAME', 'name'),
  column('TIME', 'time'),
];
const LINK_COLUMNS = [column('PATH', 'path'), column('ATTRIBUTES', 'attributes')];
const WAITING: readonly OptionSpecification[] = [
  { flags: '--wait <duration>', description: 'for the device, up to 60 s; 0: not at all', default: '10s' },
  EXPIRES,
];
const VALUES: Field = {
  flags: '--values <json>',
  description: 'several, by the id of the resource: {"5700":21.5}',
  member: 'values',
  kind: 'json',
};
const ACCOUNT_FIELDS: readonly Field[] = [
  { flags: '--endpoint <name>', description: 'endpoint name, as the device says it', member: 'endpoint' },
  {
    flags: '--security <security>',
    description: 'dtls: only by CoAPS; none: also by plain CoAP, as whoever knows the name',
    member: 'security',
    choices: ['dtls', 'none'],
  },
  {
    flags: '--channel-id <uuid>',
    description: 'where its readings go; none: where it may publish to',
    member: 'channel_id',
    kind: 'nullable',
  },
  {
    flags: '--observe <json>',
    description: 'observed once it has registered: [{"path":"/3303/0/5700","attributes":"pmin=10"}]',
    member: 'observe',
    kind: 'json',
  },
  {
    flags: '--bootstrap <json>',
    description: 'what it is told at its bootstrap: {"servers":[{"short_id":1,"uri":"coaps://…"}]}',
    member: 'bootstrap',
    kind: 'json',
  },
];

interface Operation {
  readonly name: 'read' | 'write' | 'execute' | 'observe' | 'cancel' | 'create' | 'delete' | 'discover';
  readonly summary: string;
  /** Its path may be left out. */
  readonly anywhere?: true;
  readonly word?: { readonly name: string; readonly description: string; member(given: string, call: Call): Row };
  readonly fields?: readonly Field[];
  readonly options?: readonly OptionSpecification[];
  readonly example: string;
}

const OPERATIONS: readonly Operation[] = [
  {
    name: 'read',
    summary: 'read from a device',
    fields: [
      {
        flags: '--format <format>',
        description: 'content format to ask for',
        member: 'format',
        choices: ['text', 'opaque', 'tlv', 'senml-json', 'senml-cbor', 'cbor', 'json'],
      },
    ],
    example: '/3303/0/5700',
  },
  {
    name: 'write',
    summary: 'write to a device',
    word: {
      name: '[value]',
      description: 'a number, true, false, or a text',
      member: (given, call) => ({ value: flag(call, 'text') ? given : scalarOf(given) }),
    },
    fields: [
      VALUES,
      {
        flags: '--mode <mode>',
        description: 'update leaves what is not given',
        member: 'mode',
        choices: ['replace', 'update'],
      },
    ],
    options: [{ flags: '--text', description: 'the value is a text, whatever it looks like' }],
    example: '/3308/0/5900 21.5',
  },
  {
    name: 'execute',
    summary: 'have a device execute something',
    word: { name: '[arguments]', description: "as 0='a',1", member: (given) => ({ arguments: given }) },
    example: '/3/0/4',
  },
  {
    name: 'observe',
    summary: 'have a device report what changes',
    fields: [{ flags: '--attributes <attributes>', description: 'how often: pmin=10&pmax=300', member: 'attributes' }],
    example: "/3303/0/5700 --attributes 'pmin=10&pmax=300'",
  },
  {
    name: 'cancel',
    summary: 'end what is observed, all of it without a path',
    anywhere: true,
    example: '/3303/0/5700',
  },
  {
    name: 'create',
    summary: 'make an instance of an object',
    fields: [VALUES],
    example: `/3340 --values '{"5521":60}'`,
  },
  { name: 'delete', summary: 'delete an instance of an object', example: '/3340/0' },
  { name: 'discover', summary: 'what a device has, with its attributes', example: '/3303' },
];

export const lwm2m: Topic = {
  name: 'lwm2m',
  summary: 'devices of LwM2M: accounts, registrations, and what can be done with them',
  commands: [
    {
      name: 'list',
      summary: 'list the devices that are registered',
      options: [...SEARCHING.filter(({ flags }) => !/--(order|status)/.test(flags)), ...PAGING],
      examples: ['millrace lwm2m list', 'millrace lwm2m list --name valve --wide'],
      async run(call) {
        const query = queryOf(call, [...SEARCHING, ...PAGING]);
        await show(call, (await call.client()).lwm2m as never, 'registrations', REGISTRATION_COLUMNS, query);
      },
    },
    {
      name: 'get',
      summary: 'show the registration of a thing',
      arguments: [thing],
      examples: [`millrace lwm2m get ${THING}`],
      async run(call) {
        const client = await call.client();
        call.output.one(await client.lwm2m.registration(await thingOf(call, client)));
      },
    },
    ...OPERATIONS.map(operation),
    {
      name: 'account',
      summary: 'show the account of a thing',
      arguments: [thing],
      examples: [`millrace lwm2m account ${THING}`],
      async run(call) {
        const client = await call.client();
        call.output.one(await client.lwm2m.account(await thingOf(call, client)));
      },
    },
    {
      name: 'set-account',
      summary: 'make or replace the account of a thing',
      arguments: [thing],
      options: [...optionsOf(ACCOUNT_FIELDS, false), FILE],
      examples: [
        `millrace lwm2m set-account ${THING} --endpoint urn:imei:490154203237518`,
        'millrace lwm2m set-account valve -f account.yaml',
      ],
      async run(call) {
        const body = await bodyOf(call, ACCOUNT_FIELDS);
        const client = await call.client();
        call.output.one(await client.lwm2m.setAccount(await thingOf(call, client), body as never));
      },
    },
    {
      name: 'delete-account',
      summary: 'delete the account of a thing; its registration ends',
      arguments: [thing],
      examples: [`millrace lwm2m delete-account ${THING}`],
      async run(call) {
        const client = await call.client();
        await client.lwm2m.deleteAccount(await thingOf(call, client));
        call.output.note(`deleted the account of ${word(call, 0)}`);
      },
    },
  ],
};

function operation({
  name,
  summary,
  anywhere,
  word: more,
  fields = [],
  options = [],
  example,
}: Operation): CommandSpecification {
  const path = { name: anywhere === true ? '[path]' : '<path>', description: 'as /3303/0/5700' };
  return {
    name,
    summary,
    arguments: [thing, path, ...(more === undefined ? [] : [{ name: more.name, description: more.description }])],
    options: [...optionsOf(fields, false), ...options, ...WAITING],
    examples: [`millrace lwm2m ${name} ${THING} ${example}`, `millrace lwm2m ${name} valve ${example} --json`],
    async run(call) {
      const where = text({ ...call, options: { path: call.words[1] } }, 'path');
      const given = call.words[2];
      const body = {
        ...(where === undefined ? {} : { path: where }),
        ...(more === undefined || given === undefined ? {} : more.member(String(given), call)),
        ...flagsOf(call, fields),
        ...expiry(call),
      };
      const waitSeconds = durationSeconds(text(call, 'wait') ?? '10s');
      if (waitSeconds > 60) throw new Failure(2, '--wait: 60 seconds are the most.');
      const client = await call.client();
      const id = await thingOf(call, client);
      const timeoutMs = (waitSeconds + 30) * 1_000;
      const answer = await client.lwm2m.run(id, name, body as never, { waitSeconds, timeoutMs, signal: call.signal });
      told(call, answer as Row);
    },
  };
}

function told(call: Call, answer: Row): void {
  const { values, links, ...rest } = answer as Row & { values?: readonly Row[]; links?: readonly Row[] };
  if (call.output.json) call.output.one(answer);
  else if (values !== undefined) call.output.rows(VALUE_COLUMNS, values);
  else if (links !== undefined) call.output.rows(LINK_COLUMNS, links);
  else call.output.one(rest);
  if ('state' in answer && !FINAL.has(String(answer.state)))
    call.output.note(`The device has not answered yet: millrace commands get ${answer.id} --wait`);
}

/** A number or a truth where it looks like one. */
function scalarOf(given: string): unknown {
  if (given === 'true' || given === 'false') return given === 'true';
  return /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:e[+-]?\d+)?$/i.test(given) ? Number(given) : given;
}
