import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EnvelopeReader, partitionOf } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { until } from '../delivery/testing/stage.ts';
import { AUTH, type OpenLive, openLive } from '../live/testing/open-live.ts';
import { TestSocket } from '../live/testing/test-socket.ts';
import { CHANNEL, KEY, THING } from '../testing/gate.ts';

const PATH = '/channels/room/messages';
interface Stored {
  readonly payload: string;
  readonly subtopic: string;
  readonly contentType: string;
  readonly publisher: string;
  readonly protocol: number;
}
const stored = (live: OpenLive): Stored[] =>
  (live.log.records ?? []).map((record) => {
    const reader = new EnvelopeReader();
    if (!reader.open(record)) throw new Error('no envelope');
    const { subtopic, contentType, publisher, protocol } = reader;
    return { payload: reader.payload.toString(), subtopic, contentType, publisher, protocol };
  });

describe('a socket on a channel', () => {
  test('publishes its frames, and gets what comes on the channel, in order', async () => {
    await using live = await openLive();
    using first = await TestSocket.open(live.wsUrl + PATH, AUTH);
    using second = await TestSocket.open(`${live.wsUrl}/ws${PATH}?authorization=many-other`);
    for (let index = 0; index < 300; index++) first.send(`{"n":${index}}`);
    await until('both have all', () => first.frames.length >= 300 && second.frames.length >= 300);
    const expected = Array.from({ length: 300 }, (_, index) => `{"n":${index}}`);
    expect(first.frames).toEqual(expected);
    expect(second.frames).toEqual(expected);
    expect(stored(live)[7]).toEqual({
      payload: '{"n":7}',
      subtopic: '',
      contentType: '',
      publisher: THING,
      protocol: 2,
    });
  });

  test('gets what was published by HTTP, and HTTP stores what it published', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(live.wsUrl + PATH, AUTH);
    const body = Buffer.from([0x82, 0x00, 0xff]);
    const answer = await fetch(live.url + PATH, { method: 'POST', body, headers: AUTH });
    expect(answer.status).toBe(202);
    expect(await socket.next()).toBe('0x\x82\x00\xff');
  });

  test('acknowledges each frame in order, only once it is durable', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(`${live.wsUrl + PATH}/a?ack=1`, AUTH);
    live.log.stalled = true;
    socket.send('one');
    socket.send('');
    socket.send('two');
    await until('both are appended', () => live.log.count === 2);
    socket.ws.ping();
    await new Promise((resolve) => socket.ws.once('pong', resolve));
    expect(socket.frames).toEqual([]);
    live.log.stalled = false;
    live.log.commit();
    await until('all is answered', () => socket.frames.length >= 5);
    const answers = socket.frames.filter((frame) => frame.startsWith('{')).map((text) => JSON.parse(text));
    expect(answers).toEqual([
      { ack: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      { error: 'The message is empty.', status: 400 },
      { ack: expect.stringMatching(/^[0-9a-f-]{36}$/) },
    ]);
    expect(socket.frames.filter((frame) => !frame.startsWith('{'))).toEqual(['one', 'two']);
  });

  test('keeps the order of frames while decisions take their time', async () => {
    await using live = await openLive();
    live.gate.cold = true;
    using socket = await TestSocket.open(`${live.wsUrl + PATH}?ack=1`, AUTH);
    for (let index = 0; index < 100; index++) socket.send(`m${index}`);
    await until('all is stored', () => live.log.count === 100);
    expect(stored(live).map(({ payload }) => payload)).toEqual(Array.from({ length: 100 }, (_, index) => `m${index}`));
  });

  test('stores what was sent right before the socket was closed', async () => {
    await using live = await openLive();
    live.gate.cold = true;
    using socket = await TestSocket.open(live.wsUrl + PATH, AUTH);
    for (let index = 0; index < 50; index++) socket.send(`m${index}`);
    socket.ws.close();
    await until('all is stored', () => live.log.count === 50);
    expect((await socket.closed()).code).toBe(1005);
  });

  test('names the content type by query or sub-protocol', async () => {
    await using live = await openLive();
    using typed = await TestSocket.open(`${live.wsUrl + PATH}?content_type=text/csv`, AUTH);
    typed.send('a,b');
    using senml = await TestSocket.open(live.wsUrl + PATH, AUTH, ['senml-json']);
    expect(senml.ws.protocol).toBe('senml-json');
    await until('the first is stored', () => live.log.count === 1);
    senml.send('[]');
    await until('both are stored', () => live.log.count === 2);
    expect(stored(live).map(({ contentType }) => contentType)).toEqual(['text/csv', 'application/senml+json']);
  });

  test('reads exactly its subtopic, or what a wildcard in the path or the query says', async () => {
    await using live = await openLive();
    using exact = await TestSocket.open(`${live.wsUrl + PATH}/a`, AUTH);
    using below = await TestSocket.open(`${live.wsUrl + PATH}/a/%23`, AUTH);
    using one = await TestSocket.open(`${live.wsUrl + PATH}?subtopic=%2B/b`, AUTH);
    for (const subtopic of ['', 'a', 'a/b', 'c/b', 'a/b/c', 'a']) live.append(`"${subtopic}"`, subtopic);
    await until('all came', () => exact.frames.length === 2 && below.frames.length === 4 && one.frames.length === 2);
    expect(exact.frames).toEqual(['"a"', '"a"']);
    expect(below.frames).toEqual(['"a"', '"a/b"', '"a/b/c"', '"a"']);
    expect(one.frames).toEqual(['"a/b"', '"c/b"']);
  });

  test('goes on from a position', async () => {
    await using live = await openLive();
    for (let index = 0; index < 5; index++) live.append(`"${index}"`);
    await until('all is durable', () => live.log.count === 5);
    const partition = partitionOf(Buffer.from(CHANNEL), live.log.partitionCount);
    using socket = await TestSocket.open(`${live.wsUrl + PATH}?from=${partition}-3`, AUTH);
    expect([await socket.next(), await socket.next()]).toEqual(['"3"', '"4"']);
  });

  test('opens for who may only publish, and for who may only read, and tells the one from the other', async () => {
    await using live = await openLive();
    live.gate.unreadable.add(`${THING}/chan-w`);
    live.gate.unwritable.add('chan-r');
    live.gate.unreadable.add(`${THING}/chan-n`);
    live.gate.unwritable.add('chan-n');
    using writer = await TestSocket.open(`${live.wsUrl}/channels/chan-w/messages?ack=1`, AUTH);
    writer.send('x');
    expect(await writer.nextJson()).toHaveProperty('ack');
    using reader = await TestSocket.open(`${live.wsUrl}/channels/chan-r/messages?ack=1`, AUTH);
    reader.send('x');
    expect(await reader.nextJson()).toMatchObject({ status: 403 });
    using silent = await TestSocket.open(`${live.wsUrl}/channels/chan-r/messages`, AUTH);
    silent.send('x');
    expect((await silent.closed()).code).toBe(4403);
    const neither = await TestSocket.refused(`${live.wsUrl}/channels/chan-n/messages`, AUTH);
    expect(neither).toMatchObject({ status: 403, type: 'application/problem+json' });
  });

  test('tells a full log to who waits for acknowledgements, and makes the others wait', async () => {
    await using live = await openLive();
    using asking = await TestSocket.open(`${live.wsUrl + PATH}?ack=1`, AUTH);
    using silent = await TestSocket.open(`${live.wsUrl + PATH}/quiet`, AUTH);
    live.log.refusal = 'LOG_FULL';
    asking.send('x');
    expect(await asking.nextJson()).toMatchObject({ status: 503 });
    let asked = 0;
    const refusalOf = live.log.refusalOf.bind(live.log);
    live.log.refusalOf = () => {
      asked++;
      return refusalOf();
    };
    silent.send('kept');
    silent.send('kept too');
    await until('the log was asked more than once', () => asked >= 3);
    live.log.refusal = null;
    await until('it was stored all the same', () => live.log.count === 2);
    expect(stored(live).map(({ payload }) => payload)).toEqual(['kept', 'kept too']);
  });

  test('without acknowledgements is closed when the log stays full', async () => {
    await using live = await openLive({ MILLRACE_WS_STALL_MS_MAX: '100' });
    using silent = await TestSocket.open(live.wsUrl + PATH, AUTH);
    live.log.refusal = 'LOG_FULL';
    silent.send('lost');
    expect(await silent.closed()).toMatchObject({ code: 1013 });
  });

  test('is told of too many messages', async () => {
    await using live = await openLive({ MILLRACE_WS_RATE_PER_SECOND: '0.001', MILLRACE_WS_RATE_BURST: '1' });
    using asking = await TestSocket.open(`${live.wsUrl + PATH}?ack=1`, AUTH);
    asking.send('1');
    asking.send('2');
    await until('both are answered', () => asking.frames.filter((frame) => frame.startsWith('{')).length === 2);
    const answers = asking.frames.filter((frame) => frame.startsWith('{')).map((text) => JSON.parse(text));
    expect(answers).toEqual([{ ack: expect.any(String) }, { error: expect.any(String), status: 429 }]);
  });

  test('without acknowledgements is not read faster than it may publish', async () => {
    await using live = await openLive({ MILLRACE_WS_RATE_PER_SECOND: '20', MILLRACE_WS_RATE_BURST: '1' });
    using silent = await TestSocket.open(live.wsUrl + PATH, AUTH);
    for (let index = 0; index < 5; index++) silent.send(`s${index}`);
    await until('all of it is stored', () => live.log.count === 5);
    expect(stored(live).map(({ payload }) => payload)).toEqual(['s0', 's1', 's2', 's3', 's4']);
  });

  test('is closed in a second when its key is revoked, and reads no more once it may not', async () => {
    await using live = await openLive();
    using revoked = await TestSocket.open(live.wsUrl + PATH, AUTH);
    using other = await TestSocket.open(live.wsUrl + PATH, { authorization: 'Thing many-other' });
    live.gate.take(KEY);
    expect(await revoked.closed()).toMatchObject({ code: 4401 });
    live.gate.unreadable.add('many-other/01890000-0000-7000-8000-0000000000c1');
    live.gate.changed();
    expect(await other.closed()).toMatchObject({ code: 4403 });
  });

  test('stays open when something about its owner changed that does not matter', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(`${live.wsUrl + PATH}?ack=1`, AUTH);
    live.gate.revoke(KEY);
    socket.send('still here');
    await until('it is acknowledged and came', () => socket.frames.length === 2);
    live.gate.revoke(KEY);
    await until('it is known again', () => live.gate.asked >= 3);
    live.append('"after"');
    await until('it came', () => socket.frames.length === 3);
    expect(socket.frames).toContain('"after"');
  });

  test('waits while its owner must be known anew and the registry is away', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(`${live.wsUrl + PATH}?ack=1`, AUTH);
    live.gate.revoke(KEY);
    live.gate.failure = new Error('away');
    socket.send('x');
    expect(await socket.nextJson()).toMatchObject({ status: 503 });
    live.append('"kept for it"');
    const { asked } = live.gate;
    await until('it was asked again', () => live.gate.asked > asked);
    expect(socket.closing).toBe(null);
    live.gate.failure = null;
    expect(await socket.next()).toBe('"kept for it"');
  });

  test('speaks TLS', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'ws-tls-'));
    try {
      const [cert, key] = [join(directory, 'cert.pem'), join(directory, 'key.pem')];
      const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=localhost'];
      execFileSync('openssl', ['req', '-x509', ...kind, '-keyout', key, '-out', cert], { stdio: 'ignore' });
      await using live = await openLive({ MILLRACE_HTTP_TLS_CERT: cert, MILLRACE_HTTP_TLS_KEY: key });
      expect(live.wsUrl).toMatch(/^wss:/);
      using socket = await TestSocket.open(live.wsUrl + PATH, AUTH);
      const text = 'x'.repeat(500_000);
      for (let index = 0; index < 5; index++) socket.send(`${index}${text}`);
      await until('all came', () => socket.frames.length === 5);
      expect(socket.frames.map((frame) => frame[0])).toEqual(['0', '1', '2', '3', '4']);
      expect(socket.sizes).toEqual([500_001, 500_001, 500_001, 500_001, 500_001]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('is refused with a problem before it opens', async () => {
    await using live = await openLive();
    const none = await TestSocket.refused(live.wsUrl + PATH);
    expect(none).toMatchObject({ status: 401, type: 'application/problem+json' });
    expect(none.challenge).toContain('Bearer');
    expect(await TestSocket.refused(live.wsUrl + PATH, { authorization: 'Thing nobody-knows' })).toMatchObject({
      status: 401,
    });
    const statuses: [path: string, status: number][] = [
      ['/channels/nowhere/messages', 404],
      ['/channels/secret/messages', 403],
      ['/channels/off/messages', 403],
      [`${PATH}/a//b`, 400],
      [`${PATH}/a*`, 400],
      [`${PATH}/%23/a`, 400],
      [`${PATH}?from=x`, 400],
      [`${PATH}?from=7-0`, 400],
      [`${PATH}?slow=perhaps`, 400],
      [`${PATH}?content_type=%0d%0a`, 400],
      ['/m/another-org/c/room', 404],
      ['/mqtt', 404],
      ['/nothing/here', 404],
    ];
    for (const [path, status] of statuses) {
      expect({ path, status: (await TestSocket.refused(live.wsUrl + path, AUTH)).status }).toEqual({ path, status });
    }
    live.gate.failure = Object.assign(new Error('away'), {});
    expect(await TestSocket.refused(live.wsUrl + PATH, AUTH)).toMatchObject({ status: 500 });
  });

  test('takes a ticket once, and the classic key in the query only where that is on', async () => {
    await using live = await openLive({ MILLRACE_WS_QUERY_AUTHORIZATION: 'off' });
    live.gate.tickets.add('t-1');
    using _socket = await TestSocket.open(`${live.wsUrl + PATH}?ticket=t-1`);
    expect(await TestSocket.refused(`${live.wsUrl + PATH}?ticket=t-1`)).toMatchObject({ status: 401 });
    expect(await TestSocket.refused(`${live.wsUrl + PATH}?authorization=${KEY}`)).toMatchObject({ status: 401 });
    expect(live.logged.join('')).not.toContain(KEY);
  });

  test('is opened by pages of this host and of listed origins, with or without a ticket', async () => {
    await using live = await openLive({ MILLRACE_HTTP_CORS_ORIGINS: 'https://app.example' });
    for (const origin of [live.url, 'https://app.example']) {
      using _socket = await TestSocket.open(live.wsUrl + PATH, { ...AUTH, origin });
    }
    for (const origin of ['https://evil.example', 'null', `${live.url}.evil.example`, 'http://127.0.0.1:1']) {
      live.gate.tickets.add('t-1');
      expect(await TestSocket.refused(`${live.wsUrl + PATH}?ticket=t-1`, { origin })).toMatchObject({ status: 403 });
    }
    expect(live.gate.tickets.has('t-1')).toBe(true);
  });

  test('of the later dialect is one of its organisation', async () => {
    await using live = await openLive();
    const org = '01890000-0000-7000-8000-00000000000a';
    using socket = await TestSocket.open(`${live.wsUrl}/m/${org}/c/room/a?ack=1`, {
      authorization: `Client ${KEY}`,
    });
    socket.send('x');
    expect(await socket.nextJson()).toHaveProperty('ack');
    expect(stored(live)[0]?.subtopic).toBe('a');
  });

  test('is one of so many, and makes room when it is closed', async () => {
    await using live = await openLive({ MILLRACE_WS_CONNECTIONS_MAX: '1' });
    using socket = await TestSocket.open(live.wsUrl + PATH, AUTH);
    expect(await TestSocket.refused(live.wsUrl + PATH, AUTH)).toMatchObject({ status: 503 });
    socket.ws.close();
    await socket.closed();
    // The server hears of the end in its own time.
    let again: TestSocket | null = null;
    while (again === null) again = await TestSocket.open(live.wsUrl + PATH, AUTH).catch(() => null);
    again[Symbol.dispose]();
  });

  test('ends when the node drains, after what was received is acknowledged', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(`${live.wsUrl + PATH}/a?ack=1`, AUTH);
    live.log.stalled = true;
    socket.send('last');
    await until('it is appended', () => live.log.count === 1);
    const drained = live.drain(20_000);
    live.log.stalled = false;
    live.log.commit();
    await drained;
    expect(await socket.closed()).toMatchObject({ code: 1001 });
    expect(socket.frames.some((frame) => frame.startsWith('{"ack"'))).toBe(true);
  });
});
