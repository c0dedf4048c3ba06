import type { Figures } from './figures.ts';
import type { RoadReport } from './report.ts';

/** Above this load for each core, other work takes part in the figures. */
const QUIET_LOAD_MAX = 0.25;

/** The report for people: every figure beside its floors. Medians of the rounds. */
export function formatReport(report: RoadReport): string {
  const { figures, machine, settings } = report;
  const header = `Millrace, the main road: medians of ${settings.rounds} ${settings.rounds === 1 ? 'round' : 'interleaved rounds'}; ${machine.cores} cores (${machine.cpu}), ${(machine.memoryMiB / 1_024).toFixed(0)} GiB, Node ${machine.node}, ${machine.platform}; the load generator shares the cores`;
  return [
    header,
    ...(machine.loadBefore > machine.cores * QUIET_LOAD_MAX
      ? [
          `The machine was NOT QUIET before the run (load ${machine.loadBefore}): take no figure for the machine's best.`,
        ]
      : []),
    `\nEnd to end: HTTP to stored, closed loop over ${settings.connections} connections and ${settings.channels} channels, drain included`,
    table(endToEndRows(figures)),
    '\nFloors',
    table(floorRows(figures)),
    '\nAcknowledgement, open loop, packs of 10 (counted from when a message was due)',
    table(openLoopRows(figures)),
    '\nMemory of the whole process tree, MiB',
    table(memoryRows(figures)),
    ...(report.soak === null
      ? []
      : [
          `\nSoak: ${report.soak.minutes} min at ${whole(report.soak.messagesPerSecond)} messages/s; last third to first third: PSS ${ratio(report.soak.pssRatio, 1)}, without files ${ratio(report.soak.anonymousRatio, 1)}, RSS ${ratio(report.soak.rssRatio, 1)}`,
        ]),
    ...(report.targets.length === 0 ? [] : ['\nTargets', table(targetRows(report))]),
    '',
  ].join('\n');
}

const ROADS = [
  ['millrace', 'Millrace (acknowledged after fsync)'],
  ['bare-road', 'bare road (after commit): the floor'],
  ['bare-road-fsync', 'bare road (after fsync)'],
] as const;

function endToEndRows(figures: Figures): string[][] {
  const rows = [
    ['', 'messages/s', 'readings/s', 'ack p50', 'ack p99', 'lag max', 'cores', 'to bare road', 'to raw insert', '±'],
  ];
  for (const [road, label] of ROADS) {
    for (const records of [1, 10, 100]) {
      const base = `${road}/packs-${records}`;
      const readings = figures[`${base}/readings_per_second`];
      if (readings === undefined) continue;
      rows.push([
        `${label}, packs of ${records}`,
        whole(at(figures, `${base}/messages_per_second`)),
        whole(readings.median),
        ms(at(figures, `${base}/ack_p50`)),
        ms(at(figures, `${base}/ack_p99`)),
        whole(at(figures, `${base}/lag_max`)),
        at(figures, `${base}/cores`).toFixed(2),
        road === 'bare-road'
          ? ''
          : ratio(readings.median, at(figures, `bare-road/packs-${records}/readings_per_second`)),
        ratio(readings.median, at(figures, 'insert/text/rows_per_second')),
        percent(readings.spread),
      ]);
    }
  }
  return rows;
}

function floorRows(figures: Figures): string[][] {
  const messages = at(figures, 'millrace/packs-10/messages_per_second');
  const readings = at(figures, 'millrace/packs-10/readings_per_second');
  const rows = [['', 'figure', '', 'Millrace to it, packs of 10', '±']];
  const add = (label: string, name: string, unit: string, own: number): void => {
    const found = figures[name];
    if (found !== undefined)
      rows.push([label, whole(found.median), unit, ratio(own, found.median), percent(found.spread)]);
  };
  add('empty uWebSockets.js 202', 'answer/packs-10/messages_per_second', 'messages/s', messages);
  add('JSON.parse of the pack, one core', 'parse/packs-10/packs_per_second', 'packs/s', messages);
  add('raw insert, TabSeparated', 'insert/text/rows_per_second', 'rows/s', readings);
  add('raw insert, Native', 'insert/native/rows_per_second', 'rows/s', readings);
  const sync = figures['sync/4-kib/syncs_per_second'];
  if (sync !== undefined) {
    const label = `4 KiB on disk (p50 ${ms(at(figures, 'sync/4-kib/p50'))}, p99 ${ms(at(figures, 'sync/4-kib/p99'))})`;
    rows.push([label, whole(sync.median), 'syncs/s', '', percent(sync.spread)]);
  }
  add('bare road (after commit)', 'bare-road/packs-10/readings_per_second', 'readings/s', readings);
  return rows;
}

function openLoopRows(figures: Figures): string[][] {
  const rows = [['', 'offered/s', 'accepted/s', 'p50', 'p99', 'max', 'generator late p99']];
  for (const [road, label] of ROADS) {
    for (const [load, what] of [
      ['open-10k', '10,000/s'],
      ['open-half', 'half of its maximum'],
    ]) {
      const base = `${road}/${load}`;
      if (figures[`${base}/ack_p50`] === undefined) continue;
      rows.push([
        `${label}, ${what}`,
        whole(at(figures, `${base}/offered_per_second`)),
        whole(at(figures, `${base}/accepted_per_second`)),
        ms(at(figures, `${base}/ack_p50`)),
        ms(at(figures, `${base}/ack_p99`)),
        ms(at(figures, `${base}/ack_max`)),
        ms(at(figures, `${base}/generator_late_p99`)),
      ]);
    }
  }
  return rows;
}

function memoryRows(figures: Figures): string[][] {
  const rows = [['', 'PSS', 'without files', 'sum of RSS']];
  const idle = 'millrace/idle/memory';
  if (figures[`${idle}_pss`] !== undefined) {
    rows.push(['Millrace, idle', ...['pss', 'anonymous', 'rss'].map((kind) => whole(at(figures, `${idle}_${kind}`)))]);
  }
  for (const [road, label] of [
    ['millrace', 'Millrace'],
    ['bare-road', 'bare road'],
  ]) {
    const found = figures[`${road}/packs-10/memory_pss_max`];
    if (found !== undefined) rows.push([`${label}, most under packs of 10`, whole(found.median), '', '']);
  }
  return rows;
}

function targetRows(report: RoadReport): string[][] {
  const rows = [['', 'found', 'target', '']];
  for (const { name, unit, value, bound, reached } of report.targets) {
    const atLeast = name.startsWith('readings/s');
    rows.push([
      name,
      `${short(value)} ${unit}`,
      `${atLeast ? '≥' : '≤'} ${bound} ${unit}`,
      reached ? 'reached' : 'MISSED',
    ]);
  }
  return rows;
}

/** Columns of equal width: the first to the left, the others to the right. */
export function table(rows: readonly string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `  ${line}`)
    .join('\n');
}

const at = (figures: Figures, name: string): number => figures[name]?.median ?? Number.NaN;
const whole = (value: number): string => (Number.isFinite(value) ? Math.round(value).toLocaleString('en-US') : '–');
const short = (value: number): string => (value >= 100 ? whole(value) : value.toPrecision(3));
const ms = (value: number): string => (Number.isFinite(value) ? `${value.toFixed(1)} ms` : '–');
const ratio = (value: number, floor: number): string =>
  Number.isFinite(value / floor) ? (value / floor).toFixed(2) : '–';
const percent = (share: number): string => `${Math.round(share * 50)} %`;
