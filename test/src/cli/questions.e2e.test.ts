import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, Millrace } from '../millrace.ts';
import { Terminal } from './terminal.ts';

/** Each command is a process of its own. */
describe('questions at a terminal', { timeout: 180_000 }, () => {
  const millrace = new Millrace();
  const terminal = new Terminal(millrace);
  const START_S = Date.UTC(2026, 0, 5, 11) / 1_000;

  beforeAll(async () => {
    await millrace.start();
    await terminal.ok(['login', '--local']);
    await terminal.ok(['channels', 'create', '--name', 'Kitchen', '--alias', 'kitchen']);
    const pack = Array.from({ length: 8 }, (_, index) => ({
      n: 'temperature',
      u: 'Cel',
      t: START_S + index * 60,
      v: 20 + index,
    }));
    const file = terminal.file('pack.json', JSON.stringify([...pack, { n: 'state', t: START_S, vs: '=open' }]));
    await terminal.ok(['publish', 'kitchen', '-f', file, '-t', 'application/senml+json']);
    await eventually('readings', 60_000, async () => {
      const { messages } = await terminal.json<{ messages: unknown[] }>(['latest', '-c', 'kitchen']);
      return messages.length === 2;
    });
  }, 180_000);
  afterAll(async () => {
    terminal.dispose();
    await millrace.dispose();
  }, 120_000);

  test('the latest as a table, and all as JSON lines', async () => {
    const { stdout } = await terminal.ok(['latest', '-c', 'kitchen', '--name', 'temperature']);
    expect(stdout).toMatch(/^TIME +NAME +VALUE +UNIT +SUBTOPIC +PUBLISHER\n2026-01-05 11:07:00 +temperature +27 +Cel/);
    const lines = (await terminal.ok(['latest', '--all', '--json'])).stdout.trim().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as { name: string }).name).sort()).toEqual(['state', 'temperature']);
    expect((await terminal.run(['latest', '-c', 'nowhere'])).code).toBe(4);
    expect((await terminal.run(['latest', '--limit', 'x'])).code).toBe(2);
  });

  const range = ['--from', String(START_S), '--to', String(START_S + 480)];
  const buckets = [
    'query',
    '-c',
    'kitchen',
    '--name',
    'temperature',
    ...range,
    '--aggregation',
    'avg',
    '--interval',
    '4m',
  ];

  test('series as tables, bars, the API’s JSON, and rows of other forms', async () => {
    const { stdout } = await terminal.ok(buckets);
    expect(stdout.trim().split('\n')).toEqual([
      expect.stringMatching(/^TIME +NAME +UNIT +AVG$/),
      expect.stringMatching(/^2026-01-05 11:00:00 +temperature +Cel +21\.5$/),
      expect.stringMatching(/^2026-01-05 11:04:00 +temperature +Cel +25\.5$/),
    ]);
    const plot = await terminal.ok(['query', '-c', 'kitchen', '--name', 'temperature', ...range, '--plot']);
    expect(plot.stdout).toMatch(/temperature +Cel +20 +27 +27 +▁▂▃▄▅▆▇█/);
    const answer = await terminal.json<{ series: { points: number[][] }[] }>(buckets);
    expect(answer.series[0]?.points.map(([, average]) => average)).toEqual([21.5, 25.5]);
    const csv = (await terminal.ok(['query', '-c', 'kitchen', '--name', 'state', '--csv'])).stdout.trim().split('\n');
    expect(csv).toHaveLength(2);
    expect(csv[1]).toContain('=open');
    const [line = ''] = (await terminal.ok(['query', '--name', 'state', '--ndjson'])).stdout.split('\n');
    expect(JSON.parse(line)).toMatchObject({ name: 'state', string_value: '=open' });
    const whole = terminal.file('question.json', '{"names":["temperature"],"aggregations":["count"]}');
    const counted = await terminal.json<typeof answer>(['query', '--query', whole]);
    expect(counted.series[0]?.points[0]?.[1]).toBe(8);
    expect(await terminal.run(['query', '--csv', '--json'])).toMatchObject({ code: 2, stdout: '' });
    expect(await terminal.run(['query', '--query', '-'], { stdin: '{' })).toMatchObject({ code: 2, stdout: '' });
  });

  test('SQL with parameters, from a file, from standard input, and as a file', async () => {
    const statement = 'SELECT name, count() AS n FROM readings WHERE name IN {names:Array(String)} GROUP BY name';
    const { stdout } = await terminal.ok(['sql', statement, '-p', 'names=["temperature"]']);
    expect(stdout).toBe(
      'NAME        N\ntemperature 8\n'.replace('NAME        N', 'name         n').replace('e 8', 'e  8'),
    );
    const file = terminal.file('most.sql', 'SELECT max(value) AS most FROM readings WHERE value >= {least:Float64}');
    const { data } = await terminal.json<{ data: unknown[] }>(['sql', '-f', file, '-p', 'least=1']);
    expect(data).toEqual([{ most: 27 }]);
    expect((await terminal.ok(['sql', '--csv'], { stdin: "SELECT 'a,b' AS text" })).stdout).toBe('"text"\n"a,b"\n');
    expect(await terminal.run(['sql', 'SELECT * FROM system.tables'])).toMatchObject({ code: 1, stdout: '' });
    expect((await terminal.run(['sql', 'SELECT 1', '-p', 'x'])).code).toBe(2);
    expect((await terminal.run(['sql'], { stdin: ' ' })).code).toBe(2);
  });

  test('saved queries by their names', async () => {
    await terminal.ok([
      ...['queries', 'create', '--name', 'hottest', '--parameters', '{"least":0}'],
      ...['--query', 'SELECT max(value) AS most FROM readings WHERE value >= {least:Float64}'],
    ]);
    expect((await terminal.ok(['queries', 'run', 'hottest'])).stdout).toBe('most\n  27\n');
    const text = terminal.file('min.sql', 'SELECT min(value) AS least FROM readings WHERE value > {least:Float64}');
    const changed = await terminal.json(['queries', 'update', 'hottest', '--query', `@${text}`]);
    expect(changed).toMatchObject({ name: 'hottest', version: 2 });
    expect((await terminal.json<{ data: unknown[] }>(['queries', 'run', 'hottest', '-p', 'least=22'])).data).toEqual([
      { least: 23 },
    ]);
    await terminal.ok(['queries', 'delete', 'hottest']);
    expect((await terminal.run(['queries', 'run', 'hottest'])).code).toBe(4);
  });

  test('an export of what SQL answers', async () => {
    const out = join(terminal.home, 'out');
    const statement = "SELECT name, value FROM readings WHERE name = 'temperature' ORDER BY time";
    const made = await terminal.json<{ id: string; files: { name: string }[] }>([
      ...['exports', 'create', '--sql', statement, '--title', 'warm', '-o', out],
    ]);
    const [file] = made.files;
    expect(
      readFileSync(join(out, file?.name ?? ''), 'utf8')
        .trim()
        .split('\n'),
    ).toHaveLength(9);
    expect(await terminal.json(['exports', 'get', made.id])).toMatchObject({ status: 'done' });
  });
});
