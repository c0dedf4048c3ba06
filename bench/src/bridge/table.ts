import type { Figures } from '../figures.ts';
import { table } from '../table.ts';
import type { BridgeReport } from './report.ts';

/** Above this load for each core, other work takes part in the figures. */
const QUIET_LOAD_MAX = 0.25;
/** A generator that takes so much of its core holds the server back. */
const SATURATED_CORES = 0.95;

const COLUMNS = [
  ['mosquitto', 'mosquitto'],
  ['aedes', 'bare aedes'],
  ['millrace', 'Millrace, ingest and registry'],
  ['millrace-all', 'Millrace, all roles'],
] as const;

/** The report for people: every broker in a column. Medians of the rounds. */
export function formatBridgeReport(report: BridgeReport): string {
  const { figures, machine, settings } = report;
  const columns = COLUMNS.filter(([name]) => Object.keys(figures).some((figure) => figure.startsWith(`${name}/`)));
  const head = (first: string): string[] => [first, ...columns.map(([, label]) => label)];
  const rows = (title: string, lines: readonly Line[]): string[] => {
    const found = lines
      .map(([label, cell]) => [label, ...columns.map(([name]) => cell(figures, name))])
      .filter((cells) => cells.slice(1).some((cell) => cell !== NOTHING));
    return found.length === 0 ? [] : ['', table([head(title), ...found])];
  };
  return [
    `Millrace, the bridge: medians of ${settings.rounds} ${settings.rounds === 1 ? 'round' : 'interleaved rounds'}; ${machine.cores} cores (${machine.cpu}), Node ${machine.node}, ${machine.platform}; ${settings.mosquitto === null ? 'mosquitto is NOT INSTALLED' : `mosquitto ${settings.mosquitto}`}`,
    settings.pinned
      ? 'Each server runs on one core, the load generator on another. Millrace acknowledges after fsync and authorises; the others keep nothing and ask nobody.'
      : 'Cores are NOT SEPARATED: server and load generator share them.',
    ...(machine.loadBefore > machine.cores * QUIET_LOAD_MAX
      ? [
          `The machine was NOT QUIET before the run (load ${machine.loadBefore}): take no figure for the machine's best.`,
        ]
      : []),
    ...rows(
      `Publishes/s (p99 of the acknowledgement), ${settings.connections} connections, ${settings.payloadSize} B`,
      publishLines(figures),
    ),
    ...rows("Publishes for each second of the server's CPU", costLines(figures)),
    ...rows('Publish → subscriber, QoS 1: p50 / p99 from when it was due', deliveryLines(figures)),
    ...rows('Connections', CONNECTION_LINES),
    ...rows('Offline sessions', OFFLINE_LINES),
    '',
    "* the generator's core was full: the server could do more. ! deliveries are missing or came twice.",
    '',
    table(targetRows(report)),
    '',
  ].join('\n');
}

type Line = readonly [label: string, cell: (figures: Figures, broker: string) => string];
const NOTHING = '–';

function publishLines(figures: Figures): Line[] {
  return cases(figures, /^[^/]+\/(publish\/qos-\d\/in-flight-\d+)\//).map((base) => {
    const [, qos, inFlight] = /qos-(\d)\/in-flight-(\d+)/.exec(base) ?? [];
    return [
      `QoS ${qos}, ${inFlight} in flight`,
      (all, broker) => {
        const rate = at(all, `${broker}/${base}/publishes_per_second`);
        if (rate === null) return NOTHING;
        return `${whole(rate)}${fullMark(all, `${broker}/${base}`)} (${ms(at(all, `${broker}/${base}/ack_p99`))})`;
      },
    ];
  });
}

function costLines(figures: Figures): Line[] {
  return cases(figures, /^[^/]+\/(publish\/qos-1\/in-flight-\d+)\//).map((base) => [
    `QoS 1, ${/\d+$/.exec(base)?.[0]} in flight`,
    figure(`${base}/publishes_per_core_second`),
  ]);
}

function deliveryLines(figures: Figures): Line[] {
  return cases(figures, /^[^/]+\/(fan-in-\d+|fan-out-\d+|half)\//).map((base) => [
    deliveryLabel(base),
    (all, broker) => {
      const p50 = at(all, `${broker}/${base}/delivery_p50`);
      if (p50 === null) return NOTHING;
      const wrong = (at(all, `${broker}/${base}/missing`) ?? 0) + (at(all, `${broker}/${base}/surplus`) ?? 0) > 0;
      const rate = base === 'half' ? ` at ${whole(at(all, `${broker}/${base}/offered_per_second`) ?? 0)}/s` : '';
      return `${p50.toFixed(1)} / ${ms(at(all, `${broker}/${base}/delivery_p99`))}${rate}${fullMark(all, `${broker}/${base}`)}${wrong ? ' !' : ''}`;
    },
  ]);
}

function deliveryLabel(base: string): string {
  const count = Number(/\d+$/.exec(base)?.[0] ?? 0);
  if (base.startsWith('fan-in')) return `${whole(count)} messages/s to one subscriber`;
  if (base.startsWith('fan-out')) return `one publisher to ${whole(count)} subscribers`;
  return 'half of its maximum (QoS 1, one in flight) to one subscriber';
}

const figure =
  (name: string, format: (value: number) => string = whole) =>
  (figures: Figures, broker: string): string => {
    const value = at(figures, `${broker}/${name}`);
    return value === null ? NOTHING : format(value);
  };

const connects = (over: string) => (figures: Figures, broker: string) => {
  const rate = at(figures, `${broker}/connect/${over}/connects_per_second`);
  return rate === null ? NOTHING : `${whole(rate)}${fullMark(figures, `${broker}/connect/${over}`)}`;
};

const mib = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} MiB`;

const CONNECTION_LINES: readonly Line[] = [
  ['CONNECT/s', connects('plain')],
  ['CONNECT/s over TLS 1.3', connects('tls')],
  ["CONNECT for each second of the server's CPU", figure('connect/plain/connects_per_core_second')],
  ['the same over TLS 1.3', figure('connect/tls/connects_per_core_second')],
  ['idle connections', figure('idle/connections')],
  ['their memory (PSS above idle)', figure('idle/above_pss', mib)],
  ['connections per GiB', figure('idle/connections_per_gib')],
];

const OFFLINE_LINES: readonly Line[] = [
  ['sessions away', figure('offline/sessions')],
  ['their memory (anonymous)', figure('offline/sessions_anonymous', mib)],
  ['messages meanwhile', figure('offline/messages')],
  ['memory of these (anonymous)', figure('offline/messages_anonymous', mib)],
  ['all have caught up after', figure('offline/return_seconds', (value) => `${value.toFixed(1)} s`)],
  ['deliveries/s meanwhile', figure('offline/deliveries_per_second')],
  ['missing', figure('offline/missing')],
];

function targetRows(report: BridgeReport): string[][] {
  return [
    ['Targets', 'found', 'target', ''],
    ...report.targets.map(({ name, unit, value, bound, atLeast, reached }) => [
      name,
      value === null ? NOTHING : `${value >= 100 ? whole(value) : value.toPrecision(3)} ${unit}`,
      `${atLeast ? '≥' : '≤'} ${bound} ${unit}`,
      reached === null ? 'not measured' : reached ? 'reached' : 'MISSED',
    ]),
  ];
}

/** Cases of figures in the order in which they were measured. */
function cases(figures: Figures, name: RegExp): string[] {
  const found = new Set<string>();
  for (const figureName of Object.keys(figures)) {
    const base = name.exec(figureName)?.[1];
    if (base !== undefined) found.add(base);
  }
  return [...found];
}

const at = (figures: Figures, name: string): number | null => figures[name]?.median ?? null;
const fullMark = (figures: Figures, base: string): string =>
  (at(figures, `${base}/generator_cores`) ?? 0) >= SATURATED_CORES ? '*' : '';
function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US');
}
const ms = (value: number | null): string => (value === null ? NOTHING : `${value.toFixed(1)} ms`);
