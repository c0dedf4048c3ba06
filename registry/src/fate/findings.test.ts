import type { ActivityWindow, ChannelActivity } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { ago, findingsOf, type HealthFacts } from './findings.ts';

const window = (seconds: ActivityWindow['seconds'], more: Partial<ActivityWindow> = {}): ActivityWindow => ({
  seconds,
  messages: 0,
  bytes: 0,
  readings: 0,
  dropped: {},
  deadMessages: {},
  deadRecords: {},
  ...more,
});
const activity = (windows: readonly ActivityWindow[], more: Partial<ChannelActivity> = {}): ChannelActivity => ({
  windows,
  publishers: [],
  publisherCount: 0,
  contentTypes: [],
  last: null,
  ...more,
});
const of = (more: Partial<HealthFacts>) =>
  findingsOf({
    enabled: true,
    activity: activity([window(60), window(900), window(3_600), window(86_400)]),
    lag: null,
    silent: [],
    publishers: 1,
    refused: [],
    nowMs: 0,
    ...more,
  }).map(({ severity, text }) => `${severity}: ${text}`);
const day = (more: Partial<ActivityWindow>) => activity([window(86_400, more)]);

describe('what is wrong with a channel, in plain words', () => {
  test('nothing, if messages arrive and are stored', () => {
    expect(of({ activity: day({ messages: 5, readings: 5 }) })).toEqual(['ok: Messages arrive and are stored.']);
    expect(of({ activity: day({ messages: 5 }), lag: { messages: 9, seconds: 1 } })).toHaveLength(1);
  });

  test('all of what came lately is dead, with the most frequent reason and what to do', () => {
    const hour = { messages: 7, deadMessages: { malformed_json: 5, forbidden: 2 } };
    const facts = {
      activity: activity([window(60), window(900), window(3_600, hour), window(86_400, { messages: 900 })]),
    };
    expect(of(facts)).toEqual([
      'error: All 7 messages of the last hour are dead letters: 5 malformed_json, 2 forbidden.',
    ]);
    const [finding] = findingsOf({
      enabled: true,
      lag: null,
      silent: [],
      publishers: 1,
      refused: [],
      nowMs: 0,
      ...facts,
    });
    expect(finding?.do).toContain('no well-formed JSON');
  });

  test('some are dead: a warning, an error from a tenth on', () => {
    const some = (dead: number) => of({ activity: day({ messages: 100, deadMessages: { no_reading: dead } }) })[0];
    expect(some(5)).toBe('warning: 5 of 100 messages of the last day are dead letters: 5 no_reading.');
    expect(some(11)).toContain('error: 11 of 100');
    const records = of({ activity: day({ messages: 9, readings: 90, deadRecords: { no_value: 2 } }) });
    expect(records[0]).toBe('warning: 2 records of the last day are dead letters, beside 90 readings: 2 no_value.');
  });

  test('nothing comes: nobody is connected, or since when', () => {
    expect(of({ publishers: 0 })[0]).toBe('warning: No message came in the last day. Nothing was ever stored of it.');
    const last = { receivedUs: '0' } as never;
    const silent = activity([window(86_400)], { last });
    expect(of({ activity: silent, nowMs: 3 * 86_400_000 })).toEqual([
      'info: No message came in the last day. The last came 3 d ago.',
    ]);
  });

  test('the channel, a thing or the processors stand in the way; the worst comes first', () => {
    const thing = { id: 't', name: 'pump', enabled: true, seen: true, online: true };
    const told = of({
      enabled: false,
      activity: day({ messages: 10, dropped: { duplicate: 6, filtered: 1, nothing: 1 } }),
      lag: { messages: 40_000, seconds: 3.4 },
      silent: [thing, { ...thing, seen: false }, { ...thing, enabled: false }, { ...thing, online: false }],
      refused: [{ id: 'x', name: null, reason: 'not_allowed', count: 3 }],
    });
    expect(told[0]).toContain('error: The channel is disabled');
    expect(told.join('\n')).toContain(
      'The processors are 40000 messages behind, the first of them has waited for 3 s.',
    );
    expect(told).toContain('warning: x was refused 3 times since yesterday: not_allowed.');
    expect(told).toContain('warning: "pump" (t) is connected, but was never heard of.');
    expect(told).toContain('warning: "pump" (t) is online, but published nothing here since yesterday.');
    expect(told).toContain('warning: 6 of 10 messages of the last day repeat earlier ones.');
    expect(told.map((line) => line.split(':')[0])).toEqual(told.map((line) => line.split(':')[0]).toSorted(bySeverity));
  });

  test('what could not be counted is said', () => {
    expect(of({ activity: activity([]) })[0]).toContain('so busy that nothing could be counted');
    expect(of({ activity: activity([window(60, { messages: 1 })]) }).join()).toContain('only the last minute');
  });
});

const RANK = ['error', 'warning', 'ok', 'info'];
const bySeverity = (a = '', b = ''): number => RANK.indexOf(a) - RANK.indexOf(b);

test('how long ago is said as people do', () => {
  expect([0, 59_000, 60_000, 3_600_000, 200_000_000].map(ago)).toEqual(['0 s', '59 s', '1 min', '1 h', '2 d']);
});
