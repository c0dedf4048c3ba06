import type { AskingReport } from './report.ts';

const ms = (value: number): string => value.toFixed(value < 10 ? 1 : 0).padStart(7);

/** The report for people. */
export function formatAskingReport({ machine, filled, pageCacheDropped, questions }: AskingReport): string {
  const { readings, series, bytesPerReading, bytesPerReadingInAll, bytesByColumn } = filled;
  const columns = Object.entries(bytesByColumn)
    .filter(([, bytes]) => bytes >= 0.05)
    .map(([name, bytes]) => `${name} ${bytes.toFixed(2)}`);
  const lines = [
    `Millrace, ${readings.toLocaleString('en')} readings of ${series.toLocaleString('en')} series (${machine.cores} cores, ${machine.cpu}, Node ${machine.node}, load before ${machine.loadBefore})`,
    '',
    `bytes a reading on the disk, after merges: ${bytesPerReading.toFixed(2)} (${columns.join(', ')})`,
    `with rollups and all else: ${bytesPerReadingInAll.toFixed(2)}`,
  ];
  if (questions.length === 0) return lines.join('\n');
  const width = Math.max(...questions.map(({ name }) => name.length));
  lines.push(
    '',
    `${'ms'.padEnd(width)}   Millrace                   the engine itself`,
    `${''.padEnd(width)}      cold     p50     p99      cold     p50     p99     bound`,
    ...questions.map(
      ({ name, product, engine, bound, reached }) =>
        `${name.padEnd(width)}   ${ms(product.cold)} ${ms(product.p50)} ${ms(product.p99)}   ${ms(engine.cold)} ${ms(engine.p50)} ${ms(engine.p99)}   ${ms(bound)}  ${reached ? 'reached' : 'missed'}`,
    ),
    '',
    `cold: the first after a start${pageCacheDropped ? ', nothing of the files in memory' : '; the files may be in memory'}. bound: the engine's p50 and 5 ms, or 1.3 times it.`,
  );
  return lines.join('\n');
}
