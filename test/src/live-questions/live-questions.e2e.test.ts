import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Terminal } from '../cli/terminal.ts';
import { eventually, Millrace, newPublisher, type Publisher, Rest } from '../millrace.ts';
import { LiveStream } from './stream.ts';

const WAIT_MS = 30_000;

describe('a live question', { timeout: 120_000 }, () => {
  const millrace = new Millrace();
  let admin: Rest;
  let sensor: Publisher;
  const open: LiveStream[] = [];

  beforeAll(async () => {
    await millrace.start();
    admin = await Rest.asAdmin(millrace);
    sensor = await newPublisher(admin, 'sensor');
  }, 180_000);
  afterAll(async () => {
    for (const stream of open) stream.close();
    await millrace.dispose();
  }, 120_000);

  const kept = (stream: LiveStream): LiveStream => {
    open.push(stream);
    return stream;
  };
  const publish = async (by: Publisher, records: readonly object[]): Promise<void> => {
    const { status } = await by.rest.raw('POST', `/channels/${by.channel}/messages`, JSON.stringify(records), {
      'content-type': 'application/senml+json',
    });
    expect(status).toBe(202);
  };
  const value = (v: number, n = 'temperature', t?: number) => ({ n, v, ...(t === undefined ? {} : { t }) });
  const valuesOf = (stream: LiveStream) => stream.rows.map((row) => row.value);

  test('gives what it asks for as it is stored, the same over both roads and as the query', async () => {
    const query = `channels=${sensor.channel}&names=temperature&v=10&comparator=ge`;
    const streams = [
      kept(await LiveStream.sse(sensor.rest, query)),
      kept(await LiveStream.socket(admin, query)),
    ] as const;
    await publish(sensor, [value(9), value(10), value(11), value(12, 'humidity')]);
    for (const stream of streams) {
      await eventually('the rows', WAIT_MS, async () => stream.rows.length === 2);
      expect(valuesOf(stream)).toEqual([10, 11]);
      expect(stream.frames[0]).toMatchObject({ type: 'subscribed', position: expect.stringMatching(/^\d+-\d+$/) });
    }
    const asked = await admin.raw('GET', `/readings?${query}&format=ndjson`);
    const lines = (await asked.text()).trim().split('\n');
    expect(streams[0].rows).toEqual(lines.map((line) => JSON.parse(line)));
  });

  test('goes on after the last event that a client has, without loss or repetition', async () => {
    const { channel, rest } = await newPublisher(admin, 'resumed');
    const by = { ...sensor, channel, rest };
    const first = kept(await LiveStream.sse(rest, `channels=${channel}`));
    await publish(by, [value(1)]);
    await eventually('the first', WAIT_MS, async () => first.rows.length === 1);
    first.close();
    await publish(by, [value(2), value(3)]);
    await publish(by, [value(4)]);
    const second = kept(await LiveStream.sse(rest, `channels=${channel}`, { 'last-event-id': first.position }));
    await eventually('the rest', WAIT_MS, async () => second.rows.length === 3);
    await publish(by, [value(5)]);
    await eventually('what is new', WAIT_MS, async () => second.rows.length === 4);
    expect(valuesOf(second)).toEqual([2, 3, 4, 5]);
    // The very beginning is within reach, too.
    const partition = first.position.split('-')[0];
    const third = kept(await LiveStream.socket(rest, `channels=${channel}&last_event_id=${partition}-0`));
    await eventually('all', WAIT_MS, async () => third.rows.length === 5);
    expect(valuesOf(third)).toEqual([1, 2, 3, 4, 5]);
  });

  test('tells each bucket when it has ended, and again when late readings change it', async () => {
    const { channel, rest } = await newPublisher(admin, 'bucketed');
    const by = { ...sensor, channel, rest };
    const query = `channels=${channel}&aggregations=avg,count&interval=1s`;
    const stream = kept(await LiveStream.sse(rest, query));
    const at = Math.floor(Date.now() / 1_000) - 60;
    await publish(by, [value(1, 't', at), value(3, 't', at + 0.5), value(7, 't', at + 1)]);
    await eventually('both buckets', WAIT_MS, async () => stream.buckets.length === 2);
    expect(stream.buckets).toMatchObject([
      { time: at, values: { avg: 2, count: 2 }, revision: 0 },
      { time: at + 1, values: { avg: 7, count: 1 }, revision: 0 },
    ]);
    await publish(by, [value(8, 't', at + 0.25)]);
    await eventually('the bucket as it is now', WAIT_MS, async () => stream.buckets.length === 3);
    expect(stream.buckets[2]).toMatchObject({ time: at, values: { avg: 4, count: 3 }, revision: 1 });
    // The very numbers of the query.
    const answer = await rest.json<{ series: { points: number[][] }[] }>('GET', `/readings?${query}`);
    expect(answer.series[0]?.points).toEqual([
      [at, 4, 3],
      [at + 1, 7, 1],
    ]);
  });

  test('ends within a second of the rights that it was opened by', async () => {
    const losing = {
      'a disconnected thing': (of: Publisher) =>
        admin.json('POST', '/disconnect', { channel_ids: [of.channel], thing_ids: [of.thing] }),
      'a changed key': (of: Publisher) => admin.json('PATCH', `/things/${of.thing}/key`, {}),
      'a disabled thing': (of: Publisher) => admin.json('POST', `/things/${of.thing}/disable`),
      'a disabled channel': (of: Publisher) => admin.json('POST', `/channels/${of.channel}/disable`),
    };
    for (const [how, lose] of Object.entries(losing)) {
      const subject = await newPublisher(admin, how);
      const stream = kept(await LiveStream.sse(subject.rest, `channels=${subject.channel}`));
      const socket = kept(await LiveStream.socket(subject.rest, `channels=${subject.channel}`));
      await eventually('opened', WAIT_MS, async () => stream.frames.length > 0 && socket.frames.length > 0);
      await lose(subject);
      await eventually(`the end of ${how}`, WAIT_MS, async () => stream.closed && socket.closed);
      expect(['revoked', 'forbidden']).toContain(stream.reason);
      expect(socket.reason).toBe(stream.reason);
    }
  });

  test('is refused as its query is', async () => {
    const stranger = await newPublisher(admin, 'stranger');
    const status = async (rest: Rest, query: string): Promise<number> => {
      const response = await rest.raw('GET', `/readings/live?${query}`);
      await response.body?.cancel();
      return response.status;
    };
    expect(await status(sensor.rest, `channels=${stranger.channel}`)).toBe(403);
    expect(await status(sensor.rest.as(''), `channels=${sensor.channel}`)).toBe(401);
    expect(await status(sensor.rest.as('Thing nobody'), `channels=${sensor.channel}`)).toBe(401);
    expect(await status(admin, 'channels=none-such')).toBe(404);
    expect(await status(sensor.rest, `channels=${sensor.channel}&aggregations=avg`)).toBe(400);
    expect(await status(sensor.rest, `channels=${sensor.channel}&last_event_id=nonsense`)).toBe(400);
    expect(await status(sensor.rest, `channels=${sensor.channel}&aggregations=nonsense&interval=1m`)).toBe(400);
    const socket = LiveStream.socket(sensor.rest, `channels=${stranger.channel}`);
    await expect(socket).rejects.toThrow('403');
    await expect(LiveStream.socket(admin, 'channels=%D0%BA%D0%BB%D1%8E%D1%87')).rejects.toThrow('404');
  });

  test('is opened once by a ticket, and never by a token in the address', async () => {
    const { ticket } = await sensor.rest.json<{ ticket: string }>('POST', '/tickets');
    const query = `channels=${sensor.channel}&ticket=${ticket}`;
    const nobody = sensor.rest.as('');
    const stream = kept(await LiveStream.socket(nobody, query));
    await eventually('opened', WAIT_MS, async () => stream.frames.length > 0);
    await expect(LiveStream.sse(nobody, query)).rejects.toThrow('401');
    await expect(LiveStream.sse(nobody, `channels=${sensor.channel}&authorization=${sensor.key}`)).rejects.toThrow();
  });

  test('is followed at a terminal, from a position on', async () => {
    const terminal = new Terminal(millrace);
    try {
      await terminal.ok(['login', '--local']);
      const seen = kept(await LiveStream.sse(sensor.rest, `channels=${sensor.channel}`));
      await eventually('opened', WAIT_MS, async () => seen.position !== '');
      const words = ['tail', '-c', sensor.channel, '--after', seen.position, '-n', '2'];
      await publish(sensor, [value(21), value(22), value(23)]);
      const { stdout } = await terminal.ok([...words, '--json']);
      const rows = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { value: number });
      expect(rows.map((row) => row.value)).toEqual([21, 22]);
      expect((await terminal.ok(words)).stdout).toMatch(/temperature {2}21\n.*temperature {2}22\n$/);
    } finally {
      terminal.dispose();
    }
  });

  test('says that the node goes down', async () => {
    const stream = kept(await LiveStream.sse(sensor.rest, `channels=${sensor.channel}`));
    await eventually('opened', WAIT_MS, async () => stream.frames.length > 0);
    millrace.signal('SIGTERM');
    await eventually('the end', WAIT_MS, async () => stream.closed);
    expect(stream.reason).toBe('draining');
    expect(await millrace.ended()).toBe(0);
  });
});
