import { durationSeconds } from './duration.ts';
import { entityTopic, idOf, PAGING, queryOf } from './entity.ts';
import { Failure } from './failure.ts';
import { NAMING } from './fields.ts';
import { readDocument } from './input.ts';
import { type Call, type OptionSpecification, text, texts, word } from './specification.ts';
import { column, time } from './table.ts';

const POLICY = '0197c2d0-6a3e-7000-8000-000000000050';
const policy = { name: '<policy>', description: 'id of the policy, or its name' };
const KINDS = ['user', 'thing', 'app', 'group', 'role'] as const;
const policyId = async (call: Call): Promise<string> =>
  idOf((await call.client()).policies as never, 'policy', word(call, 0));

export const policies = entityTopic({
  name: 'policies',
  one: 'policy',
  summary: 'documents that allow and deny',
  collection: (client) => client.policies as never,
  columns: [
    column('ID', 'id'),
    column('NAME', 'name'),
    column('ENABLED', 'enabled'),
    { title: 'STATEMENTS', value: (row) => (row.statements as readonly unknown[] | undefined)?.length, align: 'right' },
    column('DESCRIPTION', 'description'),
    time('CREATED', 'created_at'),
    column('VERSION', 'version', { wide: true, align: 'right' }),
  ],
  fields: [
    ...NAMING,
    { flags: '--description <text>', description: 'what it is for', member: 'description' },
    {
      flags: '--statements <json>',
      description: 'a JSON list; better in a file given with -f',
      member: 'statements',
      kind: 'json',
    },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete', 'enable', 'disable'],
  example: { id: POLICY, create: '-f night-shift.yaml', update: '-f night-shift.yaml' },
  more: [
    {
      name: 'versions',
      summary: 'its history',
      arguments: [policy],
      examples: [`millrace policies versions ${POLICY}`],
      async run(call) {
        const { policies: collection } = await call.client();
        const columns = [
          column('VERSION', 'version', { align: 'right' }),
          column('AUTHOR', 'author'),
          time('CREATED', 'created_at'),
        ];
        call.output.page(
          columns,
          'versions',
          (await collection.versions(await policyId(call), { limit: 1_000 })) as never,
        );
      },
    },
    {
      name: 'rollback',
      summary: 'go back to the statements of an earlier version',
      arguments: [policy, { name: '<version>', description: 'as versions lists it' }],
      examples: [`millrace policies rollback ${POLICY} 3`],
      async run(call) {
        const version = Number(word(call, 1));
        if (!Number.isInteger(version)) throw new Failure(2, `“${word(call, 1)}” is no version.`);
        call.output.one(await (await call.client()).policies.rollBack(await policyId(call), version));
      },
    },
    ...(['attach', 'detach'] as const).map((name) => ({
      name,
      summary: name === 'attach' ? 'let a policy hold for somebody or something' : 'let it hold no longer',
      arguments: [
        policy,
        { name: '<kind>', description: 'what it holds for', choices: KINDS },
        { name: '<target>', description: 'its id; of a built-in role the name' },
      ],
      examples: [`millrace policies ${name} ${POLICY} thing 0197c2d0-6a3e-7000-8000-000000000010`],
      async run(call: Call) {
        const kind = word(call, 1) as (typeof KINDS)[number];
        await (await call.client()).policies[name](await policyId(call), kind, word(call, 2));
        call.output.note(`${name}ed`);
      },
    })),
    {
      name: 'attachments',
      summary: 'for whom a policy holds',
      arguments: [policy],
      examples: [`millrace policies attachments ${POLICY}`],
      async run(call) {
        const { policies: collection } = await call.client();
        const columns = [column('KIND', 'kind'), column('TARGET', 'target'), time('SINCE', 'created_at')];
        const page = await collection.attachments(await policyId(call), { limit: 1_000 });
        call.output.page(columns, 'attachments', page as never);
      },
    },
    {
      name: 'simulate',
      summary: 'judge a request that never happened, and tell the statement that decides',
      arguments: [
        { name: '<subject>', description: 'thing:<id>, user:<id>, app:<id> or api_key:<id>' },
        { name: '<action>', description: 'as publish, things.update' },
        { name: '<resource>', description: 'as channels/<id>/messages/temp, things/<id>' },
      ],
      options: [
        { flags: '--context <json>', description: 'as {"protocol":"mqtt","address":"10.0.0.7"}' },
        { flags: '-f, --file <path>', description: 'a policy, or a list, that is not saved yet: judged as well' },
      ],
      examples: [
        'millrace policies simulate thing:0197c2d0-6a3e-7000-8000-000000000010 publish channels/0197c2d0-6a3e-7000-8000-000000000020/messages',
      ],
      run: simulate,
    },
  ],
});

async function simulate(call: Call): Promise<void> {
  const [, kind, id] = /^(thing|user|app|api_key):(.+)$/.exec(word(call, 0)) ?? [];
  if (kind === undefined)
    throw new Failure(2, `“${word(call, 0)}” is no subject.`, 'As: thing:<id>, user:<id>, app:<id>, api_key:<id>');
  const context = text(call, 'context');
  const file = text(call, 'file');
  const document = file === undefined ? undefined : await readDocument(file);
  const { policies: collection } = await call.client();
  const decision = await collection.simulate({
    subject: { [kind]: id },
    action: word(call, 1),
    resource: word(call, 2),
    ...(context === undefined ? {} : { context: parsed(context) }),
    ...(document === undefined ? {} : { policies: Array.isArray(document) ? document : [document] }),
  } as never);
  call.output.one(decision);
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new Failure(2, `--context: this is no JSON: ${json}`);
  }
}

const KEY = '0197c2d0-6a3e-7000-8000-000000000060';
export const keys = entityTopic({
  name: 'keys',
  one: 'key',
  summary: 'API keys: part of what you may do, for programs',
  collection: (client) => client.keys as never,
  columns: [
    column('ID', 'id'),
    column('NAME', 'name'),
    column('ENABLED', 'enabled'),
    time('EXPIRES', 'expires_at'),
    time('LAST USED', 'last_used_at'),
    column('GRANTS', 'grants', { wide: true }),
    column('USER', 'user', { wide: true }),
  ],
  fields: NAMING.filter(({ member }) => member !== 'id'),
  verbs: ['list', 'get', 'update', 'delete', 'enable', 'disable'],
  example: { id: KEY, update: '--name "Nightly report"' },
  more: [
    {
      name: 'create',
      summary: 'make an API key; it is shown this once',
      options: [
        { flags: '--name <name>', description: 'its name' },
        {
          flags: '--action <actions>',
          description: 'what it may do, as things.read, publish; several: comma-separated',
          repeatable: true,
        },
        {
          flags: '--resource <resources>',
          description: 'on what, as things/*, channels/<id>/messages; everything if left out',
          repeatable: true,
        },
        { flags: '--expires <duration>', description: 'good for so long: 12h, 30d' },
        { flags: '-f, --file <path>', description: 'JSON or YAML with name and grants instead' },
      ],
      examples: [
        'millrace keys create --name report --action things.read,things.list,subscribe --expires 30d',
        'millrace keys create -f key.yaml --json',
      ],
      run: createKey,
    },
  ],
});

async function createKey(call: Call): Promise<void> {
  const file = text(call, 'file');
  const given = (file === undefined ? {} : await readDocument(file)) as Record<string, unknown>;
  const actions = texts(call, 'action');
  const expires = text(call, 'expires');
  const name = text(call, 'name');
  const body = {
    ...given,
    ...(name === undefined ? {} : { name }),
    ...(actions === undefined ? {} : { grants: [{ actions, resources: texts(call, 'resource') ?? ['*'] }] }),
    ...(expires === undefined ? {} : { expires_in: durationSeconds(expires) }),
  };
  if (body.name === undefined || (body as { grants?: unknown }).grants === undefined)
    throw new Failure(2, 'A name and what it may do are needed.', 'As: --name report --action things.read');
  const key = await (await call.client()).keys.create(body as never);
  if (call.output.json) {
    call.output.one(key);
    return;
  }
  const { id, org, name: of, grants, expires_at, secret } = key;
  call.output.one({ id, org, name: of, grants, expires_at, secret });
  call.output.note('Keep the secret: it is not shown again.');
}

const FILTERS: readonly OptionSpecification[] = [
  { flags: '--entity <entity>', description: 'only of this kind, as thing' },
  { flags: '--id <id>', description: 'only of this one' },
  { flags: '--actor <id>', description: 'only by this user, thing or key' },
  { flags: '--action <prefix>', description: 'only actions that begin so, as things.' },
  { flags: '--outcome <outcome>', description: 'only these', choices: ['done', 'denied'] },
  { flags: '--from <time>', description: 'from this time on, RFC 3339' },
  { flags: '--to <time>', description: 'before this time' },
];

export const audit = {
  name: 'audit',
  summary: 'who did what, when and from where; also what was denied',
  commands: [
    {
      name: 'list',
      summary: 'newest first',
      options: [...FILTERS, ...PAGING],
      examples: [
        'millrace audit list --outcome denied',
        'millrace audit list --entity thing --from 2026-01-01T00:00:00Z --all --json',
      ],
      async run(call: Call) {
        const { audit: list } = await call.client();
        const query = queryOf(call, [...FILTERS, ...PAGING]);
        if (call.options.all === true) await call.output.all(AUDIT_COLUMNS, list.all(query as never));
        else call.output.page(AUDIT_COLUMNS, 'entries', (await list.list(query as never)) as never);
      },
    },
    {
      name: 'export',
      summary: 'all of it to standard output',
      options: [
        ...FILTERS,
        { flags: '--format <format>', description: 'as', choices: ['ndjson', 'csv'], default: 'ndjson' },
      ],
      examples: ['millrace audit export --format csv > audit.csv'],
      async run(call: Call) {
        const { audit: list } = await call.client();
        const response = await list.export(text(call, 'format') as 'ndjson' | 'csv', queryOf(call, FILTERS), {
          signal: call.signal,
        });
        for await (const chunk of response.body ?? []) await call.output.flushed(chunk as Uint8Array);
      },
    },
  ],
};

const AUDIT_COLUMNS = [
  time('WHEN', 'at'),
  {
    title: 'WHO',
    value: (row: Readonly<Record<string, unknown>>) => {
      const { kind, name, id } = (row.actor ?? {}) as { kind?: string; name?: string | null; id?: string | null };
      return name ?? id ?? kind;
    },
  },
  column('ACTION', 'action'),
  column('OUTCOME', 'outcome'),
  column('ON', 'entity_id'),
  column('FROM', 'address'),
  column('TIMES', 'count', { align: 'right' as const }),
  column('DETAIL', 'detail', { wide: true }),
];
