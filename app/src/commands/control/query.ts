import type { LatestQuestion, SeriesAnswer } from '@millrace/sdk';
import {
  FORMS,
  formOf,
  MADE,
  MORE,
  numberOf,
  passOn,
  QUERY_FILE,
  questionOf,
  questionOrFile,
  RANGE,
  WHICH,
} from './questions.ts';
import { type Call, type CommandSpecification, flag } from './specification.ts';
import { column, moment, type Row } from './table.ts';

const SERIES = ['channel', 'publisher', 'name', 'subtopic', 'unit'] as const;
const WIDE = new Set(['channel', 'publisher']);

async function query(call: Call): Promise<void> {
  const form = formOf(call);
  const client = await call.client();
  const question = await questionOrFile(call);
  if (form !== null) return passOn(call, await client.readings.stream(question, form, { signal: call.signal }));
  const answer = await client.readings.query(question, { signal: call.signal });
  if (call.output.json) return call.output.one(answer);
  if (flag(call, 'plot')) call.output.rows(PLOT_COLUMNS, plots(answer));
  else call.output.rows(...pointsOf(answer));
  if (answer.cut) call.output.note('There are more series: --limit counts points of a series.');
  if (answer.series.some(({ cut }) => cut)) call.output.note('There are more points: --limit, or a wider --interval.');
  if ((answer.channels_left_out ?? 0) > 0)
    call.output.note(`${answer.channels_left_out} channels are left out: you may not read all of them.`);
}

/** A row a point. What all series have in common stands in no column, unless it is all there is to tell. */
function pointsOf({ columns, series }: SeriesAnswer): [Parameters<Call['output']['rows']>[0], Row[]] {
  const rows = series.flatMap(({ points, ...head }) =>
    points.map((point) => ({ ...head, ...Object.fromEntries(columns.map((name, index) => [name, point[index]])) })),
  );
  const told = SERIES.filter((member) => series.some((one) => (one[member] ?? '') !== ''));
  return [
    [
      { title: 'TIME', value: (row) => moment(row.time) },
      ...told.map((member) => column(member.toUpperCase(), member, hidden(member, series))),
      ...columns.slice(1).map((name) => column(name.toUpperCase(), name, { align: 'right' })),
    ],
    rows,
  ];
}

/** Long ids are shown where they tell series apart. */
const hidden = (member: (typeof SERIES)[number], series: SeriesAnswer['series']) =>
  WIDE.has(member) && new Set(series.map((one) => one[member])).size < 2 ? { wide: true as const } : {};

const BARS = '▁▂▃▄▅▆▇█';
const PLOT_WIDTH = 40;

/** Numbers as a line of bars, low to high; a space where there is none. */
export function sparkline(values: readonly (number | null)[]): string {
  const known = values.filter((value) => value !== null && Number.isFinite(value)) as number[];
  const [low, high] = [Math.min(...known), Math.max(...known)];
  return values
    .map((value) => {
      if (value === null || !Number.isFinite(value)) return ' ';
      return BARS[high === low ? 0 : Math.round(((value - low) / (high - low)) * (BARS.length - 1))];
    })
    .join('');
}

const PLOT_COLUMNS = [
  column('PUBLISHER', 'publisher', { wide: true }),
  column('NAME', 'name'),
  column('UNIT', 'unit'),
  column('LOW', 'low', { align: 'right' }),
  column('HIGH', 'high', { align: 'right' }),
  column('LAST', 'last', { align: 'right' }),
  column('FROM LEFT TO RIGHT', 'line'),
];

/** A line a series, of its first value. */
function plots({ series }: SeriesAnswer): Row[] {
  return series.map(({ points, ...head }) => {
    const values = points.map(([, value]) => (typeof value === 'number' ? value : null));
    const known = values.filter((value) => value !== null);
    // Of several that share a column the last is shown.
    const step = Math.max(1, values.length / PLOT_WIDTH);
    const shown = Array.from(
      { length: Math.min(values.length, PLOT_WIDTH) },
      (_, index) => values[Math.ceil((index + 1) * step) - 1] ?? null,
    );
    const extremes = known.length === 0 ? {} : { low: least(known), high: -least(known.map((value) => -value)) };
    return { ...head, ...extremes, last: known.at(-1), line: sparkline(shown) };
  });
}

const least = (values: readonly number[]): number => values.reduce((low, value) => Math.min(low, value));

const LATEST_COLUMNS = [
  { title: 'TIME', value: (row: Row) => moment(row.time) },
  column('NAME', 'name'),
  {
    title: 'VALUE',
    align: 'right' as const,
    value: ({ value, string_value, bool_value, data_value }: Row) => value ?? string_value ?? bool_value ?? data_value,
  },
  column('UNIT', 'unit'),
  column('SUBTOPIC', 'subtopic'),
  column('PUBLISHER', 'publisher'),
  column('CHANNEL', 'channel', { wide: true }),
];

async function latest(call: Call): Promise<void> {
  const { readings } = await call.client();
  const question = { ...(await questionOf(call)), limit: numberOf(call, 'limit') ?? 50 } as LatestQuestion;
  if (!flag(call, 'all')) {
    const answer = await readings.latest(question, { signal: call.signal });
    call.output.page(LATEST_COLUMNS, 'messages', answer as never);
    if (answer.cursor !== undefined && !call.output.json) call.output.note('There are more: --all, or --limit.');
    return;
  }
  const ALL_AT_ONCE = 10_000;
  async function* every(): AsyncGenerator<unknown> {
    let cursor: string | undefined;
    do {
      const page: LatestQuestion = { ...question, limit: ALL_AT_ONCE, ...(cursor === undefined ? {} : { cursor }) };
      const answer = await readings.latest(page, { signal: call.signal });
      yield* answer.messages;
      cursor = answer.cursor;
    } while (cursor !== undefined);
  }
  await call.output.all(LATEST_COLUMNS, every());
}

export const questions: readonly CommandSpecification[] = [
  {
    name: 'query',
    summary: 'readings of many series: as they are, in buckets, or drawn',
    options: [
      ...WHICH,
      ...RANGE,
      ...MADE,
      ...MORE,
      { flags: '--limit <count>', description: 'points of a series at most' },
      { flags: '--plot', description: 'a line of bars for each series' },
      ...FORMS,
      QUERY_FILE,
    ],
    examples: [
      'millrace query -c kitchen --name temperature --from now-1d --aggregation avg --interval 1h',
      'millrace query --selector \'{"tags":["indoor"]}\' --from now-1w --aggregation avg --interval 6h --plot',
      'millrace query -c kitchen --from now-1mo --format parquet > month.parquet',
    ],
    run: query,
  },
  {
    name: 'latest',
    summary: 'the last value of each series',
    options: [
      ...WHICH,
      { flags: '--limit <count>', description: 'how many at most (50)' },
      { flags: '--all', description: 'all of them; with --json one a line' },
    ],
    examples: ['millrace latest -c kitchen', 'millrace latest --thing thermometer --name temperature --json'],
    run: latest,
  },
];
