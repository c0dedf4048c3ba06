import { writeFileSync } from 'node:fs';
import { idOf, PAGING, queryOf, show } from './entity.ts';
import { Failure } from './failure.ts';
import { readInput } from './input.ts';
import { type Call, flag, type OptionSpecification, type Topic, text, word, words } from './specification.ts';
import { column, moment, type Row } from './table.ts';

const ID = '0198c1a2-4d5e-7000-8000-000000000001';
const FILTERS: readonly OptionSpecification[] = [
  { flags: '-c, --channel <channel>', description: 'only of this channel: id, alias or name' },
  { flags: '--publisher <uuid>', description: 'only of this thing or user' },
  { flags: '--message <uuid>', description: 'only of this message' },
  { flags: '--reason <reason>', description: 'only for this reason' },
  { flags: '--from <time>', description: 'received from this time on: RFC 3339, or seconds since 1970' },
  { flags: '--to <time>', description: 'received before this time' },
];
const STATE: OptionSpecification = {
  flags: '--state <state>',
  description: 'those about which this was done',
  choices: ['open', 'replayed', 'discarded', 'all'],
};
const COLUMNS = [
  { title: 'RECEIVED', value: (row: Row) => moment(row.received) },
  column('ID', 'id'),
  column('REASON', 'reason'),
  column('DETAIL', 'detail'),
  column('STATE', 'state', { wide: true }),
  column('CHANNEL', 'channel', { wide: true }),
  column('PUBLISHER', 'publisher', { wide: true }),
  column('PAYLOAD', 'payload', { wide: true }),
];
const ids = { name: '[ids...]', description: 'as the list gives them; or a filter' };

export const deadLetters: Topic = {
  name: 'dead-letters',
  summary: 'messages and records that could not be processed',
  commands: [
    {
      name: 'list',
      summary: 'list dead letters, the newest first',
      options: [...FILTERS, STATE, ...PAGING],
      examples: [
        'millrace dead-letters list --reason malformed_json',
        'millrace dead-letters list --state all --all --json',
      ],
      async run(call) {
        const client = await call.client();
        const query = await filterOf(call, [...FILTERS, STATE, ...PAGING]);
        const collection = {
          list: (given: Record<string, unknown> = {}) =>
            client.transport.call('GET', '/dead-letters', { query: given as never }),
          all: (given: Record<string, unknown> = {}) => client.messages.deadLetters(given as never),
        };
        await show(call, collection, 'dead_letters', COLUMNS, query);
      },
    },
    {
      name: 'get',
      summary: 'one dead letter: why, and what to do',
      arguments: [{ name: '<id>', description: 'as the list gives it' }],
      options: [{ flags: '-o, --out <path>', description: 'its payload into a file, byte for byte' }],
      examples: [`millrace dead-letters get ${ID}`, `millrace dead-letters get ${ID}.3 -o record.json`],
      async run(call) {
        const client = await call.client();
        const letter = (await client.messages.deadLetter(word(call, 0))) as Row;
        const out = text(call, 'out');
        if (out !== undefined) {
          writeFileSync(out, Buffer.from(String(letter.payload), letter.encoding as BufferEncoding));
          call.output.note(`its payload: ${out}`);
        }
        call.output.one(letter);
      },
    },
    {
      name: 'replay',
      summary: 'publish what dead letters hold anew: some by their ids, or all that a filter covers',
      arguments: [ids],
      options: [
        ...FILTERS,
        { flags: '-f, --file <path>', description: 'of one: its payload, mended, from a file; - for standard input' },
        { flags: '-t, --content-type <type>', description: 'of one: publish as this type' },
        { flags: '--all', description: 'all that are open' },
        { flags: '--dry-run', description: 'only tell how many a filter covers' },
      ],
      examples: [
        `millrace dead-letters replay ${ID}`,
        `millrace dead-letters replay ${ID} -f mended.json`,
        'millrace dead-letters replay --reason forbidden --dry-run',
      ],
      run: replay,
    },
    {
      name: 'discard',
      summary: 'put dead letters aside that nobody will replay',
      arguments: [ids],
      options: [...FILTERS, { flags: '--all', description: 'all that are open' }],
      examples: [`millrace dead-letters discard ${ID}`, 'millrace dead-letters discard --reason empty_pack'],
      run: discard,
    },
  ],
};

/** @throws Failure 2, 4 */
async function filterOf(call: Call, options: readonly OptionSpecification[]): Promise<Record<string, unknown>> {
  const query = queryOf(call, options);
  if (query.channel === undefined) return query;
  const { channels } = await call.client();
  return { ...query, channel: await idOf(channels as never, 'channel', String(query.channel)) };
}

/** @throws Failure 2 unless there are either ids or a filter */
async function chosen(call: Call): Promise<{ ids: readonly string[] } | { filter: Record<string, unknown> }> {
  const given = words(call, 0);
  const filter = await filterOf(call, FILTERS);
  const isFiltered = Object.keys(filter).length > 0 || flag(call, 'all');
  if (given.length > 0 === isFiltered)
    throw new Failure(2, 'Say which: either ids, or a filter.', 'All of them: --all');
  return isFiltered ? { filter } : { ids: given };
}

async function replay(call: Call): Promise<void> {
  const which = await chosen(call);
  const [file, contentType] = [text(call, 'file'), text(call, 'contentType')];
  const client = await call.client();
  if ('filter' in which) {
    if (file !== undefined || contentType !== undefined)
      throw new Failure(2, '--file and --content-type are of one letter.');
    if (flag(call, 'dryRun')) return call.output.one(await client.messages.matchingDeadLetters(which.filter as never));
    const job = (await client.messages.replayAll(which.filter as never)) as Row;
    call.output.note(`a job replays them: millrace jobs get ${job.id} --wait`);
    return call.output.one(job);
  }
  if (which.ids.length > 1 && (file !== undefined || contentType !== undefined))
    throw new Failure(2, '--file and --content-type are of one letter.');
  const edit = {
    ...(file === undefined ? {} : { payload: readInput(file) }),
    ...(contentType === undefined ? {} : { content_type: contentType }),
  };
  const done: Row[] = [];
  for (const [index, id] of which.ids.entries()) {
    done.push({ dead_letter: id, ...(await client.messages.replay(id, edit as never)) });
    if (which.ids.length > 1) call.output.progress('replayed', index + 1, which.ids.length);
  }
  if (call.output.json) call.output.write(`${JSON.stringify(done, null, 2)}\n`);
  else
    for (const { id, repeated } of done)
      call.output.note(`${repeated === true ? 'was replayed before' : 'replayed'} as ${id}: millrace explain ${id}`);
}

async function discard(call: Call): Promise<void> {
  const which = await chosen(call);
  const client = await call.client();
  let discarded = 0;
  for (let more = true; more; ) {
    const told = (await client.messages.discard(which as never)) as { discarded: number; more: boolean };
    discarded += told.discarded;
    more = told.more && told.discarded > 0;
  }
  if (call.output.json) call.output.one({ discarded });
  else call.output.note(`${discarded} put aside`);
}
