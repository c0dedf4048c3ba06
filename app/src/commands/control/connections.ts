import { PAGING, queryOf, show } from './entity.ts';
import { Failure } from './failure.ts';
import { allIds } from './references.ts';
import { type Call, type CommandSpecification, type OptionSpecification, texts } from './specification.ts';
import { column, time } from './table.ts';

const PAIRS: readonly OptionSpecification[] = [
  {
    flags: '--thing <thing>',
    description: 'by id or name; several: comma-separated, or the flag again',
    repeatable: true,
  },
  { flags: '--channel <channel>', description: 'by id, alias or name; several likewise', repeatable: true },
  { flags: '--types <types>', description: 'publish, subscribe; both if left out', repeatable: true },
];

const verb = (name: 'connect' | 'disconnect', summary: string): CommandSpecification => ({
  name,
  summary,
  options: PAIRS,
  examples: [
    `millrace ${name} --thing thermometer --channel kitchen`,
    `millrace ${name} --thing a,b,c --channel kitchen --types subscribe`,
  ],
  run: (call) => pairs(call, name),
});

export const connect = verb('connect', 'let things publish to and read from channels');
export const disconnect = verb('disconnect', 'take that away again, at once');

async function pairs(call: Call, name: 'connect' | 'disconnect'): Promise<void> {
  const types = texts(call, 'types');
  for (const type of types ?? [])
    if (type !== 'publish' && type !== 'subscribe')
      throw new Failure(2, `--types: “${type}” is none of publish, subscribe.`);
  if (texts(call, 'thing') === undefined || texts(call, 'channel') === undefined)
    throw new Failure(2, 'Both --thing and --channel are needed.', `As: millrace ${name} --thing a --channel b`);
  const client = await call.client();
  const [things, channels] = [await allIds(call, 'thing'), await allIds(call, 'channel')];
  await client.connections[name]({
    things,
    channels,
    ...(types === undefined ? {} : { types: types as ('publish' | 'subscribe')[] }),
  });
  if (call.output.json)
    call.output.one({ thing_ids: things, channel_ids: channels, types: types ?? ['publish', 'subscribe'] });
  else call.output.note(`${name}ed ${things.length} × ${channels.length}`);
}

const FILTERS: readonly OptionSpecification[] = [
  { flags: '--thing <uuid>', description: 'only those of the thing' },
  { flags: '--channel <uuid>', description: 'only those of the channel' },
  ...PAGING,
];
const COLUMNS = [
  column('THING', 'thing_id'),
  column('CHANNEL', 'channel_id'),
  column('MAY', 'types'),
  time('SINCE', 'created_at'),
];

export const connections: CommandSpecification = {
  name: 'connections',
  summary: 'which things are connected with which channels',
  options: FILTERS,
  examples: ['millrace connections', 'millrace connections --all --json'],
  run: async (call) => show(call, (await call.client()).connections, 'connections', COLUMNS, queryOf(call, FILTERS)),
};
