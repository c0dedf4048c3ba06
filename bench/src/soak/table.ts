import { table } from '../table.ts';
import type { SoakReport } from './report.ts';

/** The report for people. */
export function formatSoakReport(report: SoakReport): string {
  const { machine, minutes, perSecond, sustainable, load, beside, account, growth, problems } = report;
  const number = (value: number): string => (Number.isFinite(value) ? Math.round(value).toLocaleString('en') : '–');
  return [
    `Millrace, a soak of ${minutes} minutes at ${number(perSecond)} messages/s of ten readings (${number(sustainable)} were sustainable, with the generator on the same ${machine.cores} cores, ${machine.cpu}, Node ${machine.node})`,
    `HTTP, MQTT, MQTT over WebSocket and CoAP: ${number(load.taken)} of ${number(load.offered)} taken, ${number(load.refused)} refused, ${number(load.unsent)} not sent in time; acknowledged after p50 ${load.p50.toFixed(1)} ms, p99 ${load.p99.toFixed(1)} ms`,
    `beside: ${number(beside.received)} received by subscribers, ${number(beside.connects)} came and went, ${number(beside.queries)} queries, ${number(beside.keyChanges)} changes of keys`,
    `acknowledged ${number(account.acknowledged)}, processed ${number(account.processed)}, missing ${number(account.missing)}`,
    '',
    table([
      ['medians of thirds', 'first', 'middle', 'last', 'at most', 'an hour', ''],
      ...growth.map(({ name, unit, first, middle, last, lastMax, perHour, leaks }) => [
        unit === '' ? name : `${name}, ${unit}`,
        number(first),
        number(middle),
        number(last),
        number(lastMax),
        `${perHour > 0 ? '+' : ''}${number(perHour)}`,
        leaks ? 'GREW' : 'flat',
      ]),
    ]),
    '',
    problems.length === 0 ? 'Nothing leaks.' : problems.map((problem) => `FAILED: ${problem}`).join('\n'),
  ].join('\n');
}
