import type { Client, LiveMessage } from '@millrace/sdk';
import { idOf, PAGING, queryOf } from './entity.ts';
import { Failure } from './failure.ts';
import { readInput, secretOf } from './input.ts';
import { type Call, type CommandSpecification, flag, type OptionSpecification, text, word } from './specification.ts';
import { column, moment, printable, type Row } from './table.ts';

const channel = { name: '<channel>', description: 'id, alias or name of the channel' };
const KEY: OptionSpecification = {
  flags: '--key <key>',
  description: 'as a thing, by its key; @file or @- to read it (default: as you)',
};
const PROTOCOLS = ['http', 'ws', 'mqtt'] as const;

/** As the thing whose key is given, else as who is logged in. */
async function speaker(call: Call): Promise<{ client: Client; channel: string }> {
  const key = text(call, 'key');
  if (key === undefined) {
    const client = await call.client();
    return { client, channel: await idOf(client.channels as never, 'channel', word(call, 0)) };
  }
  return { client: await call.clientWith({ key: secretOf(key) }), channel: word(call, 0) };
}

async function publish(call: Call): Promise<void> {
  const file = text(call, 'file');
  const given = word(call, 1);
  if (given === '' && file === undefined)
    throw new Failure(
      2,
      'There is no payload.',
      `As: millrace publish ${word(call, 0)} '[{"n":"temperature","v":21.5}]'`,
    );
  const { client, channel: id } = await speaker(call);
  const subtopic = text(call, 'subtopic');
  const contentType = text(call, 'contentType');
  const protocol = text(call, 'protocol') as (typeof PROTOCOLS)[number];
  const send = (payload: string): Promise<string | null> =>
    client.publish(id, payload, {
      protocol,
      idempotencyKey: true,
      signal: call.signal,
      ...(subtopic === undefined ? {} : { subtopic }),
      ...(contentType === undefined ? {} : { contentType }),
    });
  const payload = file === undefined ? given : readInput(file);
  if (!flag(call, 'lines')) {
    told(call, await send(payload));
    return;
  }
  const lines = payload.split('\n').filter((line) => line.trim() !== '');
  for (const [index, line] of lines.entries()) {
    const message = await send(line);
    if (call.output.json) told(call, message);
    else call.output.progress('published', index + 1, lines.length);
  }
}

function told(call: Call, id: string | null): void {
  if (call.output.json) call.output.write(`${JSON.stringify({ id })}\n`);
  else call.output.note(id === null ? 'published' : `published ${id}`);
}

async function subscribe(call: Call): Promise<void> {
  const { client, channel: id } = await speaker(call);
  const subtopic = text(call, 'subtopic');
  const from = text(call, 'from');
  const wanted = text(call, 'count');
  const countMax = wanted === undefined ? Number.POSITIVE_INFINITY : Number(wanted);
  if (!(countMax >= 1)) throw new Failure(2, '--count must be a whole number from 1.');
  let count = 0;
  const messages = client.subscribe(id, {
    protocol: text(call, 'protocol') as 'ws' | 'sse' | 'mqtt',
    signal: call.signal,
    ...(subtopic === undefined ? {} : { subtopic }),
    ...(from === undefined ? {} : { from }),
    onOpen: () => call.output.note('subscribed; Ctrl-C ends'),
    onRetry: (error, waitMs) => call.output.note(`${error.message} Again in ${(waitMs / 1_000).toFixed(1)} s.`),
    onGap: (gap) => call.output.note(`What was between ${gap.from} and ${gap.to} is no longer kept.`),
  });
  for await (const message of messages) {
    await call.output.flushed(call.output.json ? `${JSON.stringify(message)}\n` : line(message));
    if (++count >= countMax) break;
  }
}

function line({ received, subtopic, json, payload, payload_base64 }: LiveMessage): string {
  const said = json === undefined ? (payload ?? `(base64) ${payload_base64}`) : JSON.stringify(json);
  const head = [received === undefined ? '' : moment(received), subtopic].filter((part) => part !== '');
  return `${[...head, printable(said)].join('  ')}\n`;
}

const READING_FILTERS: readonly OptionSpecification[] = [
  { flags: '--name <name>', description: 'full name of the reading' },
  { flags: '--subtopic <subtopic>', description: 'only of this subtopic' },
  { flags: '--publisher <uuid>', description: 'only of this thing or user' },
  { flags: '--from <time>', description: 'from this time on: RFC 3339, seconds since 1970, or now-7d' },
  { flags: '--to <time>', description: 'before this time' },
  { flags: '--order <order>', description: 'sorted by', choices: ['time', 'name'] },
  { flags: '--dir <dir>', description: 'direction', choices: ['asc', 'desc'] },
];
const READING_COLUMNS = [
  { title: 'TIME', value: (row: Row) => moment(row.time) },
  column('NAME', 'name'),
  {
    title: 'VALUE',
    align: 'right' as const,
    value: ({ value, string_value, bool_value, data_value }: Row) => value ?? string_value ?? bool_value ?? data_value,
  },
  column('UNIT', 'unit'),
  column('SUBTOPIC', 'subtopic'),
  column('PUBLISHER', 'publisher', { wide: true }),
  column('PROTOCOL', 'protocol', { wide: true }),
  column('SUM', 'sum', { wide: true, align: 'right' }),
];

async function readings(call: Call): Promise<void> {
  const { client, channel: id } = await speaker(call);
  const query = queryOf(call, [...READING_FILTERS, ...PAGING]) as never;
  if (flag(call, 'all')) await call.output.all(READING_COLUMNS, client.readings(id, query, { signal: call.signal }));
  else call.output.page(READING_COLUMNS, 'messages', (await client.messages.page(id, query)) as never);
}

export const messages: readonly CommandSpecification[] = [
  {
    name: 'publish',
    summary: 'publish a message; done once it is durable',
    arguments: [channel, { name: '[payload]', description: 'the message itself' }],
    options: [
      { flags: '-f, --file <path>', description: 'the message from a file, - for standard input' },
      { flags: '--lines', description: 'each line is a message' },
      { flags: '-s, --subtopic <subtopic>', description: 'segments joined by /' },
      { flags: '-t, --content-type <type>', description: "left out: the channel's own, or told by the payload" },
      { flags: '--protocol <protocol>', description: 'how', choices: PROTOCOLS, default: 'http' },
      KEY,
    ],
    examples: [
      `millrace publish kitchen '[{"n":"temperature","u":"Cel","v":21.5}]'`,
      'sensor | millrace publish kitchen -f - --lines --protocol ws --key @thing.key',
    ],
    run: publish,
  },
  {
    name: 'subscribe',
    summary: 'show messages as they come',
    arguments: [channel],
    options: [
      { flags: '-s, --subtopic <filter>', description: 'as temp/+ or temp/#; everything if left out' },
      { flags: '--from <position>', description: 'what follows this position of an earlier message first' },
      { flags: '-n, --count <count>', description: 'end after so many' },
      { flags: '--protocol <protocol>', description: 'how', choices: ['ws', 'sse', 'mqtt'], default: 'ws' },
      KEY,
    ],
    examples: ['millrace subscribe kitchen', "millrace subscribe kitchen -s 'temp/#' --json"],
    run: subscribe,
  },
  {
    name: 'readings',
    summary: 'readings that are stored, newest first',
    arguments: [channel],
    options: [...READING_FILTERS, ...PAGING, KEY],
    examples: [
      'millrace readings kitchen --name temperature',
      'millrace readings kitchen --from 2026-01-01T00:00:00Z --all --json',
    ],
    run: readings,
  },
];
