import type { ActivityWindow, ChannelActivity } from '@millrace/core';
import { advise, explain } from './reasons.ts';

/** One thing that is worth knowing, in plain words.  @shape do: what to do about it; "" if nothing */
export interface Finding {
  readonly severity: 'error' | 'warning' | 'info' | 'ok';
  readonly text: string;
  readonly do: string;
}
/** A thing that may publish to the channel. */
export interface Connectee {
  readonly id: string;
  readonly name: string;
  readonly enabled: boolean;
  /** Whether it was ever heard of, and is there now. */
  readonly seen: boolean;
  readonly online: boolean;
}
/** Somebody whose publishing was refused. */
export interface Refused {
  readonly id: string;
  readonly name: string | null;
  readonly reason: string;
  readonly count: number;
}
export interface HealthFacts {
  readonly enabled: boolean;
  readonly activity: ChannelActivity;
  /** null where nobody knows. */
  readonly lag: { readonly messages: number; readonly seconds: number } | null;
  /** Connected with publish, and not among those who published in the widest window. */
  readonly silent: readonly Connectee[];
  /** How many are connected with publish. */
  readonly publishers: number;
  readonly refused: readonly Refused[];
  readonly nowMs: number;
}

const LAG_MESSAGES = 10_000;
const LAG_SECONDS = 60;
const DEAD_SHARE = 0.1;
const REPEATED_SHARE = 0.5;
const NAMED_MAX = 5;
const SPANS: Readonly<Record<ActivityWindow['seconds'], string>> = {
  60: 'minute',
  900: '15 minutes',
  3600: 'hour',
  86400: 'day',
};

/** What is wrong with a channel, the worst first. */
export function findingsOf(facts: HealthFacts): Finding[] {
  const findings = [
    ...disabled(facts),
    ...deadLetters(facts),
    ...behind(facts),
    ...refusals(facts),
    ...dropped(facts),
    ...silence(facts),
    ...bounded(facts),
  ];
  const isWell = findings.every(({ severity }) => severity === 'info');
  if (isWell && (widest(facts)?.messages ?? 0) > 0)
    findings.unshift({ severity: 'ok', text: 'Messages arrive and are stored.', do: '' });
  return findings.toSorted((a, b) => RANK[a.severity] - RANK[b.severity]);
}
const RANK: Readonly<Record<Finding['severity'], number>> = { error: 0, warning: 1, ok: 2, info: 3 };

const widest = ({ activity }: HealthFacts): ActivityWindow | undefined => activity.windows.at(-1);
/** The shortest window from a quarter of an hour on in which anything came: what is the matter now. */
const lately = ({ activity }: HealthFacts): ActivityWindow | undefined =>
  activity.windows.find(({ seconds, messages }) => seconds >= 900 && messages > 0);

function disabled({ enabled }: HealthFacts): Finding[] {
  if (enabled) return [];
  return [{ severity: 'error', text: 'The channel is disabled: it takes no messages.', do: 'Enable the channel.' }];
}

function deadLetters(facts: HealthFacts): Finding[] {
  const window = lately(facts);
  if (window === undefined) return [];
  const { deadMessages, deadRecords, messages, readings, seconds } = window;
  const whole = sum(deadMessages);
  const records = sum(deadRecords);
  const reason = mostOf(whole > 0 ? deadMessages : deadRecords);
  if (reason === null) return [];
  const span = SPANS[seconds];
  const what = `${explain(reason)} ${advise(reason)}`.trim();
  if (whole >= messages)
    return [
      {
        severity: 'error',
        text: `All ${messages} messages of the last ${span} are dead letters: ${listed(deadMessages)}.`,
        do: what,
      },
    ];
  if (whole > 0)
    return [
      {
        severity: whole / messages > DEAD_SHARE ? 'error' : 'warning',
        text: `${whole} of ${messages} messages of the last ${span} are dead letters: ${listed(deadMessages)}.`,
        do: what,
      },
    ];
  return [
    {
      severity: records / (records + readings) > DEAD_SHARE ? 'error' : 'warning',
      text: `${records} records of the last ${span} are dead letters, beside ${readings} readings: ${listed(deadRecords)}.`,
      do: what,
    },
  ];
}

function behind({ lag }: HealthFacts): Finding[] {
  if (lag === null || (lag.messages < LAG_MESSAGES && lag.seconds < LAG_SECONDS)) return [];
  return [
    {
      severity: 'warning',
      text: `The processors are ${lag.messages} messages behind, the first of them has waited for ${Math.round(lag.seconds)} s.`,
      do: 'What was accepted is safe and will be stored. If it grows, see whether the processors and ClickHouse run: GET /health/ready.',
    },
  ];
}

function refusals({ refused }: HealthFacts): Finding[] {
  return refused.slice(0, NAMED_MAX).map(({ id, name, reason, count }) => ({
    severity: 'warning' as const,
    text: `${named(id, name)} was refused ${count} time${count === 1 ? '' : 's'} since yesterday: ${reason}.`,
    do: 'Connect it with the channel, or allow it by a policy; POST /policies/simulate tells which rule decides.',
  }));
}

function dropped(facts: HealthFacts): Finding[] {
  const window = lately(facts);
  if (window === undefined) return [];
  const { dropped: drops, messages, seconds } = window;
  const findings: Finding[] = [];
  const { duplicate = 0, filtered = 0, nothing = 0 } = drops;
  const span = SPANS[seconds];
  if (filtered > 0 && filtered >= messages)
    findings.push({
      severity: 'error',
      text: `${explain('filtered')} So it was with all of the last ${span}.`,
      do: advise('filtered'),
    });
  else if (filtered > 0)
    findings.push({
      severity: 'info',
      text: `${filtered} messages of the last ${span} are left out by the profile.`,
      do: advise('filtered'),
    });
  if (duplicate / messages > REPEATED_SHARE)
    findings.push({
      severity: 'warning',
      text: `${duplicate} of ${messages} messages of the last ${span} repeat earlier ones.`,
      do: advise('duplicate'),
    });
  if (nothing > 0)
    findings.push({
      severity: 'info',
      text: `${nothing} messages of the last ${span} have no content that is kept.`,
      do: advise('nothing'),
    });
  return findings;
}

function silence(facts: HealthFacts): Finding[] {
  const { silent, publishers, activity, nowMs } = facts;
  const findings: Finding[] = [];
  const window = widest(facts);
  if ((window?.messages ?? 0) === 0 && window !== undefined) {
    const { last } = activity;
    const since =
      last === null
        ? 'Nothing was ever stored of it.'
        : `The last came ${ago(nowMs - Number(last.receivedUs) / 1_000)} ago.`;
    findings.push({
      severity: publishers === 0 ? 'warning' : 'info',
      text: `No message came in the last ${SPANS[window.seconds]}. ${since}`,
      do: publishers === 0 ? 'Nothing is connected with publish: POST /connect connects a thing with the channel.' : '',
    });
  }
  for (const thing of silent.slice(0, NAMED_MAX)) findings.push(silentFinding(thing));
  if (silent.length > NAMED_MAX)
    findings.push({
      severity: 'info',
      text: `${silent.length - NAMED_MAX} more things are connected and silent.`,
      do: '',
    });
  return findings;
}

function silentFinding({ id, name, enabled, seen, online }: Connectee): Finding {
  const who = named(id, name === '' ? null : name);
  if (!enabled) return { severity: 'info', text: `${who} is connected, but disabled.`, do: 'Enable the thing.' };
  if (!seen)
    return {
      severity: 'warning',
      text: `${who} is connected, but was never heard of.`,
      do: 'Check its address of the server, its id and its key: a thing with a wrong key is nobody.',
    };
  if (online)
    return {
      severity: 'warning',
      text: `${who} is online, but published nothing here since yesterday.`,
      do: 'Check the channel and the topic that it publishes to.',
    };
  return { severity: 'info', text: `${who} published nothing here since yesterday, and is offline.`, do: '' };
}

function bounded({ activity }: HealthFacts): Finding[] {
  const last = activity.windows.at(-1);
  if (last?.seconds === 86_400) return [];
  const text =
    last === undefined
      ? 'The installation is so busy that nothing could be counted at a bounded cost.'
      : `The installation is so busy that only the last ${SPANS[last.seconds]} could be counted at a bounded cost.`;
  return [{ severity: 'info', text, do: 'Ask the readings, or GET /metrics, for longer times.' }];
}

const sum = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((all, one) => all + one, 0);
const ordered = (counts: Readonly<Record<string, number>>): [string, number][] =>
  Object.entries(counts).toSorted(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
const mostOf = (counts: Readonly<Record<string, number>>): string | null => ordered(counts)[0]?.[0] ?? null;
const listed = (counts: Readonly<Record<string, number>>): string =>
  ordered(counts)
    .map(([reason, count]) => `${count} ${reason}`)
    .join(', ');
const named = (id: string, name: string | null): string => (name === null ? id : `"${name}" (${id})`);

/** As people say it. */
export function ago(ms: number): string {
  const [minutes, hours, days] = [ms / 60_000, ms / 3_600_000, ms / 86_400_000].map(Math.floor) as [
    number,
    number,
    number,
  ];
  if (days > 0) return `${days} d`;
  if (hours > 0) return `${hours} h`;
  return minutes > 0 ? `${minutes} min` : `${Math.max(0, Math.floor(ms / 1_000))} s`;
}
