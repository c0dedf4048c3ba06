/** Which cluster, as ClickHouse's configuration names it, and which database there. */
export interface ClusterPlace {
  readonly cluster: string;
  readonly database: string;
}

/** So long a table remembers its inserts by their tokens at most: an outage must be shorter. Servers' own standard has
 *  been an hour and a week. @units s */
export const DEDUPLICATION_WINDOW_S = 604_800;

/** Same rows on every server of the cluster: what there is one of. */
const ON_EVERY_SERVER = /^schema_/;

/** The table that holds a shard's rows; the name itself is what is asked, over all shards. */
export const localTable = (name: string): string => (ON_EVERY_SERVER.test(name) ? name : `${name}_local`);

const CREATE_TABLE = /^CREATE TABLE IF NOT EXISTS (\w+) \(/;
const CREATE_VIEW = /^CREATE (OR REPLACE VIEW|VIEW IF NOT EXISTS) (\w+) AS\b/;
const CREATE_MATERIALIZED_VIEW = /^CREATE MATERIALIZED VIEW IF NOT EXISTS (\w+) TO (\w+) AS\b/;
const RENAME_VIEWS = /^RENAME TABLE (IF EXISTS )?(\w+_view TO \w+_view(?:, \w+_view TO \w+_view)*)$/;
const MODIFY_QUERY = /^ALTER TABLE (\w+) MODIFY QUERY\b/;
const ALTER_TABLE = /^ALTER TABLE (\w+) (.*)$/s;
const TRUNCATE_TABLE = /^TRUNCATE TABLE (\w+)$/;
const ENGINE = /\bENGINE = (\w*)MergeTree(?:\(([^)]*)\))?/;
const FROM_TABLE = /\bFROM ([a-z]\w*)\b/g;

/** A statement that defines something, as a cluster needs it: on all servers, each shard's tables replicated, and over
 *  all shards a Distributed table by the name that all questions use. One that defines nothing stays as it is.
 *
 *  Paths in Keeper are made of what the operator names and the macro `{shard}`, not of a table's UUID, so that a new
 *  replica finds its shard though it is made later; replicas are told apart by `{replica}`.
 *  @source docs/adr/0024 */
export function clustered(statement: string, place: ClusterPlace): string[] {
  const { cluster, database } = place;
  const on = `ON CLUSTER '${cluster}'`;
  const text = statement.trim();

  const table = CREATE_TABLE.exec(text);
  if (table?.[1] !== undefined) {
    const name = table[1];
    const local = localTable(name);
    const created = replicated(text, place, name).replace(
      CREATE_TABLE,
      `CREATE TABLE IF NOT EXISTS ${database}.${local} ${on} (`,
    );
    if (local === name) return [created];
    return [
      created,
      `CREATE TABLE IF NOT EXISTS ${database}.${name} ${on} AS ${database}.${local} ENGINE = Distributed('${cluster}', '${database}', '${local}')`,
    ];
  }

  const target = CREATE_MATERIALIZED_VIEW.exec(text);
  if (target?.[1] !== undefined && target[2] !== undefined)
    return [
      text
        .replace(
          CREATE_MATERIALIZED_VIEW,
          `CREATE MATERIALIZED VIEW IF NOT EXISTS ${database}.${target[1]} ${on} TO ${database}.${localTable(target[2])} AS`,
        )
        .replaceAll(FROM_TABLE, (_, name: string) => `FROM ${database}.${localTable(name)}`),
    ];

  const view = CREATE_VIEW.exec(text);
  if (view?.[1] !== undefined && view[2] !== undefined)
    return [
      text
        .replace(CREATE_VIEW, `CREATE ${view[1]} ${database}.${view[2]} ${on} AS`)
        .replaceAll(FROM_TABLE, (_, name: string) => `FROM ${database}.${name}`),
    ];

  // Materialized views are each server’s own.
  const modified = MODIFY_QUERY.exec(text);
  if (modified?.[1] !== undefined)
    return [
      text
        .replace(MODIFY_QUERY, `ALTER TABLE ${database}.${modified[1]} ${on} MODIFY QUERY`)
        .replaceAll(FROM_TABLE, (_, name: string) => `FROM ${database}.${localTable(name)}`),
    ];

  const renamed = RENAME_VIEWS.exec(text);
  if (renamed?.[2] !== undefined)
    return [`RENAME TABLE ${renamed[1] ?? ''}${renamed[2].replaceAll(/\w+_view/g, `${database}.$&`)} ${on}`];

  const altered = ALTER_TABLE.exec(text);
  if (altered?.[1] !== undefined && altered[2] !== undefined) {
    const [, name, change] = altered;
    const local = `ALTER TABLE ${database}.${localTable(name)} ${on} ${replicatedSettings(change)}`;
    // Columns are those of both; indexes, settings and rows are the local table's alone.
    const columns =
      /^(ADD|DROP|RENAME) COLUMN\b/.test(change) ||
      (/^MODIFY COLUMN\b/.test(change) && !/\b(CODEC|TTL)\b/.test(change));
    if (localTable(name) === name || !columns) return [local];
    return [local, `ALTER TABLE ${database}.${name} ${on} ${change}`];
  }

  const truncated = TRUNCATE_TABLE.exec(text);
  if (truncated?.[1] !== undefined) return [`TRUNCATE TABLE ${database}.${localTable(truncated[1])} ${on}`];

  if (/^(CREATE|ALTER|DROP|RENAME|ATTACH|DETACH|OPTIMIZE)\b/.test(text) && !/^CREATE DATABASE\b/.test(text))
    throw new RangeError(`no form for a cluster is known of: ${text.slice(0, 60)}`);
  return [text];
}

function replicated(text: string, { cluster, database }: ClusterPlace, name: string): string {
  const path = `/clickhouse/tables/${cluster}/${database}`;
  const where = ON_EVERY_SERVER.test(name)
    ? `'${path}/every-server/${name}', '{shard}-{replica}'`
    : `'${path}/{shard}/${name}', '{replica}'`;
  const found = ENGINE.exec(text);
  if (found === null) throw new RangeError(`no engine of the MergeTree family: ${name}`);
  const [engine, kind = '', more] = found;
  const given = more === undefined || more === '' ? where : `${where}, ${more}`;
  return replicatedSettings(text.replace(engine, `ENGINE = Replicated${kind}MergeTree(${given})`));
}

const replicatedSettings = (text: string): string =>
  text.replace(
    /\bnon_replicated_deduplication_window = (\d+)/,
    `replicated_deduplication_window = $1, replicated_deduplication_window_seconds = ${DEDUPLICATION_WINDOW_S}`,
  );
