import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Refusal } from '../http/refusal.ts';
import { issuesText } from '../http/route.ts';
import { questionOf } from './question.ts';
import { queryOfParameters, ReadingsParameters, ReadingsQueryBody } from './schemas.ts';

const NOW = Date.UTC(2026, 2, 29, 10);
const scope = { org: 'o', channels: ['c'], nowMs: NOW };
const whatIsWrong = (body: unknown): string => {
  const result = ReadingsQueryBody.safeParse(body);
  return result.success ? '' : issuesText(result.error);
};

describe('a query', () => {
  test('without aggregations is of rows, with them of series', () => {
    expect(
      questionOf(ReadingsQueryBody.parse({ names: ['t'], from: 'now-1h', v: 0, vb: false, limit: 5 }), scope),
    ).toEqual({
      kind: 'rows',
      question: {
        org: 'o',
        channels: ['c'],
        names: ['t'],
        fromUs: BigInt(NOW - 3_600_000) * 1_000n,
        value: { comparator: 'eq', operand: 0 },
        boolValue: false,
        order: 'time',
        direction: 'asc',
        limit: 5,
      },
    });
    const body = ReadingsQueryBody.parse({
      aggregations: ['AVG', 'p99.9', 'histogram'],
      interval: '1d',
      time_zone: 'Europe/Berlin',
      fill: 'previous',
      across: ['publisher'],
      histogram: { bins: 10 },
      unit: 'K',
      dir: 'desc',
      limit: 7,
      series_limit: 3,
      rollups: 'raw',
    });
    expect(questionOf(body, { ...scope, publishers: [] })).toEqual({
      kind: 'series',
      question: {
        org: 'o',
        channels: ['c'],
        publishers: [],
        aggregations: ['avg', 'p99.9', 'histogram'],
        interval: { kind: 'calendar', count: 1, unit: 'day' },
        timeZone: 'Europe/Berlin',
        fill: 'previous',
        across: ['publisher'],
        unit: 'K',
        histogram: { bins: 10 },
        direction: 'desc',
        limit: 7,
        seriesMax: 3,
        rollups: 'raw',
      },
    });
  });

  test('names what is wrong in it by its path', () => {
    expect(whatIsWrong({ channel: 'c' })).toBe('channel: unknown field');
    expect(whatIsWrong({ selector: { colour: 'red' } })).toBe('selector.colour: unknown field');
    expect(whatIsWrong({ aggregations: ['mean'] })).toMatch(/^aggregations\.0: must be one of min, max/);
    expect(whatIsWrong({ aggregations: ['p101'] })).toMatch(/^aggregations\.0/);
    expect(whatIsWrong({ interval: '5m' })).toBe('interval: needs aggregations: say which');
    expect(whatIsWrong({ aggregations: ['avg'], fill: 'null' })).toBe('fill: needs an interval');
    expect(whatIsWrong({ aggregations: ['avg'], thin: 10 })).toMatch(/^thin: /);
    expect(whatIsWrong({ aggregations: ['histogram'] })).toMatch(/^histogram: .*bins/);
    expect(whatIsWrong({ comparator: 'gt' })).toBe('comparator: needs v or vs');
    expect(whatIsWrong({ comparator: 'contains', v: 1 })).toMatch(/^comparator: /);
    expect(whatIsWrong({ from: 'yesterday' })).toMatch(/^from: must be seconds/);
    expect(whatIsWrong({ time_zone: 'Mars' })).toMatch(/^time_zone: /);
    expect(whatIsWrong({ names: ['\0'] })).toMatch(/^names\.0: /);
    expect(whatIsWrong({ channels: Array.from({ length: 1_001 }, String) })).toMatch(/^channels: /);
    expect(() => questionOf(ReadingsQueryBody.parse({ from: 'now', to: 'now-1h' }), scope)).toThrow(/from/);
  });

  test('means the same in an address', () => {
    const parameters = ReadingsParameters.parse({
      channels: 'a,b',
      names: 'x,y',
      subtopics: '',
      v: '0',
      vb: 'false',
      aggregations: 'min,MAX',
      interval: '5m',
      limit: '5',
      selector: '{"metadata":{"floor":2}}',
    });
    expect(queryOfParameters(parameters)).toEqual(
      ReadingsQueryBody.parse({
        channels: ['a', 'b'],
        names: ['x', 'y'],
        subtopics: [''],
        v: 0,
        vb: false,
        aggregations: ['min', 'max'],
        interval: '5m',
        limit: 5,
        selector: { metadata: { floor: 2 } },
      }),
    );
    expect(() => queryOfParameters({ v: 'ten' })).toThrow('"v"');
    expect(() => queryOfParameters({ vb: '1' })).toThrow('vb');
  });

  test('is refused or asked, whatever it holds', () => {
    const word = fc.oneof(fc.string(), fc.constantFrom('now', 'now-1d', 'avg', '1m', 'UTC', '1e300', '-5', 'null'));
    const value = fc.oneof(word, fc.double(), fc.boolean(), fc.array(word), fc.constant(null), fc.object());
    const fields = Object.keys(ReadingsParameters.shape);
    const body = fc.dictionary(fc.oneof(fc.constantFrom(...fields), fc.string()), value, { maxKeys: 6 });
    fc.assert(
      fc.property(body, (given) => {
        const result = ReadingsQueryBody.safeParse(given);
        if (!result.success) return;
        try {
          questionOf(result.data, scope, true);
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
