import { idOf, PAGING, queryOf } from './entity.ts';
import { Failure } from './failure.ts';
import {
  type Call,
  type CommandSpecification,
  type OptionSpecification,
  type Topic,
  text,
  texts,
  word,
} from './specification.ts';
import { column, time } from './table.ts';

const WEBHOOK = '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0160';
/** A page at a time. */
const PAGES = PAGING.slice(0, 2);
const webhook = { name: '<webhook>', description: 'id of the webhook' };
const SETTINGS: readonly OptionSpecification[] = [
  { flags: '--name <name>', description: 'what it is known by' },
  { flags: '--to <url>', description: 'URL that requests go to' },
  { flags: '--subtopic <filter>', description: 'only these: + for one segment, # at the end for any rest' },
  { flags: '--format <format>', description: 'many messages a request, or one as it came', choices: ['batch', 'raw'] },
  { flags: '--header <headers...>', description: 'sent with each request, as "authorization: Bearer x"' },
];

const ask = async <T>(call: Call, method: string, path: string, body?: unknown): Promise<T> =>
  (await call.client()).transport.call<T>(method, path, {
    signal: call.signal,
    ...(body === undefined ? {} : { body }),
  });
const at = (call: Call, tail = ''): string => `/webhooks/${encodeURIComponent(word(call, 0))}${tail}`;

/** @throws Failure 2 for a head that is none */
function settingsOf(call: Call): Record<string, unknown> {
  const given = texts(call, 'header');
  const headers = given?.map((each) => {
    const [, name = '', value = ''] = /^([^:\s]+):\s*(.*)$/s.exec(each) ?? [];
    if (name === '') throw new Failure(2, `${JSON.stringify(each.slice(0, 20))} is no head.`, 'Write "name: value".');
    return [name, value] as const;
  });
  return {
    name: text(call, 'name'),
    url: text(call, 'to'),
    subtopic: text(call, 'subtopic'),
    format: text(call, 'format'),
    headers: headers === undefined ? undefined : Object.fromEntries(headers),
  };
}

/** A command that does one thing to a webhook and shows what is answered. */
const simple = (name: string, summary: string, method: string, tail: string, body?: unknown): CommandSpecification => ({
  name,
  summary,
  arguments: [webhook],
  examples: [`millrace webhooks ${name} ${WEBHOOK}`],
  run: async (call) => call.output.one(await ask(call, method, at(call, tail), body)),
});

export const webhooks: Topic = {
  name: 'webhooks',
  summary: 'messages of channels that are sent to URLs',
  commands: [
    {
      name: 'create',
      summary: 'send the messages of a channel to a URL; shows the secret that signs them',
      options: [{ flags: '-c, --channel <channel>', description: 'id, or name, of the channel' }, ...SETTINGS],
      examples: [
        'millrace webhooks create --channel kitchen --name alarms --to https://example.org/hooks --subtopic "+/alarm"',
      ],
      async run(call) {
        const channel = text(call, 'channel');
        if (channel === undefined) throw new Failure(2, 'There is no channel.', 'Name one by --channel.');
        const client = await call.client();
        const body = { ...settingsOf(call), channel: await idOf(client.channels as never, 'channel', channel) };
        call.output.one(await ask(call, 'POST', '/webhooks', body));
      },
    },
    {
      name: 'list',
      summary: 'list webhooks',
      options: PAGES,
      examples: ['millrace webhooks list'],
      async run(call) {
        const { transport } = await call.client();
        const columns = [
          column('ID', 'id'),
          column('NAME', 'name'),
          column('CHANNEL', 'channel'),
          column('URL', 'url'),
          column('SUBTOPIC', 'subtopic', { wide: true }),
          column('ENABLED', 'enabled'),
        ];
        const query = queryOf(call, PAGES);
        call.output.page(columns, 'webhooks', await transport.call('GET', '/webhooks', { query, signal: call.signal }));
      },
    },
    simple('get', 'show a webhook', 'GET', ''),
    simple('status', 'how far a webhook has come', 'GET', '/status'),
    {
      name: 'update',
      summary: 'change a webhook; heads as a whole',
      arguments: [webhook],
      options: SETTINGS,
      examples: [`millrace webhooks update ${WEBHOOK} --subtopic "hall/#"`],
      run: async (call) => call.output.one(await ask(call, 'PATCH', at(call), settingsOf(call))),
    },
    simple('enable', 'send to it again, from where it stood', 'POST', '/enable'),
    simple('disable', 'send nothing to it', 'POST', '/disable'),
    simple('test', 'make one request, and tell how it went', 'POST', '/test'),
    simple('rotate-secret', 'give it a new secret; the old one signs for another day', 'POST', '/secret', {}),
    simple('replay', 'send again what it did not take', 'POST', '/replay', {}),
    ...(['deliveries', 'letters'] as const).map(
      (name): CommandSpecification => ({
        name,
        summary: name === 'deliveries' ? 'the last requests to it' : 'requests that were given up',
        arguments: [webhook],
        examples: [`millrace webhooks ${name} ${WEBHOOK}`],
        async run(call) {
          const columns = [
            time(name === 'deliveries' ? 'AT' : 'GIVEN UP', name === 'deliveries' ? 'at' : 'created_at'),
            column('REQUEST', 'webhook_id'),
            column('MESSAGES', 'messages'),
            ...(name === 'deliveries'
              ? [column('STATUS', 'status'), column('MS', 'ms'), column('ERROR', 'error')]
              : [column('ID', 'id'), column('REASON', 'reason')]),
          ];
          call.output.page(columns, name, await ask(call, 'GET', at(call, `/${name}`)));
        },
      }),
    ),
    {
      name: 'delete',
      summary: 'delete a webhook, with what was given up',
      arguments: [webhook],
      examples: [`millrace webhooks delete ${WEBHOOK}`],
      async run(call) {
        await ask(call, 'DELETE', at(call));
        call.output.note(`deleted ${word(call, 0)}`);
      },
    },
  ],
};
