import type { Metrics } from '@millrace/core';

/** What the gate counts. Plain numbers on the hot path; the metrics take them over when they are read. */
export class Tally {
  warmDecisions = 0;
  coldAllows = 0;
  coldDenies = 0;
  warmControls = 0;
  coldControls = 0;
  warmIdentifications = 0;
  coldKnown = 0;
  coldRefused = 0;
  keyLookups = 0;
  bearerLookups = 0;
  certificateLookups = 0;
  ticketLookups = 0;
  subjectLookups = 0;
  channelLookups = 0;
  rulesLookups = 0;
  retries = 0;
  busy = 0;
  guessed = 0;
  voids = 0;
  forgotten = 0;
}

export interface MemoSizes {
  readonly credentials: number;
  readonly unknown: number;
  readonly subjects: number;
  readonly channels: number;
  readonly answers: number;
}

/** Shows a tally and the sizes of the memos as metrics. */
export function exposeTally(metrics: Metrics, tally: Tally, sizes: () => MemoSizes): void {
  const rows: [ReturnType<Metrics['counter']>, Record<string, string>, keyof Tally][] = [];
  metrics.gauge('millrace_policy_memo_entries', 'Entries of the gate’s memos', ['memo'], (gauge) => {
    for (const [memo, count] of Object.entries(sizes())) gauge.set({ memo }, count);
    for (const row of rows) flush(row);
  });
  const seen: Partial<Record<keyof Tally, number>> = {};
  const flush = ([counter, labels, name]: (typeof rows)[number]): void => {
    counter.inc(labels, tally[name] - (seen[name] ?? 0));
    seen[name] = tally[name];
  };
  const decisions = metrics.counter('millrace_policy_decisions_total', 'Decisions on messages', ['memo', 'outcome']);
  rows.push([decisions, { memo: 'warm', outcome: 'any' }, 'warmDecisions']);
  rows.push([decisions, { memo: 'cold', outcome: 'allow' }, 'coldAllows']);
  rows.push([decisions, { memo: 'cold', outcome: 'deny' }, 'coldDenies']);
  const controls = metrics.counter('millrace_policy_control_decisions_total', 'Decisions on the control plane', [
    'memo',
  ]);
  rows.push([controls, { memo: 'warm' }, 'warmControls']);
  rows.push([controls, { memo: 'cold' }, 'coldControls']);
  const identified = metrics.counter('millrace_policy_identifications_total', 'Credentials shown', ['memo', 'outcome']);
  rows.push([identified, { memo: 'warm', outcome: 'any' }, 'warmIdentifications']);
  rows.push([identified, { memo: 'cold', outcome: 'known' }, 'coldKnown']);
  rows.push([identified, { memo: 'cold', outcome: 'refused' }, 'coldRefused']);
  const lookups = metrics.counter('millrace_policy_lookups_total', 'Questions to the registry', ['kind']);
  rows.push([lookups, { kind: 'key' }, 'keyLookups']);
  rows.push([lookups, { kind: 'bearer' }, 'bearerLookups']);
  rows.push([lookups, { kind: 'certificate' }, 'certificateLookups']);
  rows.push([lookups, { kind: 'ticket' }, 'ticketLookups']);
  rows.push([lookups, { kind: 'subject' }, 'subjectLookups']);
  rows.push([lookups, { kind: 'channel' }, 'channelLookups']);
  rows.push([lookups, { kind: 'rules' }, 'rulesLookups']);
  const retries = metrics.counter('millrace_policy_stale_lookups_total', 'Look-ups made anew: a change came meanwhile');
  rows.push([retries, {}, 'retries']);
  const busy = metrics.counter('millrace_policy_busy_total', 'Look-ups refused: too many were waiting');
  rows.push([busy, {}, 'busy']);
  const guessed = metrics.counter('millrace_policy_guessed_total', 'Look-ups refused: their network guesses');
  rows.push([guessed, {}, 'guessed']);
  const voids = metrics.counter('millrace_policy_changes_total', 'Changes of the control plane that were applied');
  rows.push([voids, {}, 'voids']);
  const forgotten = metrics.counter('millrace_policy_answers_forgotten_total', 'Times that all answers were forgotten');
  rows.push([forgotten, {}, 'forgotten']);
}
