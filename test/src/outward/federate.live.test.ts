import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Asker } from '../control/plane.ts';
import { type ReadingsWorld, startReadingsWorld } from '../readings/world.ts';

const CACHED = new URL('../../../.ci/prometheus/promtool', import.meta.url).pathname;
const PROMTOOL = existsSync(CACHED) ? CACHED : 'promtool';
const hasPromtool = spawnSync(PROMTOOL, ['--version']).status === 0;
const NOW_US = Date.now() * 1_000;
const AWKWARD = 'a "b" \\ c\nd';

describe('latest values for Prometheus', () => {
  let world: ReadingsWorld;
  let channel = '';
  let reader: Asker;
  const publisher = '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0010';

  beforeAll(async () => {
    world = await startReadingsWorld();
    channel = (await world.make('/channels', { alias: 'hall' })).id;
    const { secret } = await world.make('/keys', {
      name: 'prometheus',
      grants: [{ actions: ['subscribe', 'messages.read'], resources: ['channels/*'] }],
    });
    reader = world.stranger.as(`Bearer ${secret}`);
    const at = (us: number, readings: readonly object[], subtopic = '') =>
      ({
        channel,
        publisher,
        subtopic,
        receivedUs: us,
        readings: readings.map((each) => ({ timeUs: us, ...each })),
      }) as never;
    await world.write([
      at(NOW_US - 60_000_000, [{ name: 'temperature', unit: 'Cel', value: 20.5 }]),
      at(NOW_US, [
        { name: 'temperature', unit: 'Cel', value: 21.5 },
        { name: 'humidity', unit: '%RH', value: 40 },
        { name: 'open', boolValue: true },
        { name: 'note', stringValue: 'fine' },
        { name: AWKWARD, value: -1e-9 },
      ]),
      at(NOW_US, [{ name: 'temperature', unit: 'Cel', value: 5 }], 'cellar'),
      at(NOW_US - 7_200_000_000, [{ name: 'old', value: 1 }]),
    ]);
  }, 120_000);
  afterAll(() => world?.stop(), 60_000);

  const federate = async (who: Asker, query: Record<string, string | string[]>, accept?: string) => {
    const parameters = new URLSearchParams();
    for (const [name, values] of Object.entries(query))
      for (const value of [values].flat()) parameters.append(name, value);
    const response = await who.raw('GET', `/federate?${parameters}`, undefined, accept === undefined ? {} : { accept });
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
  };
  const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

  test('are gauges with their own time; what is no number, or too old, is left out', async () => {
    const { status, type, text } = await federate(reader, { 'match[]': `millrace_reading{channel="${channel}"}` });
    expect(status, text).toBe(200);
    expect(type).toBe('text/plain; version=0.0.4; charset=utf-8');
    const of = `channel="${channel}",publisher="${publisher}"`;
    const ms = Math.floor(NOW_US / 1_000);
    expect(linesOf(text).sort()).toEqual(
      [
        `millrace_reading{${of},name="temperature",unit="Cel"} 21.5 ${ms}`,
        `millrace_reading{${of},name="temperature",subtopic="cellar",unit="Cel"} 5 ${ms}`,
        `millrace_reading{${of},name="humidity",unit="%RH"} 40 ${ms}`,
        `millrace_reading{${of},name="open"} 1 ${ms}`,
        `millrace_reading{${of},name="a \\"b\\" \\\\ c\\nd"} -1e-9 ${ms}`,
      ].sort(),
    );
  }, 60_000);

  test('are chosen by labels, and each is told once', async () => {
    const both = await federate(reader, {
      'match[]': ['{name=~"temperature|humidity",subtopic=""}', `{channel="${channel}",unit="Cel"}`],
    });
    expect(linesOf(both.text)).toHaveLength(3);
    const old = await federate(reader, { 'match[]': '{name="old"}', max_age: '1d' });
    expect(linesOf(old.text)).toHaveLength(1);
    const own = await reader.call('GET', `/channels/${channel}/metrics?name=temperature&subtopic=cellar`);
    expect(linesOf(own.body)).toHaveLength(1);
  }, 60_000);

  test('are OpenMetrics where that is liked better', async () => {
    const accept = 'application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5';
    const { type, text } = await federate(reader, { 'match[]': '{name="humidity"}' }, accept);
    expect(type).toBe('application/openmetrics-text; version=1.0.0; charset=utf-8');
    expect(text).toMatch(/ 40 \d{10}\.\d+\n# EOF\n$/);
  }, 60_000);

  test('are refused in words where they can not be told', async () => {
    for (const match of [
      '{}',
      'up{name="a"}',
      '{job="a"}',
      '{name!="a"}',
      '{name=~".*"}',
      '{name="a"',
      '{name="\0"}',
      '{{',
    ])
      expect((await federate(reader, { 'match[]': match })).status, match).toBe(400);
    expect((await federate(reader, {})).status).toBe(400);
    expect((await federate(reader, { 'match[]': '{name=~"temperature|humidity"}', limit: '1' })).status).toBe(422);
    expect((await federate(world.stranger, { 'match[]': '{name="humidity"}' })).status).toBe(401);
    const other = await world.stranger.newUser('other@example.org');
    expect((await federate(other, { 'match[]': `{channel="${channel}"}` })).status).toBe(404);
    expect(linesOf((await federate(other, { 'match[]': '{name="humidity"}' })).text)).toEqual([]);
  }, 60_000);

  test.skipIf(!hasPromtool && process.env.MILLRACE_TEST_NO_SKIP !== '1')(
    'are found right by promtool',
    async () => {
      const { text } = await federate(reader, { 'match[]': `{channel="${channel}"}` });
      const { status, stdout, stderr } = spawnSync(PROMTOOL, ['check', 'metrics'], { input: text, encoding: 'utf8' });
      expect(status, `${stdout}${stderr}`).toBe(0);
    },
    60_000,
  );
});
