import type { Client } from '@millrace/sdk';
import { Failure } from './failure.ts';
import { bodiesOf, bodyOf, FILE, type Field, optionsOf } from './fields.ts';
import { confirm } from './input.ts';
import {
  type Call,
  type CommandSpecification,
  flag,
  type OptionSpecification,
  type Topic,
  text,
  word,
  words,
} from './specification.ts';
import { type Column, column, type Row } from './table.ts';

/** What of the client every entity has, types aside: the API judges what is sent. */
export interface AnyCollection {
  list(filter?: Record<string, unknown>): Promise<unknown>;
  all(filter?: Record<string, unknown>): AsyncIterable<unknown>;
  get?(id: string): Promise<unknown>;
  create?(body: never): Promise<unknown>;
  createMany?(bodies: never, options: { onProgress(done: number, total: number): void }): Promise<readonly unknown[]>;
  createByJob?(bodies: never): Promise<unknown>;
  update?(id: string, patch: never, options: { ifVersion?: number }): Promise<unknown>;
  delete?(id: string, options: { cascade?: boolean }): Promise<Readonly<Record<string, number>>>;
  enable?(id: string): Promise<unknown>;
  disable?(id: string): Promise<unknown>;
}

export interface EntityTopic {
  readonly name: string;
  readonly one: string;
  readonly summary: string;
  collection(client: Client): AnyCollection;
  readonly columns: readonly Column[];
  /** Flags of `list` beside the usual ones. */
  readonly filters?: readonly OptionSpecification[];
  /** Names no list knows are not looked up: only ids are taken. */
  readonly idsOnly?: true;
  readonly fields?: readonly Field[];
  readonly verbs: readonly ('list' | 'get' | 'create' | 'update' | 'delete' | 'enable' | 'disable')[];
  /** Example flags. */
  readonly example: { readonly id: string; readonly create?: string; readonly update?: string; readonly list?: string };
  readonly more?: readonly CommandSpecification[];
}

export const PAGING: readonly OptionSpecification[] = [
  { flags: '--limit <count>', description: 'how many at most, 1 to 1000', default: '50' },
  { flags: '--offset <count>', description: 'how many to skip' },
  { flags: '--cursor <cursor>', description: 'from the page before, in place of --offset' },
  { flags: '--all', description: 'all of them; with --json one a line' },
];
export const SEARCHING: readonly OptionSpecification[] = [
  { flags: '--name <part>', description: 'only those with this in the name' },
  { flags: '--tag <tag>', description: 'only those with the tag' },
  { flags: '--metadata <json>', description: 'only those whose metadata contain this' },
  { flags: '--status <status>', description: 'only those', choices: ['enabled', 'disabled', 'all'] },
  { flags: '--order <order>', description: 'sorted by', choices: ['created', 'updated', 'name', 'id'] },
  { flags: '--dir <dir>', description: 'direction', choices: ['asc', 'desc'] },
];

const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/i;

/** The query that a list's flags make. */
export function queryOf(call: Call, options: readonly OptionSpecification[]): Record<string, unknown> {
  const query: Record<string, unknown> = {};
  for (const { flags } of options) {
    const long = /--([a-z-]+)/.exec(flags)?.[1] ?? '';
    const name = long.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    const value = call.options[name];
    if (long !== 'all' && value !== undefined && value !== false) query[long.replaceAll('-', '_')] = value;
  }
  // A page's size that nobody asked for would only slow a whole list down.
  if (flag(call, 'all')) delete query.limit;
  return query;
}

/** The id of what is named: an id, or a name that only one has.  @throws Failure 4 none, 2 several */
export async function idOf(collection: AnyCollection, one: string, reference: string): Promise<string> {
  if (UUID.test(reference)) return reference;
  const matches: Row[] = [];
  for await (const item of collection.all({ name: reference })) {
    const row = item as Row;
    if (row.name === reference || row.alias === reference || row.email === reference) matches.push(row);
    if (matches.length > 10) break;
  }
  // Those that have no such name may have it as an alias, which no list is searched by.
  if (matches.length === 0 && collection.get !== undefined && /^[^\s/]+$/.test(reference)) {
    const found = (await collection.get(reference).catch(() => null)) as Row | null;
    if (found !== null && found?.id !== undefined) return String(found.id);
  }
  const [first, ...others] = matches;
  if (first === undefined) throw new Failure(4, `There is no ${one} “${reference}”.`);
  if (others.length > 0)
    throw new Failure(2, `Several have the name “${reference}”. Give an id:`, matches.map(({ id }) => id).join('\n  '));
  return String(first.id);
}

/** Lists, as `--json`, `--all` and `--wide` ask. */
export async function show(
  call: Call,
  collection: AnyCollection & { readonly items?: string },
  items: string,
  columns: readonly Column[],
  query: Record<string, unknown>,
): Promise<void> {
  if (flag(call, 'all')) await call.output.all(columns, collection.all(query));
  else call.output.page(columns, items, (await collection.list(query)) as Row);
}

/** The commands of an entity. */
export function entityTopic(entity: EntityTopic): Topic {
  const made = { list, get, create, update, delete: remove, enable: switched('enable'), disable: switched('disable') };
  const commands = entity.verbs.map((verb) => made[verb](entity));
  return { name: entity.name, summary: entity.summary, commands: [...commands, ...(entity.more ?? [])] };
}

const line = ({ name }: EntityTopic, verb: string, ...rest: readonly (string | undefined)[]): string =>
  ['millrace', name, verb, ...rest].filter((part) => part !== undefined && part !== '').join(' ');

const named = ({ one, idsOnly }: EntityTopic): string =>
  idsOnly === true ? `id of the ${one}` : `id of the ${one}, or its name`;

const find = (entity: EntityTopic, collection: AnyCollection, reference: string): Promise<string> | string =>
  entity.idsOnly === true ? reference : idOf(collection, entity.one, reference);

function list(entity: EntityTopic): CommandSpecification {
  const { name, columns, collection, example } = entity;
  const filters = [...(entity.filters ?? SEARCHING), ...PAGING];
  return {
    name: 'list',
    summary: `list ${name}`,
    options: filters,
    examples: [line(entity, 'list', example.list), line(entity, 'list', '--all --json')],
    run: async (call) => show(call, collection(await call.client()), name, columns, queryOf(call, filters)),
  };
}

function get(entity: EntityTopic): CommandSpecification {
  return {
    name: 'get',
    summary: `show one of the ${entity.name}`,
    arguments: [{ name: `<${entity.one}>`, description: named(entity) }],
    examples: [line(entity, 'get', entity.example.id), line(entity, 'get', entity.example.id, '--json')],
    async run(call) {
      const collection = entity.collection(await call.client());
      call.output.one(await collection.get?.(await find(entity, collection, word(call, 0))));
    },
  };
}

const AT_ONCE_MAX = 1_000;
const JOB: OptionSpecification = {
  flags: '--job',
  description: 'more than 1000: as a job of the node, which goes on without this command',
};
const COUNT: OptionSpecification = { flags: '--count <count>', description: 'so many, with a number behind the name' };

function create(entity: EntityTopic): CommandSpecification {
  const { name, one, fields = [], example, columns } = entity;
  const many = name === 'things' || name === 'channels';
  return {
    name: 'create',
    summary: many ? `make a ${one}, or many` : `make ${/^[aeiou]/.test(one) ? 'an' : 'a'} ${one}`,
    options: [...optionsOf(fields, false), FILE, ...(many ? [COUNT, JOB] : [])],
    examples: [
      line(entity, 'create', example.create),
      line(entity, 'create', `-f ${name}.yaml`),
      ...(many ? [line(entity, 'create', '--name sensor --count 1000 --json')] : []),
    ],
    async run(call) {
      const given = await bodiesOf(call, fields);
      const bodies = many ? repeated(given, text(call, 'count')) : given;
      const collection = entity.collection(await call.client());
      const onProgress = (done: number, total: number): void => call.output.progress(name, done, total);
      if (bodies.length === 1 && call.options.count === undefined) {
        call.output.one(await collection.create?.(bodies[0] as never));
        return;
      }
      if (flag(call, 'job') && bodies.length > AT_ONCE_MAX) {
        const job = await collection.createByJob?.(bodies as never);
        call.output.one(job);
        if (!call.output.json) call.output.note(`How far it is: millrace jobs get ${(job as Row).id} --wait`);
        return;
      }
      const made: unknown[] = [];
      if (many) made.push(...((await collection.createMany?.(bodies as never, { onProgress })) ?? []));
      else
        for (const body of bodies) {
          made.push(await collection.create?.(body as never));
          onProgress(made.length, bodies.length);
        }
      if (call.output.json) call.output.one({ [name]: made });
      else call.output.rows(withKey(columns, made), made as Row[]);
    },
  };
}

/** What is told once belongs into the table of what was made. */
const withKey = (columns: readonly Column[], made: readonly unknown[]): readonly Column[] =>
  made.some((row) => (row as Row).key !== undefined) ? [...columns.slice(0, 2), column('KEY', 'key')] : columns;

const COUNT_MAX = 100_000;

function repeated(
  bodies: readonly Record<string, unknown>[],
  text: string | undefined,
): readonly Record<string, unknown>[] {
  if (text === undefined) return bodies;
  const count = Number(text);
  const [body] = bodies;
  if (!Number.isInteger(count) || count < 1 || count > COUNT_MAX)
    throw new Failure(2, `--count must be a whole number from 1 to ${COUNT_MAX}.`);
  if (body === undefined || bodies.length > 1) throw new Failure(2, '--count is for one, not for a list.');
  const digits = String(count).length;
  return Array.from({ length: count }, (_, index) => ({
    ...body,
    name: `${body.name ?? ''}${body.name === undefined ? '' : '-'}${String(index + 1).padStart(digits, '0')}`,
  }));
}

function update(entity: EntityTopic): CommandSpecification {
  const { fields = [], example } = entity;
  return {
    name: 'update',
    summary: 'change what is given, leave the rest',
    arguments: [{ name: `<${entity.one}>`, description: named(entity) }],
    options: [
      ...optionsOf(fields, true),
      FILE,
      { flags: '--if-version <version>', description: 'only if it still has this version' },
    ],
    examples: [line(entity, 'update', example.id, example.update)],
    async run(call) {
      const body = await bodyOf(
        call,
        fields.filter(({ onlyNew }) => onlyNew !== true),
      );
      const version = text(call, 'ifVersion');
      if (version !== undefined && !/^\d+$/.test(version)) throw new Failure(2, '--if-version must be a whole number.');
      const collection = entity.collection(await call.client());
      const id = await find(entity, collection, word(call, 0));
      const options = version === undefined ? {} : { ifVersion: Number(version) };
      call.output.one(await collection.update?.(id, body as never, options));
    },
  };
}

function remove(entity: EntityTopic): CommandSpecification {
  const { one, example } = entity;
  return {
    name: 'delete',
    summary: `delete ${entity.name}`,
    arguments: [{ name: `<${one}...>`, description: named(entity) }],
    options: [
      { flags: '--cascade', description: 'with what depends on it' },
      { flags: '-y, --yes', description: 'do not ask' },
    ],
    examples: [line(entity, 'delete', example.id), line(entity, 'delete', example.id, '--cascade --yes')],
    async run(call) {
      const cascade = flag(call, 'cascade');
      const references = words(call, 0);
      if (cascade && !flag(call, 'yes')) {
        const sure = await confirm(`Delete ${references.join(', ')} and all that depends on it?`, 'Add --yes.');
        if (!sure) throw new Failure(1, 'Nothing was deleted.');
      }
      const collection = entity.collection(await call.client());
      for (const reference of references) {
        const id = await find(entity, collection, reference);
        const counts = (await collection.delete?.(id, cascade ? { cascade } : {})) ?? {};
        const went = Object.entries(counts).map(([what, count]) => `${count} ${what.replaceAll('_', ' ')}`);
        if (call.output.json) call.output.one({ deleted: counts });
        else call.output.note(`deleted ${reference}${went.length === 0 ? '' : `, with ${went.join(', ')}`}`);
      }
    },
  };
}

const switched =
  (verb: 'enable' | 'disable') =>
  (entity: EntityTopic): CommandSpecification => ({
    name: verb,
    summary: verb === 'enable' ? 'switch on again' : 'switch off, at once: open sessions are cut',
    arguments: [{ name: `<${entity.one}...>`, description: named(entity) }],
    examples: [line(entity, verb, entity.example.id)],
    async run(call) {
      const collection = entity.collection(await call.client());
      for (const reference of words(call, 0)) {
        const answer = await collection[verb]?.(await find(entity, collection, reference));
        if (call.output.json) call.output.one(answer);
        else call.output.note(`${verb}d ${reference}`);
      }
    },
  });
