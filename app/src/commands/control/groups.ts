import { entityTopic, idOf, SEARCHING } from './entity.ts';
import { NAMING } from './fields.ts';
import { allIds, CHANNEL_COLUMNS, roleChoice, THING_COLUMNS } from './references.ts';
import { type Call, text, word } from './specification.ts';
import { column, printable, time } from './table.ts';

const GROUP = '0197c2d0-6a3e-7000-8000-000000000030';
const group = { name: '<group>', description: 'id of the group, or its name' };

export const groups = entityTopic({
  name: 'groups',
  one: 'group',
  summary: 'trees of things and channels, whose roles hold below too',
  collection: (client) => client.groups as never,
  columns: [
    column('ID', 'id'),
    column('NAME', 'name'),
    column('PARENT', 'parent_id'),
    column('ENABLED', 'enabled'),
    column('TAGS', 'tags'),
    time('CREATED', 'created_at'),
    column('DESCRIPTION', 'description', { wide: true }),
    column('VERSION', 'version', { wide: true, align: 'right' }),
    column('METADATA', 'metadata', { wide: true }),
  ],
  filters: [
    ...SEARCHING,
    { flags: '--parent <uuid>', description: 'only those right below this one' },
    { flags: '--below <uuid>', description: 'only those anywhere below this one' },
  ],
  fields: [
    ...NAMING,
    { flags: '--description <text>', description: 'what it is for', member: 'description' },
    {
      flags: '--parent-id <uuid>',
      description: 'the group that it is below; none: at the top',
      member: 'parent_id',
      kind: 'nullable',
    },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete', 'enable', 'disable'],
  example: { id: GROUP, create: '--name "Ground floor"', update: '--name Basement', list: '--name floor' },
  more: [
    {
      name: 'tree',
      summary: 'show a branch, or all',
      arguments: [{ name: '[group]', description: 'id of the group, or its name' }],
      options: [{ flags: '--depth <count>', description: 'so many levels' }],
      examples: ['millrace groups tree', `millrace groups tree ${GROUP} --depth 2`],
      async run(call) {
        const { groups: collection } = await call.client();
        const reference = word(call, 0);
        const id = reference === '' ? undefined : await idOf(collection as never, 'group', reference);
        const depth = text(call, 'depth');
        const tree = await collection.tree(id, depth === undefined ? {} : { depth });
        if (call.output.json) call.output.one(tree);
        else call.output.write(branches((tree as { groups?: readonly Branch[] }).groups ?? [], ''));
      },
    },
    {
      name: 'move',
      summary: 'move a group with all that is below it',
      arguments: [group],
      options: [{ flags: '--to <group>', description: 'the new parent, by id or name; left out: to the top' }],
      examples: [`millrace groups move ${GROUP} --to "Ground floor"`],
      async run(call) {
        const { groups: collection } = await call.client();
        const to = text(call, 'to');
        const parent = to === undefined ? null : await idOf(collection as never, 'group', to);
        call.output.one(await collection.move(await idOf(collection as never, 'group', word(call, 0)), parent));
      },
    },
    ...(['add', 'remove'] as const).map((verb) => ({
      name: verb,
      summary: verb === 'add' ? 'put things and channels into a group' : 'take things and channels out of a group',
      arguments: [group],
      options: [
        { flags: '--thing <thing>', description: 'by id or name', repeatable: true as const },
        { flags: '--channel <channel>', description: 'by id, alias or name', repeatable: true as const },
      ],
      examples: [`millrace groups ${verb} ${GROUP} --thing thermometer --channel kitchen`],
      async run(call: Call) {
        const client = await call.client();
        const id = await idOf(client.groups as never, 'group', word(call, 0));
        const members = { things: await allIds(call, 'thing'), channels: await allIds(call, 'channel') };
        if (verb === 'add') await client.groups.add(id, members);
        else
          for (const kind of ['things', 'channels'] as const)
            for (const member of members[kind]) await client.groups.remove(id, kind, member);
        call.output.note(`${members.things.length} things, ${members.channels.length} channels`);
      },
    })),
    ...(['things', 'channels'] as const).map((kind) => ({
      name: kind,
      summary: `${kind} in a group`,
      arguments: [group],
      options: [{ flags: '--below', description: 'in its whole branch' }],
      examples: [`millrace groups ${kind} ${GROUP} --below`],
      async run(call: Call) {
        const { groups: collection } = await call.client();
        const id = await idOf(collection as never, 'group', word(call, 0));
        const query = call.options.below === true ? { below: true } : {};
        const columns = kind === 'things' ? THING_COLUMNS : CHANNEL_COLUMNS;
        await call.output.all(
          columns,
          kind === 'things' ? collection.things(id, query) : collection.channels(id, query),
        );
      },
    })),
    {
      name: 'roles',
      summary: 'who has which role in a group and below it',
      arguments: [group],
      examples: [`millrace groups roles ${GROUP}`],
      async run(call) {
        const { groups: collection } = await call.client();
        const id = await idOf(collection as never, 'group', word(call, 0));
        const columns = [column('USER', 'user_id'), column('E-MAIL', 'email'), column('ROLE', 'role')];
        call.output.page(columns, 'roles', (await collection.roles(id, { limit: 1_000 })) as never);
      },
    },
    {
      name: 'set-role',
      summary: 'give somebody a role in a group; “none” takes it away',
      arguments: [
        group,
        { name: '<user>', description: 'id of a member of the organisation' },
        { name: '<role>', description: 'owner, admin, editor, viewer, none, or the id of a role' },
      ],
      examples: [`millrace groups set-role ${GROUP} 0197c2d0-6a3e-7000-8000-000000000003 editor`],
      async run(call) {
        const { groups: collection } = await call.client();
        const id = await idOf(collection as never, 'group', word(call, 0));
        const role = word(call, 2);
        if (role === 'none') await collection.removeRole(id, word(call, 1));
        else await collection.setRole(id, word(call, 1), roleChoice(role));
        call.output.note(`${word(call, 1)}: ${role}`);
      },
    },
  ],
});

interface Branch {
  readonly id: string;
  readonly name: string;
  readonly children?: readonly Branch[];
}

/** The way `tree` shows folders. */
function branches(nodes: readonly Branch[], indent: string): string {
  return nodes
    .map(({ id, name, children = [] }, index) => {
      const isLast = index === nodes.length - 1;
      const line = `${indent}${isLast ? '└── ' : '├── '}${printable(name === '' ? id : name)}\n`;
      return line + branches(children, `${indent}${isLast ? '    ' : '│   '}`);
    })
    .join('');
}
