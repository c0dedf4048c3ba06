import { describe, expect, test } from 'vitest';
import { until } from '../delivery/testing/stage.ts';
import { CHANNEL, KEY, THING } from '../testing/gate.ts';
import { RawClient } from '../testing/raw-client.ts';
import { AUTH, openLive } from './testing/open-live.ts';
import { TestStream } from './testing/test-stream.ts';

const PATH = '/channels/room/messages/live';

describe('an event stream', () => {
  test('tells each message of a channel and its subtopics, with the position after it', async () => {
    await using live = await openLive();
    await using stream = await TestStream.open(live.url + PATH, AUTH);
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    live.append('"one"');
    live.append('"two"', 'a/b');
    await until('both came', () => stream.messages.length >= 2);
    expect(stream.messages.map(({ event }) => event)).toEqual(['message', 'message']);
    expect(stream.messages.map(({ data }) => JSON.parse(data))).toMatchObject([
      { type: 'message', channel: CHANNEL, subtopic: '', payload: '"one"', publisher: 'many-publisher' },
      { type: 'message', channel: CHANNEL, subtopic: 'a/b', payload: '"two"' },
    ]);
    expect(stream.messages.map(({ id }) => id.split('-')[1])).toEqual(['1', '2']);
    expect(JSON.parse(stream.messages[1]?.data ?? '')).toMatchObject({ position: stream.messages[1]?.id });
  });

  test('resumes after the last id without gap or repeat, however often it is cut', async () => {
    await using live = await openLive();
    const got: string[] = [];
    let lastId = '';
    let published = 0;
    const publish = (count: number): void => {
      for (let index = 0; index < count; index++) live.append(`m${published++}`, index % 2 === 0 ? '' : 'a');
    };
    for (let cut = 0; cut < 8; cut++) {
      const resume: Record<string, string> = lastId === '' ? {} : { 'last-event-id': lastId };
      await using stream = await TestStream.open(live.url + PATH, { ...AUTH, ...resume });
      await until('it has begun', () => stream.lastId !== '');
      publish(20);
      await until('some came', () => stream.messages.length >= 10);
      // Cut at any place: what was not looked at counts as never received.
      const seen = stream.messages.slice(0, 10 + cut);
      got.push(...seen.map(({ data }) => (JSON.parse(data) as { payload: string }).payload));
      lastId = seen.at(-1)?.id ?? lastId;
      await stream.close();
      publish(5);
    }
    await using rest = await TestStream.open(`${live.url + PATH}?last_event_id=${lastId}`, AUTH);
    await until('the rest came', () => got.length + rest.messages.length >= published);
    got.push(...rest.messages.map(({ data }) => (JSON.parse(data) as { payload: string }).payload));
    expect(got).toEqual(Array.from({ length: published }, (_, index) => `m${index}`));
  });

  test('begins where it says, so that nothing is missed before the first message', async () => {
    await using live = await openLive();
    let id = '';
    {
      await using stream = await TestStream.open(live.url + PATH, AUTH);
      await until('it has begun', () => stream.lastId !== '');
      id = stream.lastId;
    }
    live.append('"meanwhile"');
    await using stream = await TestStream.open(live.url + PATH, { ...AUTH, 'last-event-id': id });
    await until('it came', () => stream.messages.length === 1);
  });

  test('reads what its filter says', async () => {
    await using live = await openLive();
    await using exact = await TestStream.open(`${live.url + PATH}?subtopic=a`, AUTH);
    await using bare = await TestStream.open(`${live.url + PATH}?subtopic=`, AUTH);
    await using wild = await TestStream.open(`${live.url + PATH}?filter=a/%23`, AUTH);
    for (const subtopic of ['', 'a', 'a/b', 'b']) live.append(`"${subtopic}"`, subtopic);
    const subtopics = (stream: TestStream): string[] =>
      stream.messages.map(({ data }) => (JSON.parse(data) as { subtopic: string }).subtopic);
    await until('all came', () => wild.messages.length >= 2 && exact.messages.length >= 1 && bare.messages.length >= 1);
    expect([subtopics(exact), subtopics(bare), subtopics(wild)]).toEqual([['a'], [''], ['a', 'a/b']]);
  });

  test('is refused with a problem', async () => {
    await using live = await openLive();
    const refused: [url: string, headers: Record<string, string>, status: number][] = [
      [PATH, {}, 401],
      [PATH, { authorization: 'Thing nobody-knows' }, 401],
      [PATH, { authorization: 'Thing disabled-key' }, 403],
      ['/channels/nowhere/messages/live', AUTH, 404],
      ['/channels/secret/messages/live', AUTH, 403],
      [`${PATH}?subtopic=a/%23/b`, AUTH, 400],
      [`${PATH}?last_event_id=x`, AUTH, 400],
      [PATH, { ...AUTH, 'last-event-id': '7-0' }, 400],
      [`${PATH}?slow=perhaps`, AUTH, 400],
      [`${PATH}?ticket=used`, {}, 401],
    ];
    for (const [url, headers, status] of refused) {
      const answer = await fetch(live.url + url, { headers });
      expect({ url, status: answer.status, type: answer.headers.get('content-type') }).toEqual({
        url,
        status,
        type: 'application/problem+json',
      });
      if (status === 401) expect(answer.headers.get('www-authenticate')).toContain('Bearer');
      await answer.arrayBuffer();
    }
  });

  test('takes a ticket once, and the classic key in the query', async () => {
    await using live = await openLive();
    live.gate.tickets.add('t-1');
    await using _one = await TestStream.open(`${live.url + PATH}?ticket=t-1`);
    expect((await fetch(`${live.url + PATH}?ticket=t-1`)).status).toBe(401);
    await using _two = await TestStream.open(`${live.url + PATH}?authorization=${KEY}`);
    expect(live.logged.join('')).not.toContain(KEY);
  });

  test('is still there when nothing comes, and says so', async () => {
    await using live = await openLive({ MILLRACE_WS_HEARTBEAT_MS: '100' });
    await using stream = await TestStream.open(live.url + PATH, AUTH);
    await until('three comments came', () => stream.comments >= 3);
  });

  test('ends with a word when it may no longer be, or its key is gone', async () => {
    await using live = await openLive();
    await using forbidden = await TestStream.open(live.url + PATH, AUTH);
    live.gate.unreadable.add(`${THING}/${CHANNEL}`);
    live.gate.changed();
    await until('it ended', () => forbidden.ended);
    expect(forbidden.events.at(-1)).toMatchObject({ event: 'ended', data: '{"type":"ended","reason":"not_allowed"}' });
    await using revoked = await TestStream.open(live.url + PATH.replace('room', 'chan-b'), AUTH);
    live.gate.take(KEY);
    await until('it ended', () => revoked.ended);
    expect(revoked.events.at(-1)).toMatchObject({ event: 'ended', data: '{"type":"ended","reason":"revoked"}' });
  });

  test('ends cleanly when the node drains', async () => {
    await using live = await openLive();
    await using stream = await TestStream.open(live.url + PATH, AUTH);
    const begun = performance.now();
    await live.drain(20_000);
    await until('it ended', () => stream.ended);
    expect(stream.fault).toBe(null);
    expect(performance.now() - begun).toBeLessThan(15_000);
  });

  test('comes after the answers to what was asked before it, and may be read by HTTP/1.0', async () => {
    await using live = await openLive();
    const client = new RawClient(live.port);
    live.log.stalled = true;
    const body = '"first"';
    client.write(
      `POST /channels/room/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Thing ${KEY}\r\nContent-Length: ${body.length}\r\n\r\n${body}GET ${PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Thing ${KEY}\r\n\r\n`,
    );
    await until('the message is appended', () => live.log.count === 1);
    expect(client.received).toBe('');
    live.log.stalled = false;
    live.log.commit();
    await until('both are answered', () => client.received.includes('retry:'));
    expect(client.received).toMatch(
      /^HTTP\/1\.1 202 [\s\S]*HTTP\/1\.1 200 OK\r\n[\s\S]*Transfer-Encoding: chunked\r\n/,
    );
    client.destroy();
    const old = new RawClient(live.port);
    old.write(`GET ${PATH} HTTP/1.0\r\nAuthorization: Thing ${KEY}\r\n\r\n`);
    await until('it has begun', () => old.received.includes('retry:'));
    live.append('"x"');
    await until('it came', () => old.received.includes('"payload":'));
    expect(old.received).not.toContain('chunked');
    expect(old.received).toMatch(/\n\nid: \d+-2\nevent: message\ndata: \{"type":"message",.*\}\n\n$/);
    old.destroy();
  });
});
