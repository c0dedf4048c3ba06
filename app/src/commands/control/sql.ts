import type { SqlAnswer, SqlParameters } from '@millrace/sdk';
import { entityTopic, idOf, SEARCHING } from './entity.ts';
import { Failure } from './failure.ts';
import { readInput } from './input.ts';
import { FORMS, formOf, jsonOf, passOn } from './questions.ts';
import {
  type Call,
  type CommandSpecification,
  type OptionSpecification,
  type Topic,
  text,
  word,
} from './specification.ts';
import { column, time } from './table.ts';

const PARAMETER: OptionSpecification = {
  flags: '-p, --parameter <name=value>',
  description: 'value of {name:Type} in the statement; a list as JSON',
  repeatable: true,
};

/** @throws Failure 2 */
function parametersOf(call: Call): SqlParameters {
  // Not by texts(): values may have commas.
  const given = (call.options.parameter ?? []) as readonly string[];
  return Object.fromEntries(
    given.map((one) => {
      const [, name, value = ''] = /^([A-Za-z_]\w*)=([\s\S]*)$/.exec(one) ?? [];
      if (name === undefined) throw new Failure(2, `“${one}” is no parameter.`, 'As: -p least=20');
      return [name, value.startsWith('[') ? jsonOf(`-p ${name}`, value) : value];
    }),
  ) as SqlParameters;
}

/** Rows as a table, or the answer itself. */
function tell(call: Call, answer: SqlAnswer): void {
  if (call.output.json) {
    call.output.one(answer);
    return;
  }
  const columns = answer.columns.map(({ name, type }) =>
    column(name, name, /^(Nullable\()?(U?Int|Float|Decimal)/.test(type) ? { align: 'right' } : {}),
  );
  call.output.rows(columns, answer.data);
  if (process.stderr.isTTY) call.output.note(`${answer.rows} rows in ${answer.statistics.elapsed.toFixed(3)} s`);
}

async function sql(call: Call): Promise<void> {
  const [given, file] = [word(call, 0), text(call, 'file')];
  if (given !== '' && file !== undefined) throw new Failure(2, 'Give a statement, or a file with -f.');
  const form = formOf(call);
  const parameters = parametersOf(call);
  const client = await call.client();
  const { signal } = call;
  const ask = async (query: string): Promise<void> => tell(call, await client.sql(query, parameters, { signal }));
  if (given === '' && file === undefined && process.stdin.isTTY === true)
    return (await import('./sql-prompt.ts')).converse(call, ask);
  const query = given !== '' ? given : readInput(file ?? '-');
  if (query.trim() === '')
    throw new Failure(2, 'There is no statement.', "As: millrace sql 'SELECT count() FROM readings'");
  if (form !== null) return passOn(call, await client.sql.stream(query, form, parameters, { signal }));
  await ask(query);
}

export const asking: CommandSpecification = {
  name: 'sql',
  summary: "ask by SQL over the organisation's rows; without a statement: a prompt",
  arguments: [{ name: '[statement]', description: 'one SELECT, or EXPLAIN of one' }],
  options: [
    { flags: '-f, --file <path>', description: 'the statement from a file, - for standard input' },
    PARAMETER,
    ...FORMS,
  ],
  examples: [
    "millrace sql 'SELECT name, count() AS n FROM readings GROUP BY name'",
    "millrace sql 'SELECT max(value) FROM readings WHERE name = {name:String}' -p name=temperature",
    'millrace sql -f report.sql --csv > report.csv',
    'millrace sql',
  ],
  run: sql,
};

const QUERY = '0198d0c4-2f6a-7000-8000-000000000020';
const saved = { name: '<query>', description: 'id of the query, or its name' };

export const queries: Topic = entityTopic({
  name: 'queries',
  one: 'query',
  summary: 'statements of SQL, saved by a name',
  collection: ({ queries: known }) =>
    ({
      list: (filter: object) => known.list(filter),
      all: (filter: object) => known.all(filter),
      get: (id: string) => known.get(id),
      create: (body: never) => known.create(body),
      async update(id: string, patch: object, { ifVersion }: { ifVersion?: number }) {
        const { name, description, query, parameters, version } = await known.get(id);
        const body = { name, description, query, parameters, ...patch };
        return known.replace(id, body as never, { ifVersion: ifVersion ?? version });
      },
      delete: (id: string) => known.delete(id).then(() => ({})),
    }) as never,
  columns: [
    column('ID', 'id'),
    column('NAME', 'name'),
    column('DESCRIPTION', 'description'),
    column('QUERY', 'query', { wide: true }),
    time('UPDATED', 'updated_at'),
  ],
  filters: SEARCHING.filter(({ flags }) => /^--(name|order|dir) /.test(flags)),
  fields: [
    { flags: '--name <name>', description: 'its name', member: 'name' },
    { flags: '--description <text>', description: 'what it tells', member: 'description' },
    { flags: '--query <sql>', description: 'the statement; @file or @- to read it', member: 'query', kind: 'secret' },
    { flags: '--parameters <json>', description: 'values where none are given', member: 'parameters', kind: 'json' },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete'],
  example: {
    id: QUERY,
    create: '--name hottest --query @hottest.sql --parameters \'{"least":30}\'',
    update: '--query @better.sql',
  },
  more: [
    {
      name: 'run',
      summary: 'ask a saved query, with your own rights',
      arguments: [saved],
      options: [PARAMETER, ...FORMS],
      examples: ['millrace queries run hottest -p least=35', `millrace queries run ${QUERY} --csv`],
      async run(call) {
        const form = formOf(call);
        const parameters = parametersOf(call);
        const { queries: known } = await call.client();
        const id = await idOf(known as never, 'query', word(call, 0));
        const { signal } = call;
        if (form !== null) return passOn(call, await known.stream(id, form, parameters, { signal }));
        tell(call, await known.run(id, parameters, { signal }));
      },
    },
  ],
});
