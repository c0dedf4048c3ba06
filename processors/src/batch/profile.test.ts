import { type ChannelProfile, EXPIRES_NEVER } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { envelopeOf, type MessageFields, RECEIVED_US, taskOf } from '../testing/envelopes.ts';
import { newNormaliser, normalised, rowsOf } from '../testing/rows.ts';
import type { BatchTask } from './task.ts';

const JSON_TYPE = 'application/json';
const under = (profile: ChannelProfile, messages: readonly MessageFields[], options: Partial<BatchTask> = {}) =>
  normalised(
    taskOf(
      messages.map((message) => envelopeOf(message)),
      { profilesVersion: newVersion(), profiles: [{ channel: 'channel', profile }], ...options },
    ),
  );
let version = 0;
const newVersion = (): number => ++version;
const json = (value: unknown): MessageFields => ({ payload: JSON.stringify(value), contentType: JSON_TYPE });
const ns = (us: number): bigint => BigInt(us) * 1_000n;

describe('the time of a JSON message', () => {
  test('is what its member says, which is no reading itself', () => {
    const rows = under({ timeField: 'meta.at', timeFormat: 'ms' }, [json({ meta: { at: 1_000, id: 'x' }, t: 21 })]);
    expect(rows.readings.map(({ name, time }) => [name, time])).toEqual([
      ['meta.id', ns(1_000_000)],
      ['t', ns(1_000_000)],
    ]);
  });
  test('is that of each record of an array, and of reception where it says none', () => {
    const rows = under({ timeField: 'at' }, [json([{ at: 2, a: 1 }, { at: 1, a: 2 }, { a: 3 }])]);
    expect(rows.readings.map(({ name, time, value, index }) => [name, time, value, index])).toEqual([
      ['a', ns(1_000_000), 2, 1],
      ['a', ns(2_000_000), 1, 0],
      ['a', ns(RECEIVED_US), 3, 2],
    ]);
  });
  test('that can not be read costs its record only', () => {
    const rows = under(
      { timeField: 'at' },
      [
        json([
          { at: 'soon', a: 1 },
          { at: 1, a: 2 },
        ]),
        json({ at: 'x', a: 1 }),
      ],
      {
        raw: 'none',
      },
    );
    expect(rows.readings).toMatchObject([{ name: 'a', value: 2 }]);
    expect(rows.dead_letters).toMatchObject([
      { reason: 'bad_time', record_index: 0, payload: '{"at":"soon","a":1}' },
      { reason: 'bad_time', record_index: 0, payload: '{"at":"x","a":1}' },
    ]);
    expect(rows.tally).toMatchObject({ stored: 1, dead: { no_reading: 1 }, deadRecords: { bad_time: 2 } });
  });
  test('says nothing about SenML, which has its own', () => {
    const rows = under({ timeField: 't', timeFormat: 'ms' }, [{ payload: '[{"n":"x","t":1e9,"v":1}]' }]);
    expect(rows.readings).toMatchObject([{ name: 'x', time: ns(1e15) }]);
  });
  test('is bounded in its records', () => {
    const many = Array.from({ length: 70_000 }, () => 1);
    expect(under({ timeField: 'at' }, [json(many)]).tally.dead).toEqual({ too_many_records: 1 });
  });
});

describe('the filter of readings', () => {
  const fields = ['temp', 'hum*'];
  test('keeps those that are named, or begin so, of SenML and JSON', () => {
    const senml = JSON.stringify(['temp', 'tempo', 'hum', 'humidity', 'x'].map((n, v) => ({ n, v, t: -v })));
    const rows = under({ fields }, [{ payload: senml }, json({ temp: 1, hum: { a: 2 }, other: 'text' })]);
    expect(rows.readings.map(({ name, value }) => [name, value])).toEqual([
      ['humidity', 3],
      ['hum', 2],
      ['temp', 0],
      ['temp', 1],
      ['hum.a', 2],
    ]);
    expect(rows.tally).toMatchObject({ messages: 2, stored: 2, readings: 5, filteredReadings: 3, dropped: {} });
  });
  test('drops a message of which it leaves nothing, and its fate says so', () => {
    const rows = under({ fields }, [{ payload: '[{"n":"x","v":1}]' }, { payload: '[{"n":"temp","v":1}]' }]);
    expect(rows.tally).toMatchObject({ messages: 2, stored: 1, dropped: { filtered: 1 }, filteredReadings: 1 });
    expect(rows.message_log).toMatchObject([
      { stored: 'nothing', reason: 'filtered', readings: 0 },
      { stored: 'readings', reason: '', readings: 1 },
    ]);
  });
  test('holds for batch after batch, whose names have other numbers', () => {
    const normaliser = newNormaliser();
    const profiles = [{ channel: 'channel', profile: { fields } }];
    for (const names of [
      ['a', 'temp'],
      ['temp', 'a'],
      ['b', 'c', 'humid'],
    ]) {
      const payload = JSON.stringify(names.map((n) => ({ n, v: 1 })));
      const rows = rowsOf(normaliser.run(taskOf([envelopeOf({ payload })], { profilesVersion: 1, profiles })));
      expect(rows.readings.map(({ name }) => name)).toEqual(names.filter((name) => name.length > 1));
    }
  });
  test('keeps the other values beside a text and a bool in their places', () => {
    const pack = [
      { n: 'x', vs: 'no' },
      { n: 'temp', vs: 'yes', u: 'K' },
      { n: 'x', vb: true },
      { n: 'hum', vb: false },
    ];
    const rows = under({ fields }, [{ payload: JSON.stringify(pack) }]);
    expect(rows.readings).toMatchObject([
      { name: 'temp', string_value: 'yes', unit: 'K', index: 1, kind: 'string' },
      { name: 'hum', bool_value: false, unit: '', index: 3, kind: 'bool' },
    ]);
  });
});

test('a payload is kept beside its readings where the channel wants it, whatever the node keeps', () => {
  const rows = under({ keepRaw: true }, [{ payload: '[{"n":"x","v":1}]' }], { raw: 'none' });
  expect(rows.readings).toHaveLength(1);
  expect(rows.messages).toMatchObject([{ payload: '[{"n":"x","v":1}]' }]);
});

test('what is kept expires so many days after reception, and only on the channel that says so', () => {
  const messages = [envelopeOf({ channel: 'other', payload: '{"a":1}', contentType: JSON_TYPE }), envelopeOf()];
  messages.push(
    envelopeOf({ payload: '{"a"', contentType: JSON_TYPE }),
    envelopeOf({ payload: '{"a":1}', contentType: '' }),
  );
  const rows = normalised(
    taskOf(messages, {
      profilesVersion: newVersion(),
      profiles: [
        { channel: 'channel', profile: { retentionDays: 2 } },
        { channel: 'other', profile: null },
      ],
    }),
  );
  const expires = RECEIVED_US / 1e6 + 2 * 86_400;
  expect(rows.readings.map((row) => row.expires)).toEqual([EXPIRES_NEVER, expires, expires]);
  expect(rows.messages.map((row) => row.expires)).toEqual([EXPIRES_NEVER, expires]);
  expect(rows.dead_letters.map((row) => row.expires)).toEqual([expires]);
  // What tells that a range is stored must outlive it.
  expect(rows.message_log[0]).not.toHaveProperty('expires');
});

test('rows that never expire bring no column for it', () => {
  const [reading] = under({ keepRaw: true }, [{}]).readings;
  expect(reading).not.toHaveProperty('expires');
});

describe('a worker', () => {
  const messages = ['one', 'two', 'one'].map((channel) => envelopeOf({ channel }));
  const none = (channel: string) => ({ channel, profile: null });

  test('asks for the channels that it does not know, once, and remembers them', () => {
    const normaliser = newNormaliser();
    const asked = normaliser.run(taskOf(messages, { profilesVersion: 1, profiles: [] }));
    expect(asked).toEqual({
      kind: 'needs',
      needs: [],
      channels: [
        { channel: 'one', org: 'org' },
        { channel: 'two', org: 'org' },
      ],
      repeats: false,
    });
    const told = { profilesVersion: 1, profiles: [none('one'), none('two')] };
    expect(rowsOf(normaliser.run(taskOf(messages, told))).tally.stored).toBe(3);
    expect(rowsOf(normaliser.run(taskOf(messages, { profilesVersion: 1, profiles: [] }))).tally.stored).toBe(3);
  });

  test('knows what it was told, whatever a channel is called', () => {
    for (const channel of ['', '__proto__', '\u0000', '\ufffd']) {
      const told = { profilesVersion: 1, profiles: [none(channel)] };
      expect(rowsOf(newNormaliser().run(taskOf([envelopeOf({ channel })], told))).tally.stored).toBe(1);
    }
  });

  test('forgets them when something changed', () => {
    const normaliser = newNormaliser();
    normaliser.run(taskOf(messages, { profilesVersion: 1, profiles: [none('one'), none('two')] }));
    const again = normaliser.run(taskOf(messages, { profilesVersion: 2, profiles: [none('one')] }));
    expect(again).toMatchObject({ kind: 'needs', channels: [{ channel: 'two' }] });
  });

  test('asks for what it needs to judge in the same run', () => {
    const unsealed = envelopeOf({ channel: 'three', sealed: false });
    const answer = newNormaliser().run(taskOf([...messages, unsealed], { profilesVersion: 1, profiles: [] }));
    expect(answer).toMatchObject({ needs: [{ channel: 'three' }], channels: [{ channel: 'one' }, { channel: 'two' }] });
  });
});
