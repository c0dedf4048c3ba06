import { entityTopic, idOf, PAGING, queryOf, SEARCHING, show } from './entity.ts';
import { Failure } from './failure.ts';
import { type Field, NAMING } from './fields.ts';
import { confirm } from './input.ts';
import { RULE_COLUMNS, roleChoice } from './references.ts';
import { type Call, flag, type Topic, word } from './specification.ts';
import { column, time } from './table.ts';

const USER = '0197c2d0-6a3e-7000-8000-000000000003';
const ORG = '0197c2d0-6a3e-7000-8000-000000000001';
const NAMED: readonly Field[] = NAMING;

export const users = entityTopic({
  name: 'users',
  one: 'user',
  summary: 'people who can log in',
  collection: (client) => client.users as never,
  columns: [
    column('ID', 'id'),
    column('E-MAIL', 'email'),
    column('NAME', 'name'),
    column('ENABLED', 'enabled'),
    column('ADMIN', 'admin'),
    column('VERIFIED', 'verified'),
    time('CREATED', 'created_at'),
  ],
  filters: [{ flags: '--email <email>', description: 'only with this e-mail' }, ...SEARCHING],
  fields: [
    ...NAMED,
    { flags: '--email <email>', description: 'to log in with', member: 'email', onlyNew: true },
    {
      flags: '--password <password>',
      description: 'at least 8 characters; better in a file given with -f',
      member: 'password',
      onlyNew: true,
    },
    {
      flags: '--picture <url>',
      description: 'https or data: URL; none: take it away',
      member: 'picture',
      kind: 'nullable',
    },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete', 'enable', 'disable'],
  example: { id: USER, create: '-f user.yaml', update: '--name "Ada Lovelace"', list: '--email ada@example.org' },
  more: [
    {
      name: 'access',
      summary: 'what a user may do in the organisation, and by which rule',
      arguments: [{ name: '<user>', description: 'id of the user' }],
      examples: [`millrace users access ${USER}`],
      async run(call) {
        const { users: collection } = await call.client();
        call.output.page(
          RULE_COLUMNS,
          'rules',
          (await collection.access(word(call, 0), { org: await call.org() })) as never,
        );
      },
    },
  ],
});

const org = { name: '<org>', description: 'id of the organisation, or its name' };

export const orgs = entityTopic({
  name: 'orgs',
  one: 'org',
  summary: 'organisations: the tenants',
  collection: (client) => client.orgs as never,
  columns: [
    column('ID', 'id'),
    column('NAME', 'name'),
    column('ALIAS', 'alias'),
    column('FROZEN', 'frozen'),
    column('TAGS', 'tags'),
    time('CREATED', 'created_at'),
    column('VERSION', 'version', { wide: true, align: 'right' }),
    column('METADATA', 'metadata', { wide: true }),
  ],
  filters: SEARCHING,
  fields: [
    ...NAMED,
    {
      flags: '--alias <alias>',
      description: 'may stand for the name; none: take it away',
      member: 'alias',
      kind: 'nullable',
    },
    {
      flags: '--retention-days <days>',
      description: 'so long its stored data is kept; null: as the installation says',
      member: 'retention_days',
      kind: 'json',
    },
    {
      flags: '--rollup-retention-days <days>',
      description: 'the same of rollups and last values, if that is longer',
      member: 'rollup_retention_days',
      kind: 'json',
    },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete'],
  example: { id: ORG, create: '--name "Green houses"', update: '--alias green' },
  more: (['freeze', 'unfreeze'] as const).map((name) => ({
    name,
    summary: name === 'freeze' ? 'let nothing in or out; nothing is lost' : 'let messages in and out again',
    arguments: [org],
    options: name === 'freeze' ? [{ flags: '-y, --yes', description: 'do not ask' }] : [],
    examples: [`millrace orgs ${name} ${ORG}`],
    async run(call: Call) {
      if (name === 'freeze' && !flag(call, 'yes') && process.stdin.isTTY) {
        if (!(await confirm(`Cut off everything of ${word(call, 0)}?`, 'Add --yes.')))
          throw new Failure(1, 'Not frozen.');
      }
      const { orgs: collection } = await call.client();
      call.output.one(await collection[name](await idOf(collection as never, 'organisation', word(call, 0))));
    },
  })),
});

const user = { name: '<user>', description: 'id or e-mail of a member' };
const role = { name: '<role>', description: 'owner, admin, editor, viewer, or the id of a role' };
const MEMBER_COLUMNS = [
  column('ID', 'id'),
  column('E-MAIL', 'email'),
  column('NAME', 'name'),
  column('ROLE', 'role'),
  time('SINCE', 'created_at'),
];

async function memberOf(call: Call, reference: string): Promise<string> {
  if (!reference.includes('@')) return reference;
  const { orgs: collection } = await call.client();
  for await (const { id, email } of collection.members(await call.org()).all({ email: reference }))
    if (email === reference) return id;
  throw new Failure(4, `No member has the e-mail ${reference}.`, 'Invite them: millrace invitations create');
}

export const members: Topic = {
  name: 'members',
  summary: 'who belongs to the organisation, with which role',
  commands: [
    {
      name: 'list',
      summary: 'list members',
      options: PAGING,
      examples: ['millrace members list', 'millrace members list --org "Green houses" --json'],
      async run(call) {
        const { orgs: collection } = await call.client();
        const list = collection.members(await call.org());
        await show(call, list as never, 'members', MEMBER_COLUMNS, queryOf(call, PAGING));
      },
    },
    {
      name: 'set',
      summary: 'give a user a role in the organisation',
      arguments: [user, role],
      examples: ['millrace members set ada@example.org admin'],
      async run(call) {
        const { orgs: collection } = await call.client();
        await collection.members(await call.org()).set(await memberOf(call, word(call, 0)), roleChoice(word(call, 1)));
        call.output.note(`${word(call, 0)}: ${word(call, 1)}`);
      },
    },
    {
      name: 'remove',
      summary: 'put a member out, or leave',
      arguments: [user],
      examples: ['millrace members remove ada@example.org'],
      async run(call) {
        const { orgs: collection } = await call.client();
        await collection.members(await call.org()).remove(await memberOf(call, word(call, 0)));
        call.output.note(`removed ${word(call, 0)}`);
      },
    },
  ],
};

const INVITATION_COLUMNS = [
  column('ID', 'id'),
  column('ORGANISATION', 'org_name'),
  column('E-MAIL', 'email'),
  column('ROLE', 'role'),
  column('STATE', 'state'),
  time('EXPIRES', 'expires_at'),
];
const invitation = { name: '<invitation>', description: 'id of the invitation' };
const INVITATION = '0197c2d0-6a3e-7000-8000-000000000070';

export const invitations: Topic = {
  name: 'invitations',
  summary: 'invite people, or answer an invitation',
  commands: [
    {
      name: 'list',
      summary: 'those that are out for the organisation',
      options: PAGING,
      examples: ['millrace invitations list'],
      async run(call) {
        const { orgs: collection } = await call.client();
        const list = collection.invitations(await call.org());
        await show(call, list as never, 'invitations', INVITATION_COLUMNS, queryOf(call, PAGING));
      },
    },
    {
      name: 'mine',
      summary: 'those that ask for you',
      options: PAGING,
      examples: ['millrace invitations mine'],
      async run(call) {
        const { invitations: list } = await call.client();
        await show(call, list as never, 'invitations', INVITATION_COLUMNS, queryOf(call, PAGING));
      },
    },
    {
      name: 'create',
      summary: 'invite somebody by mail',
      arguments: [{ name: '<email>', description: 'whom; they need no account yet' }, role],
      examples: ['millrace invitations create ada@example.org editor'],
      async run(call) {
        const { orgs: collection } = await call.client();
        const list = collection.invitations(await call.org());
        call.output.one(await list.invite(word(call, 0), roleChoice(word(call, 1))));
      },
    },
    {
      name: 'revoke',
      summary: 'take an invitation back',
      arguments: [invitation],
      examples: [`millrace invitations revoke ${INVITATION}`],
      async run(call) {
        const { orgs: collection } = await call.client();
        await collection.invitations(await call.org()).revoke(word(call, 0));
        call.output.note(`revoked ${word(call, 0)}`);
      },
    },
    ...(['accept', 'decline'] as const).map((name) => ({
      name,
      summary: name === 'accept' ? 'become a member' : 'say no',
      arguments: [invitation],
      examples: [`millrace invitations ${name} ${INVITATION}`],
      async run(call: Call) {
        await (await call.client()).invitations[name](word(call, 0));
        call.output.note(name === 'accept' ? 'You are a member now.' : 'Declined.');
      },
    })),
  ],
};

export const roles = entityTopic({
  name: 'roles',
  one: 'role',
  summary: 'roles that the organisation made: named sets of actions',
  collection: (client) => client.roles as never,
  columns: [
    column('ID', 'id'),
    column('NAME', 'name'),
    column('ACTIONS', 'actions'),
    column('DESCRIPTION', 'description'),
    time('CREATED', 'created_at', { wide: true }),
  ],
  filters: SEARCHING.filter(({ flags }) => !/--(metadata|status)/.test(flags)),
  fields: [
    ...NAMED,
    { flags: '--description <text>', description: 'what it is for', member: 'description' },
    {
      flags: '--actions <actions>',
      description: 'comma-separated, as things.*,publish',
      member: 'actions',
      kind: 'list',
    },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete'],
  example: {
    id: 'installer',
    create: '--name installer --actions "things.*,connections.*"',
    update: '--actions "things.*"',
  },
});
