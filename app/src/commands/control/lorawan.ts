import type { Client } from '@millrace/sdk';
import { type AnyCollection, entityTopic, idOf } from './entity.ts';
import { Failure } from './failure.ts';
import { type Field, NAMING } from './fields.ts';
import { readInput } from './input.ts';
import { nested } from './nested.ts';
import { type Call, text, texts, word } from './specification.ts';
import { column, time } from './table.ts';

const NAMES = NAMING.filter(({ member }) => member === 'id' || member === 'name');
const FILTERS = [
  { flags: '--name <part>', description: 'only those with this in the name' },
  { flags: '--order <order>', description: 'sorted by', choices: ['created', 'updated', 'name', 'id'] },
  { flags: '--dir <dir>', description: 'direction', choices: ['asc', 'desc'] },
];
const SECRET = '; @<path> reads it from a file, @- from standard input; none: take it away';

const SERVER = 'harbour';
const SERVER_FIELDS: readonly Field[] = [
  ...NAMES,
  {
    flags: '--kind <kind>',
    description: 'what it is',
    member: 'kind',
    choices: ['chirpstack-v4', 'chirpstack-v3', 'tts-v3'],
    onlyNew: true,
  },
  { flags: '--mqtt-url <url>', description: 'its broker, as mqtts://host:8883', member: 'mqtt.url' },
  { flags: '--mqtt-username <name>', description: 'user of its broker', member: 'mqtt.username' },
  {
    flags: '--mqtt-password <password>',
    description: `password of its broker${SECRET}`,
    member: 'mqtt.password',
    kind: 'secret',
  },
  { flags: '--mqtt-topic <filter>', description: 'of its events, if it is not the usual one', member: 'mqtt.topic' },
  {
    flags: '--mqtt-format <format>',
    description: 'what its MQTT integration writes',
    member: 'mqtt.format',
    choices: ['json', 'protobuf'],
  },
  {
    flags: '--mqtt-share <group>',
    description: 'group of the shared subscription; empty: none',
    member: 'mqtt.share',
  },
  {
    flags: '--mqtt-ca <path>',
    description: 'authorities that are trusted with its broker, PEM',
    member: 'mqtt.ca',
    kind: 'file',
  },
  {
    flags: '--mqtt-certificate <path>',
    description: 'client certificate, PEM',
    member: 'mqtt.certificate',
    kind: 'file',
  },
  { flags: '--mqtt-key <path>', description: 'its private key, PEM', member: 'mqtt.key', kind: 'file' },
  { flags: '--http-url <url>', description: 'its REST API, for downlinks', member: 'http.url' },
  { flags: '--http-token <token>', description: `API key of it${SECRET}`, member: 'http.token', kind: 'secret' },
  {
    flags: '--things-per-day <count>',
    description: 'makes things of unknown devices, at most so many a day',
    member: 'provisioning.things_per_day_max',
    kind: 'number',
  },
  {
    flags: '--things-group <uuid>',
    description: 'group of things that are made; none: in no group',
    member: 'provisioning.group_id',
    kind: 'nullable',
  },
  { flags: '--disabled', description: 'takes no events', member: 'enabled', kind: 'no' },
];

const serversOf = (client: Client): AnyCollection => nested(client.networkServers as never);
export const networkServers = entityTopic({
  name: 'networkservers',
  one: 'network server',
  summary: 'LoRaWAN network servers: ChirpStack, The Things Stack',
  collection: serversOf,
  columns: [
    column('ID', 'id'),
    column('NAME', 'name'),
    column('KIND', 'kind'),
    column('ENABLED', 'enabled'),
    { title: 'BROKER', value: (row) => (row.mqtt as { url?: string } | null)?.url },
    { title: 'API', value: (row) => (row.http as { url?: string } | null)?.url, wide: true },
    column('PROVISIONING', 'provisioning', { wide: true }),
    time('CREATED', 'created_at'),
  ],
  filters: [
    ...FILTERS,
    { flags: '--status <status>', description: 'only those', choices: ['enabled', 'disabled', 'all'] },
  ],
  fields: SERVER_FIELDS,
  verbs: ['list', 'get', 'create', 'update', 'delete', 'enable', 'disable'],
  example: {
    id: SERVER,
    create:
      '--name harbour --kind chirpstack-v4 --mqtt-url mqtts://chirpstack.example.org:8883 --mqtt-username millrace --mqtt-password @password.txt',
    update: '--things-per-day 100',
  },
  more: [
    {
      name: 'status',
      summary: 'how the connections of the nodes with it are',
      arguments: [{ name: '<network server>', description: 'id of the network server, or its name' }],
      examples: [`millrace networkservers status ${SERVER}`],
      async run(call) {
        const { networkServers: collection } = await call.client();
        const id = await idOf(collection as never, 'network server', word(call, 0));
        const status = await collection.status(id);
        if (call.output.json) {
          call.output.one(status);
          return;
        }
        const columns = [
          column('NODE', 'node'),
          column('STATE', 'state'),
          time('SINCE', 'since'),
          time('LAST EVENT', 'last_event_at'),
          column('DETAIL', 'detail'),
        ];
        call.output.rows(columns, status.nodes as never);
        call.output.note(`things made today: ${status.provisioned_today}`);
      },
    },
  ],
});

const CODEC = 'door-sensor';
const codec = { name: '<codec>', description: 'id of the codec, or its name' };
export const codecs = entityTopic({
  name: 'codecs',
  one: 'codec',
  summary: 'what turns bytes of devices into data, and back',
  collection: (client) => client.codecs as never,
  columns: [
    column('ID', 'id'),
    column('NAME', 'name'),
    column('KIND', 'kind'),
    column('DEVICE PROFILES', 'device_profiles'),
    column('DESCRIPTION', 'description'),
    time('CREATED', 'created_at', { wide: true }),
    column('VERSION', 'version', { wide: true, align: 'right' }),
  ],
  filters: FILTERS,
  fields: [
    ...NAMES,
    {
      flags: '--kind <kind>',
      description: 'what it is',
      member: 'kind',
      choices: ['javascript', 'cayenne-lpp'],
      onlyNew: true,
    },
    {
      flags: '--script <path>',
      description: 'file with the JavaScript; - is standard input',
      member: 'script',
      kind: 'file',
    },
    {
      flags: '--device-profiles <profiles>',
      description: 'ids or names, comma-separated, as the network server says them',
      member: 'device_profiles',
      kind: 'list',
    },
    { flags: '--description <text>', description: 'what it is for', member: 'description' },
  ],
  verbs: ['list', 'get', 'create', 'update', 'delete'],
  example: {
    id: CODEC,
    create: '--name door-sensor --kind javascript --script door-sensor.js --device-profiles door-sensor-v2',
    update: '--script door-sensor.js',
  },
  more: [
    {
      name: 'test',
      summary: 'try a codec, or a script that is not kept yet; fails when the script does',
      arguments: [{ ...codec, name: '[codec]' }],
      options: [
        { flags: '--script <path>', description: 'a script in place of a codec' },
        { flags: '--bytes <bytes>', description: 'an uplink: hex, or base64' },
        { flags: '--data <json>', description: 'a downlink: what shall be encoded' },
        { flags: '--port <port>', description: 'fPort', default: '1' },
        { flags: '--variable <name=value>', description: 'for the script', repeatable: true },
      ],
      examples: [
        `millrace codecs test ${CODEC} --bytes 0167010f --port 2`,
        'millrace codecs test --script door-sensor.js --bytes 0167010f',
        `millrace codecs test ${CODEC} --data '{"open":true}'`,
      ],
      run: tryCodec,
    },
  ],
});

async function tryCodec(call: Call): Promise<void> {
  const script = text(call, 'script');
  const bytes = text(call, 'bytes');
  const data = text(call, 'data');
  const reference = word(call, 0);
  if ((script === undefined) === (reference === ''))
    throw new Failure(2, 'Either a codec or --script is needed.', `As: millrace codecs test ${CODEC} --bytes 00`);
  if ((bytes === undefined) === (data === undefined)) throw new Failure(2, 'Either --bytes or --data is needed.');
  const port = text(call, 'port') ?? '1';
  if (!/^\d{1,3}$/.test(port)) throw new Failure(2, `--port: “${port}” is no port.`);
  const draft = script === undefined ? null : { kind: 'javascript', script: readInput(script) };
  const { codecs: collection } = await call.client();
  const answer = await collection.test({
    ...(draft ?? { codec: await idOf(collection as never, 'codec', reference) }),
    ...(bytes === undefined ? { direction: 'down', data: parsed(data ?? '') } : { direction: 'up', bytes }),
    f_port: Number(port),
    variables: variablesOf(texts(call, 'variable') ?? []),
  } as never);
  call.output.one(answer);
  if (answer.errors.length > 0) throw new Failure(1, answer.errors.join('\n'));
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new Failure(2, `--data: this is no JSON: ${json}`);
  }
}

function variablesOf(given: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    given.map((one) => {
      const [, name, value] = /^([^=]+)=(.*)$/s.exec(one) ?? [];
      if (name === undefined || value === undefined) throw new Failure(2, `--variable: “${one}” is not name=value.`);
      return [name, value];
    }),
  );
}
