import type { Client } from '@millrace/sdk';
import { idOf } from './entity.ts';
import { Failure } from './failure.ts';
import { type Call, type CommandSpecification, text, word } from './specification.ts';
import { moment, printable, type Row } from './table.ts';

/** `millrace explain`: why a message is not there, for people. */
export const explain: CommandSpecification = {
  name: 'explain',
  summary: 'what became of a message; or why a thing can not publish to a channel',
  arguments: [{ name: '[message]', description: 'id of the message, as publishing answered' }],
  options: [
    { flags: '--channel <channel>', description: 'in place of a message: how this channel is' },
    { flags: '--thing <thing>', description: 'with --channel: whether this thing may publish there, and what it did' },
    { flags: '--subtopic <subtopic>', description: 'with --thing: to which subtopic' },
  ],
  examples: [
    'millrace explain 0198c1a2-4d5e-7000-8000-000000000001',
    'millrace explain --channel kitchen',
    'millrace explain --channel kitchen --thing thermometer',
  ],
  async run(call) {
    const [message, channel, thing] = [word(call, 0), text(call, 'channel'), text(call, 'thing')];
    if ((message === '') === (channel === undefined))
      throw new Failure(
        2,
        'Say which message, or which channel.',
        'As: millrace explain <id>, millrace explain --channel <channel>',
      );
    if (thing !== undefined && channel === undefined) throw new Failure(2, '--thing goes with --channel.');
    const client = await call.client();
    if (channel === undefined) return explainMessage(call, client, message);
    const id = await idOf(client.channels as never, 'channel', channel);
    if (thing === undefined) return explainChannel(call, client, id);
    return explainThing(call, client, id, await idOf(client.things as never, 'thing', thing));
  },
};

const CODES = { bad: 31, good: 32, doubtful: 33, quiet: 90 } as const;
type Tone = keyof typeof CODES;
const TONES: Readonly<Record<string, Tone>> = {
  error: 'bad',
  dead: 'bad',
  denied: 'bad',
  warning: 'doubtful',
  dropped: 'doubtful',
  waiting: 'doubtful',
  accepted: 'good',
  allowed: 'good',
  stored: 'good',
  ok: 'good',
  info: 'quiet',
  delivered: 'quiet',
};

/** Colours only where somebody sees them.  @source https://no-color.org */
function tinted(what: string, columns: number): string {
  const told = what.padEnd(columns);
  const isSeen = process.stdout.isTTY === true && !process.env.NO_COLOR;
  const tone = TONES[what];
  return isSeen && tone !== undefined ? `\u001b[${CODES[tone]}m${told}\u001b[0m` : told;
}
const INDENT = 10;
const line = (what: string, said: string, ...more: readonly string[]): string =>
  [
    `${tinted(what, INDENT)}${printable(said)}\n`,
    ...more.map((each) => `${' '.repeat(INDENT)}${printable(each)}\n`),
  ].join('');

async function explainMessage(call: Call, client: Client, id: string): Promise<void> {
  const fate = (await client.messages.fate(id)) as Row;
  if (call.output.json) call.output.one(fate);
  else call.output.write(fateText(fate));
  if (fate.status === 'dead') process.exitCode = 1;
}

function fateText(fate: Row): string {
  const steps = (fate.steps ?? []) as readonly { what: string; at?: string; detail: string; link?: string }[];
  const dead = (fate.dead ?? []) as readonly {
    id: string;
    index: number | null;
    reason: string;
    detail: string;
    state: string;
  }[];
  return [
    `${tinted(String(fate.status), 0)}: ${printable(String(fate.detail))}\n\n`,
    ...steps.map(({ what, at, detail, link }) =>
      line(
        what,
        `${at === undefined ? '' : `${moment(at)}  `}${detail}`,
        ...(link === undefined ? [] : [`GET ${link}`]),
      ),
    ),
    ...(dead.length === 0 ? [] : ['\n']),
    ...dead.map(({ id, index, reason, detail, state }) =>
      line(
        'dead',
        `${index === null ? 'the message' : `record ${index}`}: ${reason}: ${detail} (${state}; millrace dead-letters get ${id})`,
      ),
    ),
    ...(fate.replay_of === undefined ? [] : [`\nIt is the replay of the dead letter ${fate.replay_of}.\n`]),
  ].join('');
}

async function explainChannel(call: Call, client: Client, channel: string): Promise<void> {
  const health = (await client.messages.health(channel)) as Row;
  if (call.output.json) call.output.one(health);
  else call.output.write(healthText(health));
  if (findings(health).some(({ severity }) => severity === 'error')) process.exitCode = 1;
}

const findings = (health: Row) =>
  (health.findings ?? []) as readonly { readonly severity: string; readonly text: string; readonly do: string }[];

function healthText(health: Row): string {
  const rates = Object.entries((health.rates ?? {}) as Readonly<Record<string, Row>>);
  const last = health.last_message as Row | null;
  const lag = health.lag as Row | null;
  return [
    ...findings(health).map((each) => line(each.severity, each.text, ...(each.do === '' ? [] : [each.do]))),
    '\n',
    ...rates.map(
      ([window, of]) =>
        `${window.padEnd(10)}${of.messages} messages (${of.messages_per_second}/s), ${of.readings} readings\n`,
    ),
    ...(lag === null
      ? []
      : [`${'waiting'.padEnd(10)}${lag.messages} messages in its partition, for ${lag.seconds} s\n`]),
    ...(last === null
      ? []
      : [
          `${'last'.padEnd(10)}${moment(last.received)}  ${last.id} by ${last.protocol} from ${printable(String(last.publisher))}\n`,
        ]),
  ].join('');
}

const LETTERS_SHOWN = 5;

/** Whether a thing may publish now, and what it did lately. */
async function explainThing(call: Call, client: Client, channel: string, thing: string): Promise<void> {
  const subtopic = text(call, 'subtopic') ?? '';
  const resource = subtopic === '' ? `channels/${channel}/messages` : `channels/${channel}/messages/${subtopic}`;
  const [record, health, decision, letters, refused] = await Promise.all([
    client.things.get(thing) as Promise<unknown>,
    client.messages.health(channel) as Promise<unknown>,
    client.transport.call('POST', '/policies/simulate', {
      body: { subject: { thing }, action: 'publish', resource },
    }),
    client.transport.call('GET', '/dead-letters', { query: { channel, publisher: thing, limit: LETTERS_SHOWN } }),
    client.transport
      .call('GET', '/audit', { query: { actor: thing, outcome: 'denied', action: 'publish', limit: LETTERS_SHOWN } })
      // Not everybody may read it.
      .catch(() => null),
  ]);
  const told = {
    thing: record,
    decision,
    health,
    ...(letters as Row),
    refused: (refused as Row | null)?.entries ?? null,
  };
  if (call.output.json) call.output.one(told);
  else call.output.write(thingText(told as never, channel));
  if ((decision as Row).allowed !== true) process.exitCode = 1;
}

interface ThingTold {
  readonly thing: Row;
  readonly decision: Row;
  readonly health: Row;
  readonly dead_letters: readonly Row[];
  readonly refused: readonly Row[] | null;
}

function thingText({ thing, decision, health, dead_letters: letters, refused }: ThingTold, channel: string): string {
  const allowed = decision.allowed === true;
  const statement = decision.statement as Row | null | undefined;
  const source = statement === null || statement === undefined ? '' : `, by ${JSON.stringify(statement.source)}`;
  const published = ((health.publishers ?? []) as readonly Row[]).find(({ id }) => id === thing.id);
  const presence = (thing.presence ?? {}) as Row;
  const state = thing.enabled === false ? ' It is disabled.' : '';
  const seen =
    presence.online === true
      ? 'is online'
      : presence.last_seen
        ? `was last heard of ${moment(presence.last_seen)}`
        : 'was never heard of';
  return [
    line(
      allowed ? 'allowed' : 'denied',
      `It may ${allowed ? '' : 'not '}publish to ${channel} now: ${decision.reason}${source}.${state}`,
    ),
    line('info', `It ${seen}.`),
    published === undefined
      ? line('info', 'Nothing came from it to this channel lately.')
      : line(
          'stored',
          `${published.messages} messages lately, ${published.dead} of them dead; the last ${moment(published.last)}.`,
        ),
    ...letters.map((letter) =>
      line(
        'dead',
        `${moment(letter.received)}  ${letter.reason}: ${letter.detail} (millrace dead-letters get ${letter.id})`,
      ),
    ),
    ...(refused === null ? [line('info', 'What was refused stands in the audit, which you may not read.')] : []),
    ...(refused ?? []).map((entry) =>
      line(
        'denied',
        `${moment(entry.at)}  ${entry.count} times on ${(entry.detail as Row).object}: ${(entry.detail as Row).reason}`,
      ),
    ),
  ].join('');
}
