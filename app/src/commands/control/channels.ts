import { entityTopic, idOf, SEARCHING } from './entity.ts';
import { GROUP_FIELD, NAMING } from './fields.ts';
import { CHANNEL_COLUMNS, CONNECTED_COLUMNS } from './references.ts';
import { word } from './specification.ts';

const CHANNEL = '0197c2d0-6a3e-7000-8000-000000000020';

export const channels = entityTopic({
  name: 'channels',
  one: 'channel',
  summary: 'where messages go',
  collection: (client) => client.channels as never,
  columns: CHANNEL_COLUMNS,
  filters: [
    ...SEARCHING,
    { flags: '--group <uuid>', description: 'only those in the group' },
    { flags: '--below', description: 'with --group: in its whole branch' },
  ],
  fields: [
    ...NAMING,
    {
      flags: '--alias <alias>',
      description: 'may stand for the id; none: take it away',
      member: 'alias',
      kind: 'nullable',
    },
    {
      flags: '--content-type <type>',
      description: 'of messages that name none',
      member: 'content_type',
      kind: 'nullable',
    },
    GROUP_FIELD,
    { flags: '--profile-json <json>', description: 'how its messages are read', member: 'profile', kind: 'json' },
    { flags: '--limits <json>', description: 'as {"messages_per_second":10}', member: 'limits', kind: 'json' },
    { flags: '--disabled', description: 'lets no message in', member: 'enabled', kind: 'no' },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete', 'enable', 'disable'],
  example: {
    id: 'kitchen',
    create: '--name Kitchen --alias kitchen',
    update: '--content-type application/senml+json',
    list: '--tag indoor',
  },
  more: [
    {
      name: 'things',
      summary: 'things that are connected with a channel',
      arguments: [{ name: '<channel>', description: 'id, alias or name of the channel' }],
      examples: [`millrace channels things ${CHANNEL}`],
      async run(call) {
        const { channels: collection } = await call.client();
        const id = await idOf(collection as never, 'channel', word(call, 0));
        await call.output.all(CONNECTED_COLUMNS, collection.things(id));
      },
    },
  ],
});
