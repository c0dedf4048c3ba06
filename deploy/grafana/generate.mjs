// Writes dashboards/*.json: node deploy/grafana/generate.mjs. What is changed in Grafana belongs here afterwards.
import { writeFileSync } from 'node:fs';
import { READINGS } from './readings.mjs';

const NODES = '{job="millrace",instance=~"$instance"}';
/** Inside a selector that has more conditions. */
const AT = 'job="millrace",instance=~"$instance"';
const RATE = '$__rate_interval';
const rate = (metric, by, more = '') =>
  `sum${by === '' ? '' : ` by (${by})`} (rate(${metric}{${AT}${more === '' ? '' : `,${more}`}}[${RATE}]))`;
const quantile = (q, metric, by = '') =>
  `histogram_quantile(${q}, sum by (le${by === '' ? '' : `, ${by}`}) (rate(${metric}_bucket{${AT}}[${RATE}])))`;
/** Nodes tell of the same partitions: each is counted once. */
const lag = (by) => `sum by (${by}) (max by (topic, group, partition) (millrace_log_lag_messages${NODES}))`;

/** [title, unit, [[expression, legend], …], width of 24] */
const DASHBOARDS = {
  overview: [
    'Millrace: overview',
    [
      [
        'Messages accepted',
        'cps',
        [[rate('millrace_ingest_messages_total', 'protocol', 'outcome="accepted"'), '{{protocol}}']],
      ],
      [
        'Messages refused',
        'cps',
        [[rate('millrace_ingest_messages_total', 'reason', 'outcome="refused"'), '{{reason}}']],
      ],
      ['Waiting to be stored', 'short', [[lag('group'), '{{group}}']]],
      ['What became of messages', 'cps', [[rate('millrace_processor_messages_total', 'outcome'), '{{outcome}}']]],
      ['Readings stored', 'cps', [[rate('millrace_processor_readings_total', ''), 'readings']]],
      ['Connections', 'short', [[`sum by (protocol) (millrace_ingest_connections${NODES})`, '{{protocol}}']]],
      ['Time to acknowledge, p99', 's', [[quantile(0.99, 'millrace_ingest_ack_seconds', 'protocol'), '{{protocol}}']]],
      [
        'Nodes that answer',
        'short',
        [
          ['sum(up{job="millrace"})', 'up'],
          ['count(up{job="millrace"})', 'known'],
        ],
      ],
    ],
  ],
  ingest: [
    'Millrace: ingest by protocol',
    [
      ['Accepted', 'cps', [[rate('millrace_ingest_messages_total', 'protocol', 'outcome="accepted"'), '{{protocol}}']]],
      ['Payload', 'Bps', [[rate('millrace_ingest_bytes_total', 'protocol'), '{{protocol}}']]],
      [
        'Refused',
        'cps',
        [[rate('millrace_ingest_messages_total', 'protocol, reason', 'outcome="refused"'), '{{protocol}} {{reason}}']],
      ],
      [
        'Waiting for the log',
        'short',
        [[`sum by (protocol) (millrace_ingest_in_flight_messages${NODES})`, '{{protocol}}']],
      ],
      ['Bytes under way', 'bytes', [[`sum by (protocol) (millrace_ingest_in_flight_bytes${NODES})`, '{{protocol}}']]],
      ['Time to acknowledge, p50', 's', [[quantile(0.5, 'millrace_ingest_ack_seconds', 'protocol'), '{{protocol}}']]],
      ['Time to acknowledge, p99', 's', [[quantile(0.99, 'millrace_ingest_ack_seconds', 'protocol'), '{{protocol}}']]],
      [
        'Decisions on messages',
        'cps',
        [[rate('millrace_policy_decisions_total', 'memo, outcome'), '{{memo}} {{outcome}}']],
      ],
      ['Control plane', 'reqps', [[rate('millrace_control_request_seconds_count', 'status'), '{{status}}']]],
      ['Control plane, p99', 's', [[quantile(0.99, 'millrace_control_request_seconds', 'method'), '{{method}}']]],
    ],
  ],
  log: [
    'Millrace: log and lag',
    [
      ['Appended', 'cps', [[rate('millrace_log_appends_total', 'topic'), '{{topic}}']]],
      ['Appended bytes', 'Bps', [[rate('millrace_log_append_bytes_total', 'topic'), '{{topic}}']]],
      ['Lag by group', 'short', [[lag('group'), '{{group}}']]],
      ['Lag by partition', 'short', [[lag('group, partition'), '{{group}} {{partition}}']]],
      [
        'Commit, p50 and p99',
        's',
        [
          [quantile(0.5, 'millrace_log_commit_seconds'), 'p50'],
          [quantile(0.99, 'millrace_log_commit_seconds'), 'p99'],
        ],
      ],
      ['Not durable yet', 'bytes', [[`sum by (instance) (millrace_log_pending_bytes${NODES})`, '{{instance}}']]],
      ['Refused by the log', 'cps', [[rate('millrace_log_refused_total', 'reason'), '{{reason}}']]],
      ['Size of the embedded log', 'bytes', [[`sum by (instance) (millrace_log_bytes${NODES})`, '{{instance}}']]],
    ],
  ],
  storage: [
    'Millrace: processors and storage',
    [
      [
        'Messages by outcome',
        'cps',
        [[rate('millrace_processor_messages_total', 'outcome, reason'), '{{outcome}} {{reason}}']],
      ],
      ['Dead records', 'cps', [[rate('millrace_processor_dead_records_total', 'reason'), '{{reason}}']]],
      ['Batches', 'cps', [[rate('millrace_processor_batches_total', 'instance'), '{{instance}}']]],
      [
        'A batch, p50 and p99',
        's',
        [
          [quantile(0.5, 'millrace_processor_batch_seconds'), 'p50'],
          [quantile(0.99, 'millrace_processor_batch_seconds'), 'p99'],
        ],
      ],
      ['Tried again', 'cps', [[rate('millrace_processor_retries_total', 'reason'), '{{reason}}']]],
      ['Rows', 'cps', [[rate('millrace_store_rows_total', 'table'), '{{table}}']]],
      ['Inserts by outcome', 'cps', [[rate('millrace_store_inserts_total', 'outcome'), '{{outcome}}']]],
      ['An insert, p99', 's', [[quantile(0.99, 'millrace_store_insert_seconds', 'table'), '{{table}}']]],
      [
        'Queries',
        'cps',
        [[rate('millrace_store_query_seconds_count', 'question, outcome'), '{{question}} {{outcome}}']],
      ],
      ['A query, p99', 's', [[quantile(0.99, 'millrace_store_query_seconds', 'question'), '{{question}}']]],
      [
        'PostgreSQL connections',
        'short',
        [[`sum by (instance, state) (millrace_registry_connections${NODES})`, '{{instance}} {{state}}']],
      ],
      [
        'Last heard of changes',
        's',
        [[`max by (instance) (millrace_registry_poll_age_seconds${NODES})`, '{{instance}}']],
      ],
    ],
  ],
  devices: [
    'Millrace: MQTT, CoAP, LoRaWAN, subscribers',
    [
      ['MQTT: CONNECTs', 'cps', [[rate('millrace_mqtt_connects_total', 'result'), '{{result}}']]],
      ['MQTT: ends', 'cps', [[rate('millrace_mqtt_closes_total', 'reason'), '{{reason}}']]],
      ['MQTT: sent', 'cps', [[rate('millrace_mqtt_sent_total', 'qos'), 'QoS {{qos}}']]],
      ['MQTT: sessions', 'short', [[`sum by (state) (millrace_mqtt_sessions${NODES})`, '{{state}}']]],
      ['CoAP: requests', 'reqps', [[rate('millrace_coap_requests_total', 'method, class'), '{{method}} {{class}}']]],
      [
        'CoAP: peers and observers',
        'short',
        [
          [`sum(millrace_coap_peers${NODES})`, 'peers'],
          [`sum(millrace_coap_observers${NODES})`, 'observers'],
        ],
      ],
      ['CoAPS: handshakes', 'cps', [[rate('millrace_coaps_handshakes_total', 'outcome'), '{{outcome}}']]],
      ['LwM2M: registrations', 'short', [[`sum(millrace_lwm2m_registrations${NODES})`, 'registered']]],
      ['LoRaWAN: events', 'cps', [[rate('millrace_lora_events_total', 'type, outcome'), '{{type}} {{outcome}}']]],
      ['LoRaWAN: brokers', 'short', [[`sum by (state) (millrace_lora_servers${NODES})`, '{{state}}']]],
      [
        'Subscribers: places in the log',
        'short',
        [[`sum by (state) (millrace_delivery_cursors${NODES})`, '{{state}}']],
      ],
      ['Subscribers: delay, p99', 's', [[quantile(0.99, 'millrace_delivery_lag_seconds'), 'p99']]],
      ['WebSockets and event streams', 'short', [[`sum by (kind) (millrace_live_connections${NODES})`, '{{kind}}']]],
      ['Commands to devices', 'cps', [[rate('millrace_commands_total', 'kind, state'), '{{kind}} {{state}}']]],
    ],
  ],
  process: [
    'Millrace: processes',
    [
      ['CPU', 'percentunit', [[rate('millrace_process_cpu_seconds_total', 'instance'), '{{instance}}']]],
      ['Memory', 'bytes', [[`millrace_process_resident_memory_bytes${NODES}`, '{{instance}}']]],
      ['JavaScript heap', 'bytes', [[`millrace_nodejs_heap_size_used_bytes${NODES}`, '{{instance}}']]],
      ['Delay of the event loop, p99', 's', [[`millrace_nodejs_eventloop_lag_p99_seconds${NODES}`, '{{instance}}']]],
      ['Open files', 'short', [[`millrace_process_open_fds${NODES}`, '{{instance}}']]],
      [
        'Garbage collection',
        'percentunit',
        [[rate('millrace_nodejs_gc_duration_seconds_sum', 'instance, kind'), '{{instance}} {{kind}}']],
      ],
    ],
  ],
};

const WIDTH = 12;
const HEIGHT = 8;
const DATASOURCE = { type: 'prometheus', uid: 'prometheus' };

function panel([title, unit, queries], index) {
  return {
    id: index + 1,
    type: 'timeseries',
    title,
    datasource: DATASOURCE,
    gridPos: { x: (index % 2) * WIDTH, y: Math.floor(index / 2) * HEIGHT, w: WIDTH, h: HEIGHT },
    fieldConfig: { defaults: { unit, min: 0, custom: { fillOpacity: 8, showPoints: 'never' } }, overrides: [] },
    options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: queries.map(([expr, legendFormat], at) => ({
      refId: 'ABCDEF'[at],
      expr,
      legendFormat,
      datasource: DATASOURCE,
    })),
  };
}

const directory = process.argv[2] ?? new URL('dashboards', import.meta.url).pathname;
for (const [name, [title, panels]] of Object.entries(DASHBOARDS)) {
  const dashboard = {
    uid: `millrace-${name}`,
    title,
    tags: ['millrace'],
    schemaVersion: 39,
    timezone: 'browser',
    time: { from: 'now-1h', to: 'now' },
    refresh: '15s',
    graphTooltip: 1,
    links: [{ type: 'dashboards', tags: ['millrace'], asDropdown: true, title: 'Millrace', keepTime: true }],
    templating: {
      list: [
        {
          name: 'instance',
          type: 'query',
          datasource: DATASOURCE,
          query: { query: 'label_values(up{job="millrace"}, instance)', refId: 'instances' },
          refresh: 2,
          includeAll: true,
          multi: true,
          current: { text: 'All', value: '$__all' },
        },
      ],
    },
    panels: panels.map(panel),
  };
  writeFileSync(`${directory}/${name}.json`, `${JSON.stringify(dashboard, null, 2)}\n`);
}
for (const [name, dashboard] of Object.entries(READINGS))
  writeFileSync(`${directory}/${name}.json`, `${JSON.stringify(dashboard, null, 2)}\n`);
