import { describe, expect, test } from 'vitest';
import { type Circumstances, conditionText, readCondition } from './condition.ts';

const at: Circumstances = {
  protocol: 'mqtt',
  remoteAddress: '10.0.0.1',
  tls: true,
  mutualTls: false,
  nowMs: Date.UTC(2026, 0, 5, 12),
  metadata: {},
  subtopic: null,
  groups: [],
};

describe('conditionText', () => {
  test('takes every member of a condition', () => {
    const condition = {
      protocol: ['mqtt'],
      address: ['10.0.0.0/8', '::1'],
      tls: true,
      mutualTls: false,
      time: { from: '2026-01-01T00:00:00Z', to: '2026-02-01T00:00:00+01:00' },
      hours: { from: '08:00', to: '18:00', days: [1, 2] },
      subtopic: ['a/+/#', '', '+'],
      metadata: { site: 'north' },
      not: { protocol: ['http'] },
    };
    expect(JSON.parse(conditionText(condition))).toEqual(condition);
  });

  test('names what is wrong', () => {
    expect(() => conditionText({ moon: 'full' })).toThrow('CONDITION_INVALID');
    expect(() => conditionText({ address: ['10.0.0.0/33'] })).toThrow('address.0');
    expect(() => conditionText({ hours: { from: '8:00', to: '18:00' } })).toThrow('hours.from');
    expect(() => conditionText({ protocol: ['gopher'] })).toThrow('protocol.0');
    for (const subtopic of ['a/#/b', 'a#', 'a+/b', '##', 'x'.repeat(2_000)])
      expect(() => conditionText({ subtopic: [subtopic] })).toThrow('subtopic.0');
    let deep: object = { tls: true };
    for (let depth = 0; depth < 100_000; depth++) deep = { not: deep };
    expect(() => conditionText(deep)).toThrow('nested too deeply');
  });
});

describe('readCondition', () => {
  test('knows no answer where it lacks what it needs, and does not guess by "not"', () => {
    const unknown = { ...at, remoteAddress: null };
    expect(readCondition('{"address":["10.0.0.0/8"]}').holds(unknown)).toBe('unknown');
    expect(readCondition('{"not":{"address":["10.0.0.0/8"]}}').holds(unknown)).toBe('unknown');
    expect(readCondition('{"address":["10.0.0.0/8"],"tls":false}').holds(unknown)).toBe('no');
  });

  test('reads subtopics as MQTT reads topics', () => {
    const holds = (pattern: string, subtopic: string | null): string =>
      readCondition(JSON.stringify({ subtopic: [pattern] })).holds({ ...at, subtopic });
    for (const [pattern, covered, not] of [
      ['a/#', ['a', 'a/b', 'a/b/c', 'a/'], ['', 'ab', 'b/a']],
      ['+', ['a', '+'], ['', 'a/b']],
      ['a/+/c', ['a/b/c', 'a//c'], ['a/c', 'a/b/c/d']],
      ['#', ['', 'a', 'a/b'], []],
      ['', [''], ['a']],
      ['a*', ['a*'], ['ab']],
    ] as const) {
      for (const subtopic of covered) expect(holds(pattern, subtopic), `${pattern} ${subtopic}`).toBe('yes');
      for (const subtopic of not) expect(holds(pattern, subtopic), `${pattern} ${subtopic}`).toBe('no');
      expect(holds(pattern, null), 'no message').toBe('unknown');
    }
  });

  test('an empty condition always holds, its denial never', () => {
    expect(readCondition('{}').holds(at)).toBe('yes');
    expect(readCondition('{"not":{}}').holds(at)).toBe('no');
  });

  test('tells the edges of a day', () => {
    const hours = readCondition('{"hours":{"from":"08:00","to":"18:00"}}');
    expect(hours.fromMs(at.nowMs)).toBe(Date.UTC(2026, 0, 5, 8));
    expect(hours.untilMs(at.nowMs)).toBe(Date.UTC(2026, 0, 5, 18));
    expect(hours.untilMs(Date.UTC(2026, 0, 5, 18))).toBe(Date.UTC(2026, 0, 6));
  });

  test('reads hostile names of metadata as names', () => {
    for (const text of ['{"metadata":{"__proto__":"x"}}', '{"__proto__":{"tls":false}}', '{"not":{"__proto__":1}}']) {
      expect(readCondition(text).holds(at)).toBe('unknown');
      expect(() => conditionText(JSON.parse(text))).toThrow('__proto__');
    }
    expect(readCondition('{"metadata":{"constructor":"x"}}').holds(at)).toBe('no');
  });
});
