import { setTimeout as sleep } from 'node:timers/promises';
import { idOf, PAGING, queryOf } from './entity.ts';
import { Failure } from './failure.ts';
import { type Call, flag, type OptionSpecification, type Topic, text, texts, word } from './specification.ts';
import { column, time } from './table.ts';

const DELETION = '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0170';
const HOLD = '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0171';
const POLL_MS = 500;
/** A page at a time. */
const PAGES = PAGING.slice(0, 2);
const deletion = { name: '<deletion>', description: 'id of the deletion' };
const hold = { name: '<hold>', description: 'id of the hold' };

/** What is meant. */
const REACH: readonly OptionSpecification[] = [
  { flags: '-c, --channel <channels...>', description: 'ids, or names, of channels' },
  { flags: '--publisher <ids...>', description: 'only what these things or users published' },
  { flags: '--from <time>', description: 'from this time on: RFC 3339, seconds, or now-30d' },
  { flags: '--to <time>', description: 'before this time' },
];
const REASON: OptionSpecification = { flags: '--reason <text>', description: 'why, for who reads it later' };

/** @throws Failure 2 without a reason */
async function reachOf(call: Call): Promise<Record<string, unknown>> {
  const reason = text(call, 'reason');
  if (reason === undefined) throw new Failure(2, 'There is no reason.', 'Give one by --reason: it is kept.');
  const client = await call.client();
  const named = texts(call, 'channel');
  const channels: string[] = [];
  for (const name of named ?? []) channels.push(await idOf(client.channels as never, 'channel', name));
  return {
    channels: named === undefined ? undefined : channels,
    publishers: texts(call, 'publisher'),
    from: text(call, 'from'),
    to: text(call, 'to'),
    reason,
  };
}

const ask = async <T>(call: Call, method: string, path: string, body?: unknown): Promise<T> =>
  (await call.client()).transport.call<T>(method, path, {
    signal: call.signal,
    ...(body === undefined ? {} : { body }),
  });
const at = (call: Call, entity: string): string => `/${entity}/${encodeURIComponent(word(call, 0))}`;

interface Deletion {
  readonly id: string;
  readonly finished_at: string | null;
}

async function ended(call: Call, id: string): Promise<Deletion> {
  for (;;) {
    const found = await ask<Deletion>(call, 'GET', `/deletions/${encodeURIComponent(id)}`);
    if (found.finished_at !== null) return found;
    await sleep(POLL_MS, undefined, { signal: call.signal });
  }
}

export const deletions: Topic = {
  name: 'deletions',
  summary: 'stored data that was deleted, and the proof of it',
  commands: [
    {
      name: 'create',
      summary: 'delete stored data, physically',
      options: [
        ...REACH,
        { flags: '--every-channel', description: 'in the place of --channel' },
        { flags: '--reading <names...>', description: 'only readings of these names' },
        { flags: '--subtopic <subtopics...>', description: 'only these subtopics' },
        {
          flags: '--what <what>',
          description: 'what is deleted',
          choices: ['readings', 'payloads', 'dead_letters', 'message_log', 'all'],
          default: 'all',
        },
        REASON,
        { flags: '--dry-run', description: 'only count' },
        { flags: '--wait', description: 'until it has ended' },
        { flags: '-y, --yes', description: 'do not ask' },
      ],
      examples: [
        'millrace deletions create --channel kitchen --from 2026-01-01T00:00:00Z --to now-30d --reason "asked for" --yes --wait',
        'millrace deletions create --every-channel --what readings --reason "a test" --dry-run',
      ],
      async run(call) {
        const reach = await reachOf(call);
        const isDry = flag(call, 'dryRun');
        if (!isDry && !flag(call, 'yes'))
          throw new Failure(2, 'What is deleted does not come back.', 'Count it by --dry-run; then say --yes.');
        const made = await ask<Deletion>(call, 'POST', '/deletions', {
          ...reach,
          ...(flag(call, 'everyChannel') ? { all: true } : {}),
          names: texts(call, 'reading'),
          subtopics: texts(call, 'subtopic'),
          what: text(call, 'what') ?? 'all',
          dry_run: isDry,
        });
        call.output.one(flag(call, 'wait') && !isDry ? await ended(call, made.id) : made);
      },
    },
    {
      name: 'list',
      summary: 'list deletions, newest first',
      options: PAGES,
      examples: ['millrace deletions list'],
      async run(call) {
        const { transport } = await call.client();
        const columns = [
          column('ID', 'id'),
          column('STATUS', 'status'),
          column('REASON', 'reason'),
          time('ASKED', 'asked_at'),
          time('ENDED', 'finished_at'),
          column('ERROR', 'error', { wide: true }),
        ];
        const query = queryOf(call, PAGES);
        call.output.page(
          columns,
          'deletions',
          await transport.call('GET', '/deletions', { query, signal: call.signal }),
        );
      },
    },
    {
      name: 'get',
      summary: 'what became of a deletion: its proof',
      arguments: [deletion],
      options: [{ flags: '--wait', description: 'until it has ended' }],
      examples: [`millrace deletions get ${DELETION} --wait`],
      async run(call) {
        const id = word(call, 0);
        call.output.one(flag(call, 'wait') ? await ended(call, id) : await ask(call, 'GET', at(call, 'deletions')));
      },
    },
  ],
};

const STATES: readonly OptionSpecification[] = [
  { flags: '--active <active>', description: 'only those that hold, or that are released', choices: ['true', 'false'] },
];

export const holds: Topic = {
  name: 'holds',
  summary: 'stored data that must stay: neither deleted nor expiring',
  commands: [
    {
      name: 'create',
      summary: 'hold stored data; all of the organisation where nothing is said',
      options: [{ flags: '--name <name>', description: 'what it is known by' }, ...REACH, REASON],
      examples: ['millrace holds create --name "Case 17" --channel kitchen --reason "asked for by the court"'],
      async run(call) {
        const name = text(call, 'name');
        if (name === undefined) throw new Failure(2, 'The hold has no name.', 'Give one by --name.');
        call.output.one(await ask(call, 'POST', '/holds', { name, ...(await reachOf(call)) }));
      },
    },
    {
      name: 'list',
      summary: 'list holds, newest first',
      options: [...STATES, ...PAGES],
      examples: ['millrace holds list --active true'],
      async run(call) {
        const { transport } = await call.client();
        const columns = [
          column('ID', 'id'),
          column('NAME', 'name'),
          column('REASON', 'reason'),
          time('CREATED', 'created_at'),
          time('IN FORCE', 'in_force_at'),
          time('RELEASED', 'released_at'),
        ];
        const query = queryOf(call, [...STATES, ...PAGES]);
        call.output.page(columns, 'holds', await transport.call('GET', '/holds', { query, signal: call.signal }));
      },
    },
    {
      name: 'get',
      summary: 'show a hold',
      arguments: [hold],
      examples: [`millrace holds get ${HOLD}`],
      run: async (call) => call.output.one(await ask(call, 'GET', at(call, 'holds'))),
    },
    {
      name: 'release',
      summary: 'let retention and deletions have it again',
      arguments: [hold],
      examples: [`millrace holds release ${HOLD}`],
      run: async (call) => call.output.one(await ask(call, 'DELETE', at(call, 'holds'))),
    },
  ],
};
