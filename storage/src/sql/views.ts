import { type SqlInventory, type SqlSchema, type SqlTable, sqlTables } from '@millrace/core';
import { functionGroups } from './functions.ts';
import type { Bound, Narrowing } from './narrowing.ts';

type Column = readonly [name: string, type: string, comment: string, from?: string];
interface View {
  readonly comment: string;
  readonly columns: readonly Column[];
  /** The table, or null: rows of the registry. */
  readonly from: string | null;
  /** Brings together what merges have not yet. */
  readonly groupBy?: string;
}

const LOW = 'LowCardinality(String)';
const NS = "DateTime64(9, 'UTC')";
const US = "DateTime64(6, 'UTC')";
const SERIES: readonly Column[] = [
  ['channel', LOW, 'Id of the channel'],
  ['subtopic', LOW, 'Its segments parted by dots, "" if none'],
  ['publisher', LOW, 'Id of the thing or user that published'],
  ['name', LOW, 'Full name, as "room1/temperature"'],
  ['unit', LOW, 'As SenML has it: Cel, %RH, W; "" if none'],
];
const VALUES: readonly Column[] = [
  ['kind', LOW, 'number, string, bool, data or sum: which of the values is set'],
  ['value', 'Nullable(Float64)', 'The number'],
  ['string_value', 'String', '"" if it has none'],
  ['bool_value', 'Nullable(Bool)', 'The truth value'],
  ['data_value', 'String', 'Bytes; show them by hex() or base64Encode()'],
  ['sum', 'Nullable(Float64)', 'Integrated value of SenML'],
];
const ORIGIN: readonly Column[] = [
  ['received', US, 'When the platform took it'],
  ['log_partition', 'UInt16', 'Where its message is in the log'],
  ['log_offset', 'UInt64', 'The same: joins with message_log, messages, dead_letters'],
];
const MESSAGE: readonly Column[] = [
  ['id', 'UUID', 'Of the message'],
  ['channel', LOW, 'Id of the channel'],
  ['subtopic', LOW, 'Its segments parted by dots, "" if none'],
  ['publisher', LOW, 'Id of the thing or user that published'],
  ['protocol', LOW, 'mqtt, http, ws, coap…'],
  ...ORIGIN,
  ['content_type', LOW, 'As it was published'],
];

const rollup = (from: string, width: string): View => ({
  comment: `Numbers rolled up by ${width}: much faster than readings`,
  from,
  columns: [
    ...SERIES,
    ['time', "DateTime64(0, 'UTC')", 'Start of the bucket', 'bucket'],
    ['count', 'UInt64', 'Numbers in it', 'sum(source.count)'],
    ['min', 'Float64', 'The least', 'min(source.minimum)'],
    ['max', 'Float64', 'The greatest', 'max(source.maximum)'],
    ['sum', 'Float64', 'All together', 'sum(source.sum)'],
    ['avg', 'Float64', 'Their mean', 'sum(source.sum) / sum(source.count)'],
  ],
  groupBy: 'channel, subtopic, publisher, name, unit, bucket',
});

const VIEWS: Readonly<Record<SqlTable, View>> = {
  readings: {
    comment: 'Every reading',
    from: 'readings',
    columns: [
      ...SERIES,
      ['time', NS, 'When it was measured'],
      ...VALUES,
      ['update_time', 'Nullable(Float64)', 'Seconds until the next at the latest, as SenML has it'],
      ['protocol', LOW, 'mqtt, http, ws, coap…'],
      ...ORIGIN,
    ],
  },
  readings_1m: rollup('readings_1m', 'the minute'),
  readings_1h: rollup('readings_1h', 'the hour'),
  latest: {
    comment: 'The last value of each series',
    from: 'latest',
    columns: [
      ...[...SERIES, ...VALUES].map(
        ([name, type, comment]): Column =>
          // It is put together of two tables: their common type.
          name === 'unit' || name === 'kind' ? [name, 'String', comment] : [name, type, comment],
      ),
      ['time', NS, 'When it was measured', '(source.time)'],
      ['received', US, 'When the platform took it', '(source.received)'],
    ],
  },
  messages: {
    comment: 'Messages that are kept as they came',
    from: 'messages',
    columns: [...MESSAGE, ['size', 'UInt32', 'Bytes'], ['payload', 'String', 'The bytes']],
  },
  message_log: {
    comment: 'What became of each message',
    from: 'message_log',
    columns: [
      ...MESSAGE,
      ['size', 'UInt32', 'Bytes'],
      ['decision', LOW, 'What was decided of it'],
      ['readings', 'UInt32', 'How many it gave'],
      ['dead_letters', 'UInt32', 'How many records were refused'],
      ['stored', LOW, 'What of it is stored'],
      ['reason', LOW, 'Why nothing came of it, "" otherwise'],
    ],
  },
  dead_letters: {
    comment: 'Records that could not be stored',
    from: 'dead_letters',
    columns: [
      ...MESSAGE,
      ['record_index', 'Nullable(UInt32)', 'Which record of the message; NULL: all of it'],
      ['reason', LOW, 'Why'],
      ['detail', 'String', 'The same in words'],
      ['payload', 'String', 'The bytes'],
    ],
  },
  things: {
    comment: 'Devices, gateways and apps',
    from: null,
    columns: [
      ['id', 'String', 'As publisher has it'],
      ['name', 'String', 'Name'],
      ['type', LOW, 'device, gateway or app'],
      ['enabled', 'Bool', 'Whether it may do anything'],
      ['tags', 'Array(String)', 'Tags'],
      ['metadata', 'String', "JSON: JSONExtractString(metadata, 'room')"],
      ['created_at', US, 'When it was made'],
    ],
  },
  channels: {
    comment: 'Channels',
    from: null,
    columns: [
      ['id', 'String', 'As channel has it'],
      ['name', 'String', 'Name'],
      ['alias', 'String', '"" if none'],
      ['enabled', 'Bool', 'Whether it takes messages'],
      ['tags', 'Array(String)', 'Tags'],
      ['metadata', 'String', 'JSON'],
      ['created_at', US, 'When it was made'],
    ],
  },
};

export const isTable = (name: string): name is SqlTable => (sqlTables as readonly string[]).includes(name);
export const isInventory = (table: SqlTable): table is SqlInventory => VIEWS[table].from === null;

const literal = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
const structure = (view: View): string => literal(view.columns.map(([name, type]) => `\`${name}\` ${type}`).join(', '));

/** The tables without a row: what the engine says of a statement over them, it says of the statement alone. */
export const emptyTables = (tables: readonly SqlTable[]): string =>
  withTables(tables, (_, view) => `SELECT * FROM null(${structure(view)})`);

/** No statement has so many rows: a limit that cuts nothing, past which the engine moves no condition. Nothing of the
 *  statement is computed of any row before the org's are chosen. */
const WALL = 'LIMIT 9223372036854775807';

export interface OrgTables {
  readonly database: string;
  /** A UUID. */
  readonly org: string;
  readonly narrowing: Narrowing;
  /** Of the registry, by table: JSON, one row a line. */
  readonly inventory: ReadonlyMap<SqlTable, string>;
}

/** The tables with the org's rows. */
export const orgTables = (tables: readonly SqlTable[], { database, org, narrowing, inventory }: OrgTables): string =>
  withTables(tables, (table, view) => {
    if (view.from === null)
      return `SELECT * FROM format(JSONEachRow, ${structure(view)}, ${literal(inventory.get(table) ?? '')})`;
    const columns = view.columns.map(
      ([name, type, , from]) => `${computed(type, from) ?? from ?? `source.\`${name}\``} AS \`${name}\``,
    );
    const group = view.groupBy === undefined ? '' : ` GROUP BY ${view.groupBy}`;
    return `SELECT ${columns.join(', ')} FROM ${database}.${view.from} AS source WHERE source.org = ${literal(org)}${narrowed(view, narrowing.get(table) ?? [], 'source.')}${group} ${WALL}`;
  });

/** What is read of each table, in words: an array of texts. */
export const readAs = (tables: readonly SqlTable[], narrowing: Narrowing): string =>
  `[${tables
    .map((table) => {
      const rows = narrowed(VIEWS[table], narrowing.get(table) ?? [], '');
      return literal(`${table}: ${rows === '' ? 'all rows' : `the rows with ${rows.slice(' AND '.length)}`}`);
    })
    .join(', ')}]`;

/** Columns that tables have as they are shown here. */
const NARROWING = new Set([
  ...['channel', 'subtopic', 'publisher', 'name', 'unit', 'time', 'received'],
  ...['protocol', 'kind', 'value', 'string_value'],
]);
/** Of DateTime.  @units s */
const SECOND_MAX = 4_294_967_295n;

function narrowed({ columns }: View, lists: readonly (readonly Bound[])[], prefix: string): string {
  const source = (name: string): string | null => {
    const from = columns.find(([column]) => column === name)?.[3];
    return !NARROWING.has(name) || from?.includes('(') ? null : `${prefix}${from ?? name}`;
  };
  const shown = lists.map((bounds) =>
    bounds
      .map((bound) => {
        const column = source(bound.column);
        return column === null ? null : condition(column, bound);
      })
      .filter((each) => each !== null),
  );
  if (shown.length === 0 || shown.some((conditions) => conditions.length === 0)) return '';
  const either = [...new Set(shown.map((conditions) => conditions.join(' AND ')))];
  return ` AND ${either.length === 1 ? either[0] : `(${either.join(' OR ')})`}`;
}

/** Of a type that each column of times is compared with as it is: as wide as whole seconds. */
function condition(column: string, bound: Bound): string | null {
  switch (bound.is) {
    case 'one of':
      return `${column} IN (${bound.texts.map(literal).join(', ')})`;
    case 'begins with':
      return `startsWith(${column}, ${literal(bound.text)})`;
    case 'compared':
      return `${column} ${bound.sign} ${bound.number}`;
    case 'from':
    case 'to': {
      const second = bound.ns / 1_000_000_000n;
      if (bound.ns < 0n || second >= SECOND_MAX) return null;
      return bound.is === 'from'
        ? `${column} >= toDateTime(${second}, 'UTC')`
        : `${column} <= toDateTime(${second + 1n}, 'UTC')`;
    }
  }
}

/** Types of the table itself would show through. */
const computed = (type: string, from: string | undefined): string | null =>
  from?.includes('(') === true ? `CAST(${from}, ${literal(type)})` : null;

function withTables(tables: readonly SqlTable[], select: (table: SqlTable, view: View) => string): string {
  if (tables.length === 0) return '';
  return `WITH ${tables.map((table) => `${table} AS (${select(table, VIEWS[table])})`).join(', ')} `;
}

export const schema = (): SqlSchema => ({
  tables: sqlTables.map((name) => ({
    name,
    comment: VIEWS[name].comment,
    columns: VIEWS[name].columns.map(([column, type, comment]) => ({ name: column, type, comment })),
  })),
  functions: functionGroups(),
});
