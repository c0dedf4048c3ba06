// biome-ignore-all lint/suspicious/noTemplateCurlyInString: Grafana's own variables
// Dashboards of readings: by ClickHouse's own plugin, which sees all organisations, and by REST (Infinity), which sees
// what its API key may. generate.mjs writes them; docs/grafana.md says how they are set up.
const CLICKHOUSE = { type: 'grafana-clickhouse-datasource', uid: 'millrace-clickhouse' };
const REST = { type: 'yesoreyeram-infinity-datasource', uid: 'millrace-rest' };
const HEIGHT = 8;

const among = (column) => `${column} IN (\${${column}:singlequote})`;
const CHANNELS = `${among('org')} AND ${among('channel')}`;
const SERIES = `${CHANNELS} AND ${among('name')} AND ${among('publisher')}`;

/** [title, kind, unit, statement, width of 24]. Labels are columns of text: never two series in one line. */
const CLICKHOUSE_PANELS = [
  [
    'Readings',
    'timeseries',
    'none',
    `SELECT $__timeInterval(time) AS bucket, name, publisher, subtopic, unit, avg(value) AS mean FROM readings WHERE ${SERIES} AND $__timeFilter(time) AND isNotNull(value) GROUP BY bucket, name, publisher, subtopic, unit ORDER BY bucket`,
    24,
  ],
  [
    'Latest',
    'table',
    'none',
    `SELECT name, publisher, subtopic, time, value, unit, string_value, bool_value FROM latest WHERE ${SERIES} ORDER BY time DESC LIMIT 500`,
    24,
  ],
  [
    'Readings a second',
    'timeseries',
    'cps',
    `SELECT $__timeInterval(received) AS bucket, name, count() / $__interval_s AS readings FROM readings WHERE ${SERIES} AND $__timeFilter(received) GROUP BY bucket, name ORDER BY bucket`,
    12,
  ],
  [
    'Messages a second',
    'timeseries',
    'cps',
    `SELECT $__timeInterval(received) AS bucket, protocol, decision, count() / $__interval_s AS messages FROM message_log WHERE ${CHANNELS} AND $__timeFilter(received) GROUP BY bucket, protocol, decision ORDER BY bucket`,
    12,
  ],
  [
    'Dead letters by reason',
    'timeseries',
    'short',
    `SELECT $__timeInterval(received) AS bucket, reason, count() AS letters FROM dead_letters WHERE ${CHANNELS} AND $__timeFilter(received) GROUP BY bucket, reason ORDER BY bucket`,
    12,
  ],
  [
    'Dead letters',
    'table',
    'none',
    `SELECT received, channel, publisher, protocol, reason, detail, toString(id) AS message FROM dead_letters WHERE ${CHANNELS} AND $__timeFilter(received) ORDER BY received DESC LIMIT 200`,
    12,
  ],
];

/** [name, statement, several]: each of those before narrows it down. Rollups tell what there is in few rows. */
const CLICKHOUSE_VARIABLES = [
  ['org', 'SELECT DISTINCT org FROM readings_1h ORDER BY org', false],
  ['channel', `SELECT DISTINCT channel FROM readings_1h WHERE ${among('org')} ORDER BY channel`, false],
  ['name', `SELECT DISTINCT name FROM readings_1h WHERE ${CHANNELS} ORDER BY name`, true],
  [
    'publisher',
    `SELECT DISTINCT publisher FROM readings_1h WHERE ${CHANNELS} AND ${among('name')} ORDER BY publisher`,
    true,
  ],
];

const column = (selector, type = 'string') => ({ selector, text: selector, type });
const TIME = column('time', 'timestamp');
const RANGE = { from: '${__from:date:iso}', to: '${__to:date:iso}' };
const WHICH = { channels: ['$channel'], names: ['$name'] };
const IDS = [column('name'), column('publisher'), column('subtopic'), column('unit')];

/** [title, kind, unit, query, width] */
const REST_PANELS = [
  [
    'Readings',
    'timeseries',
    'none',
    {
      path: '/readings/query?format=csv',
      body: { ...WHICH, ...RANGE, aggregations: ['avg'], interval: '${__interval_ms}ms', time: 'rfc3339' },
      columns: [TIME, ...IDS, column('avg', 'number')],
    },
    24,
  ],
  [
    'Lowest and highest by the hour',
    'timeseries',
    'none',
    {
      path: '/readings/query?format=csv',
      body: { ...WHICH, ...RANGE, aggregations: ['min', 'max'], interval: '1h', time: 'rfc3339' },
      columns: [TIME, ...IDS, column('min', 'number'), column('max', 'number')],
    },
    12,
  ],
  [
    'Latest',
    'table',
    'none',
    {
      path: '/readings/latest',
      body: { ...WHICH, time: 'rfc3339' },
      root: 'messages',
      columns: [TIME, ...IDS, column('value', 'number')],
    },
    12,
  ],
  [
    'Most restless (SQL)',
    'table',
    'none',
    {
      path: '/sql',
      body: {
        query:
          'SELECT publisher, count() AS readings, varSampOrNull(value) AS variance FROM readings WHERE name = {name:String} AND time >= fromUnixTimestamp64Milli({from:Int64}) GROUP BY publisher ORDER BY variance DESC LIMIT 10',
        parameters: { name: '$name', from: '${__from}' },
      },
      root: 'data',
      columns: [column('publisher'), column('readings', 'number'), column('variance', 'number')],
    },
    12,
  ],
  [
    'Dead letters',
    'table',
    'none',
    {
      path: '/dead-letters?channel=$channel&limit=100',
      root: 'dead_letters',
      columns: [column('received', 'timestamp'), column('publisher'), column('reason'), column('detail')],
    },
    12,
  ],
];
const REST_VARIABLES = [
  [
    'channel',
    {
      path: '/channels?limit=1000&order=name&dir=asc',
      root: 'channels',
      columns: [
        { selector: 'name', text: '__text', type: 'string' },
        { selector: 'id', text: '__value', type: 'string' },
      ],
    },
  ],
  [
    'name',
    {
      path: '/readings/latest',
      body: { channels: ['$channel'], limit: 10000 },
      root: 'messages',
      columns: [column('name')],
    },
  ],
];

const clickhouseTarget = (statement, kind) => ({
  refId: 'A',
  datasource: CLICKHOUSE,
  pluginVersion: '4.13.0',
  editorType: 'sql',
  queryType: kind,
  format: kind === 'table' ? 1 : 0,
  rawSql: statement,
});

/** Quoted and escaped by Grafana: a name may hold quotes. */
const bodyText = (body) => JSON.stringify(body).replaceAll(/"\$(channel|name)"/g, '${$1:doublequote}');

function restTarget({ path, body, root = '', columns }, kind) {
  const isCsv = path.includes('format=csv');
  return {
    refId: 'A',
    datasource: REST,
    type: isCsv ? 'csv' : 'json',
    source: 'url',
    parser: 'backend',
    format: kind,
    url: path,
    url_options:
      body === undefined
        ? { method: 'GET' }
        : { method: 'POST', body_type: 'raw', body_content_type: 'application/json', data: bodyText(body) },
    root_selector: root,
    columns,
    filters: [],
  };
}

function panels(list, datasource, targetOf) {
  let [x, y] = [0, 0];
  return list.map(([title, kind, unit, query, w], index) => {
    if (x + w > 24) [x, y] = [0, y + HEIGHT];
    const gridPos = { x, y, w, h: HEIGHT };
    x += w;
    const custom = kind === 'table' ? {} : { custom: { fillOpacity: 8, showPoints: 'auto' } };
    return {
      id: index + 1,
      type: kind,
      title,
      datasource,
      gridPos,
      fieldConfig: { defaults: { unit, ...custom }, overrides: [] },
      options:
        kind === 'table'
          ? { showHeader: true }
          : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } },
      targets: [targetOf(query, kind)],
    };
  });
}

const variable = (name, datasource, query, several) => ({
  name,
  type: 'query',
  datasource,
  query,
  refresh: 2,
  multi: several,
  includeAll: several,
  ...(several ? { current: { text: 'All', value: '$__all' } } : {}),
});

const dashboard = (uid, title, description, variables, shown) => ({
  uid,
  title,
  description,
  tags: ['millrace', 'readings'],
  schemaVersion: 39,
  timezone: 'browser',
  time: { from: 'now-6h', to: 'now' },
  refresh: '30s',
  graphTooltip: 1,
  links: [{ type: 'dashboards', tags: ['millrace'], asDropdown: true, title: 'Millrace', keepTime: true }],
  templating: { list: variables },
  panels: shown,
});

export const READINGS = {
  'readings-clickhouse': dashboard(
    'millrace-readings-clickhouse',
    'Millrace: readings (ClickHouse)',
    'Of all organisations: for who runs the platform.',
    CLICKHOUSE_VARIABLES.map(([name, statement, several]) => variable(name, CLICKHOUSE, statement, several)),
    panels(CLICKHOUSE_PANELS, CLICKHOUSE, clickhouseTarget),
  ),
  'readings-rest': dashboard(
    'millrace-readings-rest',
    'Millrace: readings (REST)',
    'Of one organisation: what the API key of the data source may read.',
    REST_VARIABLES.map(([name, query]) =>
      variable(name, REST, { queryType: 'infinity', refId: name, infinityQuery: restTarget(query, 'table') }, false),
    ),
    panels(REST_PANELS, REST, restTarget),
  ),
};
