import { table } from '../table.ts';
import { SMALL_MEMORY_MAX, type SmallReport } from './report.ts';

/** The report for people. */
export function formatSmallReport(report: SmallReport): string {
  const { settings, machine, load, queries, idle, memory, largest } = report;
  const refused = Object.entries(load.refused).map(([answer, count]) => `${count} × ${answer}`);
  const share = (value: number | undefined): string => (value === undefined ? '–' : value.toFixed(0));
  return [
    `Millrace, profile ${settings.profile}: ${settings.messagesPerSecond} messages/s for ${settings.seconds} s by HTTP and MQTT; ${machine.cores} cores (${machine.cpu}), Node ${machine.node}, ${machine.platform}, load before ${machine.loadBefore}`,
    '\nMemory of the tree, MiB, as on a machine of its own',
    table([
      ['', 'all', 'anonymous', 'files'],
      ['idle', share(idle?.total), share(idle?.anonymous), share(idle?.files)],
      ['largest', share(largest?.total), share(largest?.anonymous), share(largest?.files)],
      ['p99 of the samples', share(memory?.p99), '', ''],
      ['last', share(memory?.last), '', ''],
    ]),
    ...(largest === null
      ? []
      : [
          `  anonymous by program: ${Object.entries(largest.byProgram)
            .map(([program, size]) => `${program} ${size.toFixed(0)}`)
            .join(', ')}`,
        ]),
    '\nWork',
    table([
      ['', ''],
      ['acknowledged', `${load.accepted} of ${load.offered}${refused.length === 0 ? '' : ` (${refused.join(', ')})`}`],
      ['acknowledgement p50, p99', `${load.ackP50.toFixed(1)} ms, ${load.ackP99.toFixed(1)} ms`],
      ['readings stored, acknowledged', `${report.stored}, ${load.readings}`],
      ['queries, p50, longest', `${queries.count}, ${queries.p50.toFixed(0)} ms, ${queries.max.toFixed(0)} ms`],
      ['queries that failed', String(queries.failed)],
      ['cores', report.cores.toFixed(2)],
    ]),
    memory === null
      ? '\nThis system does not tell how much memory a process takes.'
      : `\n${report.reached ? 'reached' : 'NOT REACHED'}: at most ${SMALL_MEMORY_MAX} MiB (${memory.max.toFixed(0)}), and all that was acknowledged stored`,
    '',
  ].join('\n');
}
