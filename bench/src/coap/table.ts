import type { Figures } from '../figures.ts';
import { table } from '../table.ts';
import type { CoapReport } from './report.ts';

/** Above this load for each core, other work takes part in the figures. */
const QUIET_LOAD_MAX = 0.25;
/** A generator that takes so much of its core holds the server back. */
const SATURATED_CORES = 0.95;
const ROWS = [
  ['floor/publish', 'coap-packet over dgram, parse and acknowledge: the floor'],
  ['millrace/publish', 'Millrace, CoAP: authorised, acknowledged after fsync'],
  ['millrace/secure', 'Millrace, CoAPS: the same over DTLS'],
] as const;

/** The report for people. Medians of the rounds. */
export function formatCoapReport(report: CoapReport): string {
  const { figures, machine, settings } = report;
  const at = (name: string): number | null => figures[name]?.median ?? null;
  return [
    `Millrace, the road by CoAP: medians of ${settings.rounds} ${settings.rounds === 1 ? 'round' : 'interleaved rounds'}; ${machine.cores} cores (${machine.cpu}), Node ${machine.node}, ${machine.platform}`,
    settings.pinned
      ? 'The server runs on one core, the load generator on another.'
      : 'Cores are NOT SEPARATED: server and load generator share them.',
    ...(machine.loadBefore > machine.cores * QUIET_LOAD_MAX
      ? [`The machine was NOT QUIET before the run (load ${machine.loadBefore}): take no figure for its best.`]
      : []),
    `\nConfirmable POST, closed loop, ${settings.clients} devices`,
    table([
      ['', 'requests/s', 'to the floor', 'p50', 'p99', "for a second of the server's CPU", 'repeated', 'refused'],
      ...ROWS.filter(([base]) => at(`${base}/requests_per_second`) !== null).map(([base, label]) => [
        label,
        whole(at(`${base}/requests_per_second`)) + ((at(`${base}/generator_cores`) ?? 0) > SATURATED_CORES ? ' *' : ''),
        ratio(figures, `${base}/requests_per_second`, 'floor/publish/requests_per_second'),
        ms(at(`${base}/p50`)),
        ms(at(`${base}/p99`)),
        whole(at(`${base}/requests_per_core_second`)),
        whole(at(`${base}/repeated`)),
        whole(at(`${base}/refused`)),
      ]),
    ]),
    "* the generator's core was full: the server could do more.",
    `\nObserve: ${whole(settings.observers)} observers`,
    table([
      ['notifications/s', 'p50', 'p99', 'missing', 'twice'],
      [
        whole(at('millrace/observe/delivered_per_second')),
        ms(at('millrace/observe/delay_p50')),
        ms(at('millrace/observe/delay_p99')),
        whole(at('millrace/observe/missing')),
        whole(at('millrace/observe/duplicates')),
      ],
    ]),
    '\nHandshakes with a pre-shared key, and memory',
    table([
      ['handshakes/s', "for a second of the server's CPU", 'RSS idle', 'above idle under load'],
      [
        whole(at('millrace/handshakes/per_second')),
        whole(at('millrace/handshakes/per_core_second')),
        `${whole(at('millrace/idle/memory_rss'))} MiB`,
        `${whole(at('millrace/load/memory_above_idle'))} MiB`,
      ],
    ]),
    '',
    table([
      ['Target', 'found', 'bound', ''],
      ...report.targets.map(({ name, unit, value, bound, atLeast, reached }) => [
        name,
        value === null ? 'not measured' : `${value} ${unit}`,
        `${atLeast ? '≥' : '≤'} ${bound} ${unit}`,
        reached === null ? '' : reached ? 'reached' : 'MISSED',
      ]),
    ]),
    '',
  ].join('\n');
}

const whole = (value: number | null): string => (value === null ? '–' : Math.round(value).toLocaleString('en-US'));
const ms = (value: number | null): string => (value === null ? '–' : `${value.toFixed(2)} ms`);
function ratio(figures: Figures, own: string, other: string): string {
  const [a, b] = [figures[own]?.median, figures[other]?.median];
  return a === undefined || b === undefined || b === 0 ? '–' : (a / b).toFixed(2);
}
