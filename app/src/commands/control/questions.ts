import type { FileForm, ReadingsQuestion } from '@millrace/sdk';
import { idOf } from './entity.ts';
import { Failure } from './failure.ts';
import { readInput } from './input.ts';
import { type Call, flag, type OptionSpecification, text, texts } from './specification.ts';

/** Which readings: the same words in every command that asks for them. */
export const WHICH: readonly OptionSpecification[] = [
  {
    flags: '-c, --channel <channel>',
    description: 'id, alias or name; all that you may read if left out',
    repeatable: true,
  },
  { flags: '--name <name>', description: 'full name of readings', repeatable: true },
  { flags: '--thing <thing>', description: 'only of this thing: id or name', repeatable: true },
  { flags: '--publisher <uuid>', description: 'only of this thing or user', repeatable: true },
  { flags: '--subtopic <subtopic>', description: 'only of this subtopic', repeatable: true },
  { flags: '--selector <json>', description: 'things by what they are: {"metadata":{"floor":3}}' },
];
export const RANGE: readonly OptionSpecification[] = [
  { flags: '--from <time>', description: 'from this time on: RFC 3339, seconds since 1970, or now-7d' },
  { flags: '--to <time>', description: 'before this time' },
];
/** What is made of them. */
export const MADE: readonly OptionSpecification[] = [
  { flags: '--aggregation <aggregation>', description: 'as avg, max, p99: in buckets of --interval', repeatable: true },
  { flags: '--interval <interval>', description: 'width of a bucket: 5m, 1h, 1d, 1mo' },
];
export const MORE: readonly OptionSpecification[] = [
  { flags: '--time-zone <zone>', description: 'of days and longer buckets, as Europe/Berlin (UTC)' },
  { flags: '--fill <fill>', description: 'of empty buckets', choices: ['none', 'null', 'previous', 'linear'] },
  { flags: '--thin <points>', description: 'at most so many points a series, by largest triangles' },
  { flags: '--unit <unit>', description: 'convert to this unit, as K or Cel' },
  { flags: '--across <field>', description: 'bring series together over publisher, channel, …', repeatable: true },
  { flags: '--dir <dir>', description: 'direction in time', choices: ['asc', 'desc'] },
];
export const FORMS: readonly OptionSpecification[] = [
  { flags: '--csv', description: 'rows as CSV, as they come' },
  { flags: '--ndjson', description: 'rows as JSON lines, as they come' },
  {
    flags: '--format <format>',
    description: 'rows in this form, as they come',
    choices: ['ndjson', 'csv', 'arrow', 'parquet'],
  },
];

const LISTS = { names: 'name', publishers: 'publisher', subtopics: 'subtopic', aggregations: 'aggregation' };
const TEXTS = {
  from: 'from',
  to: 'to',
  interval: 'interval',
  time_zone: 'timeZone',
  fill: 'fill',
  unit: 'unit',
  dir: 'dir',
};

/** The question that flags make.  @throws Failure 2, 4 */
export async function questionOf(call: Call): Promise<ReadingsQuestion> {
  const question: Record<string, unknown> = {};
  for (const [plural, option, collection] of [
    ['channels', 'channel', 'channels'],
    ['things', 'thing', 'things'],
  ] as const) {
    const named = texts(call, option);
    if (named === undefined) continue;
    const client = await call.client();
    question[plural] = await Promise.all(named.map((each) => idOf(client[collection] as never, option, each)));
  }
  for (const [member, option] of Object.entries(LISTS)) {
    const given = texts(call, option);
    if (given !== undefined) question[member] = given;
  }
  const across = texts(call, 'across');
  if (across !== undefined) question.across = across;
  for (const [member, option] of Object.entries(TEXTS)) {
    const given = text(call, option);
    if (given !== undefined) question[member] = given;
  }
  const [selector, thin, limit] = [text(call, 'selector'), numberOf(call, 'thin'), numberOf(call, 'limit')];
  if (selector !== undefined) question.selector = jsonOf('--selector', selector);
  if (thin !== undefined) question.thin = thin;
  if (limit !== undefined) question.limit = limit;
  return question as ReadingsQuestion;
}

/** The same, or what `--query` names in its place, whole.  @throws Failure 2, 4 */
export async function questionOrFile(call: Call): Promise<ReadingsQuestion> {
  const file = text(call, 'query');
  return file === undefined ? questionOf(call) : (jsonOf(file, readInput(file)) as ReadingsQuestion);
}

export const QUERY_FILE: OptionSpecification = {
  flags: '--query <file>',
  description: 'the whole question as JSON, as POST /readings/query takes it; - for standard input',
};

export function numberOf(call: Call, name: string): number | undefined {
  const given = text(call, name);
  if (given === undefined) return undefined;
  if (!/^[1-9]\d{0,8}$/.test(given)) throw new Failure(2, `--${name} must be a whole number from 1: “${given}”.`);
  return Number(given);
}

/** @throws Failure 2 */
export function jsonOf(what: string, content: string): unknown {
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new Failure(2, `${what} holds no JSON: ${(error as Error).message}.`);
  }
}

/** In which form rows are wanted; null: for people, or the API's own JSON.  @throws Failure 2 for two at once */
export function formOf(call: Call): FileForm | null {
  const named = [
    text(call, 'format'),
    flag(call, 'csv') ? 'csv' : undefined,
    flag(call, 'ndjson') ? 'ndjson' : undefined,
  ];
  const given = named.filter((form) => form !== undefined);
  if (given.length + Number(call.output.json) > 1)
    throw new Failure(2, 'Give one of --json, --csv, --ndjson, --format.');
  const [form] = given as FileForm[];
  if ((form === 'arrow' || form === 'parquet') && process.stdout.isTTY === true)
    throw new Failure(2, `${form} is nothing for a terminal.`, 'Write it to a file: > answer.parquet');
  return form ?? null;
}

/** Passes an answer on, as fast as it is read.  @throws Failure when it breaks off: what was written is not whole */
export async function passOn(call: Call, response: Response): Promise<void> {
  try {
    for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) await call.output.flushed(part);
  } catch (error) {
    if (call.signal.aborted) throw call.signal.reason;
    throw new Failure(6, `The answer broke off: ${(error as Error).message}.`, 'What was written is not whole.');
  }
}
