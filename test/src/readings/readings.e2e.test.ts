import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Session } from 'chdb';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LONG } from '../crash.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';

/** An hour of two sensors: a reading each ten seconds. */
const START_S = Date.UTC(2026, 0, 5, 11) / 1_000;
const STEPS = 360;
const measured = (sensor: number, step: number): number => sensor * 100 + Math.round(50 * Math.sin(step / 20)) / 4;

interface Row {
  readonly publisher: string;
  readonly name: string;
  readonly time: number;
  readonly value?: number | null;
  readonly string_value?: string;
  readonly bool_value?: boolean;
}

describe('readings of a running node', () => {
  const millrace = new Millrace();
  const files = mkdtempSync(join(tmpdir(), 'millrace-forms-'));
  let admin: Rest;
  let sensor: Publisher;
  let other: Publisher;

  const query = <T>(body: object, rest = admin): Promise<T> => rest.json<T>('POST', '/readings/query', body);
  const lines = async (response: Response): Promise<Row[]> => {
    expect(response.status).toBe(200);
    return (await response.text())
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Row);
  };

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    sensor = await newPublisher(admin, 'sensor');
    const { id, key } = await admin.json<{ id: string; key: string }>('POST', '/things', { metadata: { floor: 3 } });
    await admin.json('POST', '/connect', { channel_ids: [sensor.channel], thing_ids: [id] });
    other = { thing: id, key, channel: sensor.channel, rest: admin.as(`Thing ${key}`) };
    for (const [index, { rest, channel }] of [sensor, other].entries()) {
      const pack = Array.from({ length: STEPS }, (_, step) => ({
        n: 'temperature',
        u: 'Cel',
        t: START_S + step * 10,
        v: measured(index, step),
      }));
      const states = [
        { n: 'state', t: START_S, vs: 'a "quoted", text\nof two lines' },
        { n: 'open', t: START_S, vb: false },
        { n: 'zero', t: START_S, v: 0 },
      ];
      const { status } = await rest.raw('POST', `/channels/${channel}/messages`, JSON.stringify([...pack, ...states]), {
        'content-type': 'application/senml+json',
      });
      expect(status).toBe(202);
    }
    await eventually('all readings', 60_000, async () => {
      const { total } = await admin.json<{ total: number }>(
        'GET',
        `/channels/${sensor.channel}/messages?total=exact&limit=1`,
      );
      return total === 2 * (STEPS + 3);
    });
  }, 180_000);
  afterAll(async () => {
    await millrace.dispose();
    rmSync(files, { recursive: true });
  });

  test('come in every form, and in each the same', async () => {
    const path = `/channels/${sensor.channel}/messages?order=name`;
    const wanted = await lines(await sensor.rest.raw('GET', `${path}&format=ndjson`));
    expect(wanted).toHaveLength(2 * (STEPS + 3));
    const first = await sensor.rest.json<{ messages: Row[] }>('GET', `${path}&limit=1000`);
    const key = ({ name, publisher, time }: Row): string => `${name} ${publisher} ${time}`;
    expect(first.messages.map((row) => JSON.stringify(row)).toSorted()).toEqual(
      wanted.map((row) => JSON.stringify(row)).toSorted(),
    );
    // By Accept as by ?format=, compressed or not.
    const accepted = await sensor.rest.raw('GET', path, undefined, {
      accept: 'text/html;q=0.1, application/x-ndjson',
      'accept-encoding': 'gzip',
    });
    expect(accepted.headers.get('content-type')).toBe('application/x-ndjson');
    expect(accepted.headers.get('content-encoding')).toBe('gzip');
    expect(await lines(accepted)).toEqual(wanted);
    const none = await sensor.rest.raw('GET', path, undefined, { accept: 'image/png' });
    expect([none.status, await none.text()]).toEqual([406, expect.stringContaining('application/x-ndjson')]);

    for (const [format, engineFormat] of [
      ['csv', 'CSVWithNames'],
      ['arrow', 'ArrowStream'],
      ['parquet', 'Parquet'],
    ] as const) {
      const response = await sensor.rest.raw('GET', `${path}&format=${format}`);
      expect([format, response.status]).toEqual([format, 200]);
      expect(response.headers.get('content-disposition')).toMatch(/^attachment; filename="messages-[0-9a-f-]+\.\w+"$/);
      const file = join(files, `rows.${format}`);
      writeFileSync(file, Buffer.from(await response.arrayBuffer()));
      expect([format, await readBack(file, engineFormat)]).toEqual([
        format,
        wanted.map((row) => [key(row), row.value ?? null, row.string_value ?? null, row.bool_value ?? null]),
      ]);
    }
  });

  /** Rows of a file as another reader sees them. */
  async function readBack(file: string, format: string): Promise<unknown[]> {
    const session = new Session();
    try {
      const time = format === 'CSVWithNames' ? 'parseDateTime64BestEffort(assumeNotNull(time)::String, 6)' : 'time';
      const answer = await session.queryAsync(
        `SELECT concat(name, ' ', publisher, ' ', toString(toUnixTimestamp(${time}))) AS key, value, nullIf(string_value, '') AS text, bool_value
         FROM file('${file}', ${format})`,
        { format: 'JSONCompactEachRow' },
      );
      return answer
        .text()
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as unknown);
    } finally {
      session.close();
    }
  }

  test('v=0 and vb=false are filters, from is within and to is not, and times may be relative', async () => {
    const names = async (parameters: string): Promise<string> => {
      const { messages } = await sensor.rest.json<{ messages: Row[] }>(
        'GET',
        `/channels/${sensor.channel}/messages?publisher=${sensor.thing}&${parameters}`,
      );
      return messages.map(({ name, time }) => `${name}@${time - START_S}`).join();
    };
    expect(await names('v=0&name=zero&limit=1000')).toBe('zero@0');
    expect(await names('vb=false')).toBe('open@0');
    expect(await names(`name=temperature&from=${START_S + 10}&to=${START_S + 30}&dir=asc`)).toBe(
      'temperature@10,temperature@20',
    );
    expect(await names('from=now-1h')).toBe('');
    expect(await names('name=temperature&to=now&limit=1')).toContain(`temperature@${(STEPS - 1) * 10}`);
  });

  test('are aggregated by series, never mixed, as the classic dialect and as many series ask', async () => {
    const bucketS = 900;
    const average = (sensorIndex: number, bucket: number): number => {
      const steps = Array.from({ length: bucketS / 10 }, (_, at) => (bucket * bucketS) / 10 + at);
      return steps.reduce((sum, step) => sum + measured(sensorIndex, step), 0) / steps.length;
    };
    const things = [sensor.thing, other.thing];
    const wanted = things.flatMap((publisher, index) =>
      [0, 1, 2, 3].map((bucket) => `${publisher} ${START_S + bucket * bucketS} ${average(index, bucket).toFixed(9)}`),
    );
    const told = ({ publisher, time, value }: Row): string => `${publisher} ${time} ${Number(value).toFixed(9)}`;
    const range = `from=${START_S}&to=${START_S + 3_600}`;
    const path = `/channels/${sensor.channel}/messages?name=temperature&aggregation=AVG&interval=15%20minutes&${range}`;
    const classic = await sensor.rest.json<{ total: number; messages: Row[] }>('GET', `${path}&limit=100`);
    expect(classic.messages.map(told).toSorted()).toEqual(wanted.toSorted());
    expect(classic.total).toBe(8);
    expect(classic.messages.map(({ time }) => time)).toEqual(
      classic.messages.map(({ time }) => time).toSorted((a, b) => b - a),
    );
    const paged = await sensor.rest.json<{ total: number; messages: Row[] }>('GET', `${path}&offset=6&limit=5`);
    expect(paged.messages).toEqual(classic.messages.slice(6));
    expect(paged.messages).toHaveLength(2);

    const body = {
      channels: [sensor.channel],
      names: ['temperature'],
      from: START_S,
      to: START_S + 3_600,
      aggregations: ['avg', 'count', 'max'],
      interval: '15m',
    };
    const answer = await query<{
      columns: string[];
      series: { publisher: string; points: number[][] }[];
      used: object;
    }>(body, sensor.rest);
    expect(answer.columns).toEqual(['time', 'avg', 'count', 'max']);
    expect(answer.used).toMatchObject({ source: expect.any(String), why: expect.any(String) });
    const points = answer.series.flatMap(({ publisher, points: of }) =>
      of.map(([time = 0, value = 0, count = 0]) => {
        expect(count).toBe(bucketS / 10);
        return told({ publisher, name: '', time, value });
      }),
    );
    expect(points.toSorted()).toEqual(wanted.toSorted());
    const rows = await sensor.rest.raw('POST', '/readings/query?format=ndjson', JSON.stringify(body), {
      'content-type': 'application/json',
    });
    const asRows = (await lines(rows)) as unknown as (Row & { avg: number })[];
    expect(asRows.map((row) => told({ ...row, value: row.avg })).toSorted()).toEqual(wanted.toSorted());
    const asked = `channels=${sensor.channel}&names=temperature&aggregations=avg,count,max&interval=15m&${range}`;
    expect(await sensor.rest.json('GET', `/readings?${asked}`)).toEqual(answer);
  });

  test('come raw and thinned as points, by a selector of things', async () => {
    const body = { selector: { metadata: { floor: 3 } }, names: ['temperature'] };
    const raw = await query<{ columns: string[]; series: { publisher: string; points: number[][] }[] }>(body);
    expect(raw.columns).toEqual(['time', 'value']);
    expect(raw.series.map(({ publisher }) => publisher)).toEqual([other.thing]);
    expect(raw.series[0]?.points).toEqual(
      Array.from({ length: STEPS }, (_, step) => [START_S + step * 10, measured(1, step)]),
    );
    const thinned = await query<typeof raw>({ ...body, thin: 50 });
    const points = thinned.series[0]?.points ?? [];
    expect(points.length).toBeGreaterThan(10);
    expect(points.length).toBeLessThanOrEqual(50);
    const seen = new Set(raw.series[0]?.points.map((point) => point.join()));
    expect(points.filter((point) => !seen.has(point.join()))).toEqual([]);
  });

  test('have a latest value for each series, by channel, by thing and for many at once', async () => {
    const wanted = [
      ['open', START_S, false],
      ['state', START_S, 'a "quoted", text\nof two lines'],
      ['temperature', START_S + (STEPS - 1) * 10, measured(0, STEPS - 1)],
      ['zero', START_S, 0],
    ];
    const told = (rows: readonly Row[]) =>
      rows.map(({ name, time, value, string_value, bool_value }) => [name, time, value ?? string_value ?? bool_value]);
    const latest = (rest: Rest, path: string) => rest.json<{ messages: Row[]; cursor?: string }>('GET', path);
    const channel = await latest(sensor.rest, `/channels/${sensor.channel}/latest?publisher=${sensor.thing}`);
    expect(told(channel.messages)).toEqual(wanted);
    expect(told((await latest(admin, `/things/${sensor.thing}/latest`)).messages)).toEqual(wanted);
    const body = { channels: [sensor.channel], publishers: [sensor.thing] };
    const many = await admin.json<{ messages: Row[] }>('POST', '/readings/latest', body);
    expect(told(many.messages)).toEqual(wanted);
    const pages: Row[] = [];
    let cursor: string | undefined;
    do {
      const more: string = cursor === undefined ? '' : `&cursor=${cursor}`;
      const page = await latest(admin, `/channels/${sensor.channel}/latest?limit=3${more}`);
      pages.push(...page.messages);
      cursor = page.cursor;
    } while (cursor !== undefined && pages.length < 100);
    expect(pages).toHaveLength(8);
    expect(new Set(pages.map(({ name, publisher }) => `${name} ${publisher}`)).size).toBe(8);
  });

  test('are found by a part of their text, and by the bytes that the device sent', async () => {
    const { channel, rest } = await newPublisher(admin, 'texts');
    const pack = JSON.stringify([
      { n: 'door', vs: 'wide open' },
      { n: 'lid', vs: 'shut' },
      { n: 'frame', vd: 'AP_-' },
    ]);
    const { status } = await rest.raw('POST', `/channels/${channel}/messages`, pack, {
      'content-type': 'application/senml+json',
    });
    expect(status).toBe(202);
    const path = `/channels/${channel}/messages`;
    const page = (search: string) => rest.json<{ messages: object[] }>('GET', `${path}?${search}`);
    await eventually('three readings', 60_000, async () => (await page('')).messages.length === 3);
    expect((await page('vs=e%20op&comparator=contains')).messages).toMatchObject([{ string_value: 'wide open' }]);
    expect((await page('vd=AP_-')).messages).toMatchObject([{ name: 'frame', data_value: 'AP_-' }]);
    expect(await lines(await rest.raw('GET', `${path}?vd=AP_-&format=ndjson`))).toMatchObject([{ data_value: 'AP_-' }]);
    const latest = await rest.json<{ messages: object[] }>('GET', `/channels/${channel}/latest?name=frame`);
    expect(latest.messages).toMatchObject([{ data_value: 'AP_-' }]);
    // JSON of series has numbers: an empty answer would be a wrong one.
    const asked = JSON.stringify({ channels: [channel], vs: 'open', comparator: 'contains' });
    const refused = await rest.raw('POST', '/readings/query', asked, { 'content-type': 'application/json' });
    expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining('ndjson')]);
    expect((await rest.raw('GET', `${path}?v=1&comparator=contains`)).status).toBe(400);
  });

  test(
    'are refused, never failed, whatever is asked',
    async () => {
      const hostile = fc.oneof(
        fc.string({ maxLength: 20 }),
        fc.constantFrom(
          'now-1d/d',
          '-1',
          '1e308',
          '9'.repeat(30),
          "' OR 1=1 --",
          '{org:String}',
          'p50',
          '1ms',
          '\u0000',
          '%',
          'null',
          'UTC',
          'Cel',
          'avg',
          '0',
          'true',
        ),
      );
      const known =
        'offset limit name subtopic publisher protocol v vs vb vd comparator from to aggregation interval order dir format time total cursor fill time_zone'.split(
          ' ',
        );
      const fields =
        'channels names publishers things subtopics name_prefix selector from to v vs vb vd comparator aggregations interval time_zone fill across unit thin histogram dir limit series_limit rollups time order'.split(
          ' ',
        );
      const parameters = fc.dictionary(fc.constantFrom(...known), hostile, { maxKeys: 5 });
      const value = fc.oneof(
        hostile,
        fc.integer(),
        fc.double(),
        fc.boolean(),
        fc.array(hostile, { maxLength: 3 }),
        fc.constantFrom(
          ['avg'],
          ['histogram'],
          ['p50', 'twa'],
          { bins: 3 },
          { metadata: {} },
          [sensor.channel],
          ['temperature'],
          null,
        ),
      );
      const typed = fc.record(
        {
          channels: fc.constant([sensor.channel]),
          names: fc.array(fc.oneof(hostile, fc.constant('temperature')), { maxLength: 3 }),
          name_prefix: hostile,
          publishers: fc.array(hostile, { maxLength: 2 }),
          subtopics: fc.array(hostile, { maxLength: 2 }),
          from: fc.constantFrom(START_S, START_S + 1_800, '2026-01-05T11:10:00.5Z', 'now-100y', -1e9),
          to: fc.constantFrom(START_S + 3_600, 'now', 'now/y', 4e9),
          v: fc.double({ noNaN: true, noDefaultInfinity: true }),
          vs: hostile,
          vb: fc.boolean(),
          aggregations: fc.subarray([
            'min',
            'avg',
            'count',
            'first',
            'median',
            'stddev',
            'rate',
            'delta',
            'integral',
            'twa',
            'p99',
          ]),
          interval: fc.constantFrom('100ms', '1m', '1h', '1d', '1mo', '1w'),
          time_zone: fc.constantFrom('UTC', 'Europe/Berlin', 'Australia/Lord_Howe'),
          fill: fc.constantFrom('none', 'null', 'previous', 'linear'),
          across: fc.subarray(['channel', 'publisher', 'name', 'subtopic', 'unit']),
          unit: fc.constantFrom('K', 'Cel', 'm', 'nonsense'),
          thin: fc.integer({ min: 3, max: 50 }),
          limit: fc.integer({ min: 1, max: 100 }),
          series_limit: fc.integer({ min: 1, max: 3 }),
          dir: fc.constantFrom('asc', 'desc'),
          rollups: fc.constantFrom('auto', 'raw'),
          time: fc.constantFrom('s', 'ms', 'us', 'ns', 'rfc3339'),
        },
        { requiredKeys: ['channels'] },
      );
      const body = fc.oneof(fc.dictionary(fc.constantFrom(...fields), value, { maxKeys: 6 }), typed);
      const seen = new Set<number>();
      const asked = async (method: string, path: string, given?: object): Promise<void> => {
        const response = await sensor.rest.raw(method, path, given && JSON.stringify(given), {
          'content-type': 'application/json',
        });
        const text = await response.text();
        seen.add(response.status);
        expect([path, given, response.status < 500 ? 'fine' : text]).toEqual([path, given, 'fine']);
      };
      await fc.assert(
        fc.asyncProperty(parameters, body, async (some, given) => {
          const search = new URLSearchParams(some).toString();
          await asked('GET', `/channels/${sensor.channel}/messages?${search}`);
          await asked('GET', `/channels/${sensor.channel}/latest?${search}`);
          await asked('POST', '/readings/query', given);
          await asked('POST', '/readings/latest', given);
        }),
        { numRuns: LONG ? 2_000 : 60 },
      );
      expect(seen).toContain(200);
      expect(seen).toContain(400);
      expect(seen).toContain(422);
    },
    LONG ? 1_800_000 : 240_000,
  );
});
