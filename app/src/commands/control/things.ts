import { durationSeconds } from './duration.ts';
import { entityTopic, idOf, SEARCHING } from './entity.ts';
import { GROUP_FIELD, NAMING } from './fields.ts';
import { secretOf } from './input.ts';
import { CONNECTED_COLUMNS, RULE_COLUMNS, THING_COLUMNS } from './references.ts';
import { text, word } from './specification.ts';

const THING = '0197c2d0-6a3e-7000-8000-000000000010';

export const things = entityTopic({
  name: 'things',
  one: 'thing',
  summary: 'what connects: devices, gateways, applications',
  collection: (client) => client.things as never,
  columns: THING_COLUMNS,
  filters: [
    ...SEARCHING,
    { flags: '--type <type>', description: 'only these', choices: ['device', 'gateway', 'app'] },
    { flags: '--group <uuid>', description: 'only those in the group' },
    { flags: '--below', description: 'with --group: in its whole branch' },
    { flags: '--gateway <uuid>', description: 'only those behind the gateway' },
    {
      flags: '--online <online>',
      description: 'only those that are, or are not, connected',
      choices: ['true', 'false'],
    },
  ],
  fields: [
    ...NAMING,
    { flags: '--type <type>', description: 'what it is', member: 'type', choices: ['device', 'gateway', 'app'] },
    {
      flags: '--external-id <id>',
      description: 'its id elsewhere; none: take it away',
      member: 'external_id',
      kind: 'nullable',
    },
    GROUP_FIELD,
    { flags: '--gateway <uuid>', description: 'the gateway that it is behind', member: 'gateway', kind: 'nullable' },
    { flags: '--disabled', description: 'not let in', member: 'enabled', kind: 'no' },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete', 'enable', 'disable'],
  example: {
    id: THING,
    create: '--name thermometer --tags indoor',
    update: '--name hygrometer',
    list: '--name thermo',
  },
  more: [
    {
      name: 'rotate-key',
      summary: 'give a thing a new key',
      arguments: [{ name: '<thing>', description: 'id of the thing, or its name' }],
      options: [
        { flags: '--overlap <duration>', description: 'for so long the old key is taken too: 90, 15m, 12h, 7d' },
        { flags: '--key <key>', description: 'the new key, @file or @- to read it; made if left out' },
      ],
      examples: [`millrace things rotate-key ${THING} --overlap 12h`],
      async run(call) {
        const { things: collection } = await call.client();
        const overlap = text(call, 'overlap');
        const key = text(call, 'key');
        call.output.one(
          await collection.rotateKey(await idOf(collection as never, 'thing', word(call, 0)), {
            ...(overlap === undefined ? {} : { overlapSeconds: durationSeconds(overlap) }),
            ...(key === undefined ? {} : { key: secretOf(key) }),
          }),
        );
      },
    },
    {
      name: 'access',
      summary: 'what a thing may do, and by which rule',
      arguments: [{ name: '<thing>', description: 'id of the thing, or its name' }],
      examples: [`millrace things access ${THING}`],
      async run(call) {
        const { things: collection } = await call.client();
        const access = await collection.access(await idOf(collection as never, 'thing', word(call, 0)));
        call.output.page(RULE_COLUMNS, 'rules', access as never);
      },
    },
    {
      name: 'presence',
      summary: 'whether a thing is connected, since when, by what',
      arguments: [{ name: '<thing>', description: 'id of the thing, or its name' }],
      examples: [`millrace things presence ${THING}`],
      async run(call) {
        const { things: collection } = await call.client();
        call.output.one(await collection.presence(await idOf(collection as never, 'thing', word(call, 0))));
      },
    },
    {
      name: 'channels',
      summary: 'channels that a thing is connected with',
      arguments: [{ name: '<thing>', description: 'id of the thing, or its name' }],
      examples: [`millrace things channels ${THING}`],
      async run(call) {
        const { things: collection } = await call.client();
        const id = await idOf(collection as never, 'thing', word(call, 0));
        await call.output.all(CONNECTED_COLUMNS, collection.channels(id));
      },
    },
  ],
});
