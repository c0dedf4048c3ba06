import { EnvelopeReader } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { until } from '../delivery/testing/stage.ts';
import { AUTH, openLive } from '../live/testing/open-live.ts';
import { TestSocket } from '../live/testing/test-socket.ts';
import { CHANNEL, KEY, THING } from '../testing/gate.ts';

const subscribe = (id: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  type: 'subscribe',
  id,
  channel: 'room',
  ...more,
});

describe('the socket of many channels', () => {
  test('subscribes, tells what comes under the id of the subscription, and unsubscribes', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
    const subscribed = await socket.ask(subscribe('1'));
    expect(subscribed).toEqual({
      type: 'subscribed',
      id: '1',
      channel: CHANNEL,
      position: expect.stringMatching(/^\d+-0$/),
    });
    await socket.ask(subscribe('2', { channel: 'chan-b', subtopic: 'a/+' }));
    live.append('"one"', 'a/b');
    live.append('"two"', 'a/b', 'chan-b');
    live.append('"not this"', 'a', 'chan-b');
    await until('both came', () => socket.frames.length >= 4);
    const messages = socket.frames.slice(2).map((text) => JSON.parse(text) as Record<string, unknown>);
    const first = messages.find(({ subscription }) => subscription === '1');
    expect(first).toEqual({
      type: 'message',
      subscription: '1',
      channel: CHANNEL,
      subtopic: 'a/b',
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      publisher: 'many-publisher',
      protocol: 'http',
      content_type: 'text/plain',
      received: expect.closeTo(Date.now() / 1_000, -3),
      position: (subscribed.position as string).replace(/-0$/, '-1'),
      payload: '"one"',
    });
    expect(messages.find(({ subscription }) => subscription === '2')).toMatchObject({ payload: '"two"' });
    socket.send({ type: 'unsubscribe', id: '1' });
    await until('it is unsubscribed', () => socket.frames.length >= 5);
    expect(JSON.parse(socket.frames[4] as string)).toEqual({
      type: 'unsubscribed',
      id: '1',
      position: first?.position,
    });
    live.append('"three"', 'a/b');
    live.append('"four"', 'a/b', 'chan-b');
    await until('the other goes on', () => socket.frames.some((frame) => frame.includes('four')));
    expect(socket.frames.some((frame) => frame.includes('three'))).toBe(false);
  });

  test('publishes text, bytes and JSON, and acknowledges once it is durable', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
    await socket.ask(subscribe('s'));
    live.log.stalled = true;
    const about = { type: 'publish', channel: 'room', subtopic: 'a' };
    socket.send({ ...about, id: 'p1', payload: 'Grüße', content_type: 'text/plain' });
    socket.send({ ...about, id: 'p2', payload_base64: 'AP8=' });
    socket.send({ ...about, id: 'p3', json: [{ n: 'a', v: 1 }], content_type: 'application/senml+json' });
    socket.send({ ...about, payload: 'silent' });
    await until('all are appended', () => live.log.count === 4);
    expect(socket.frames.length).toBe(1);
    live.log.stalled = false;
    live.log.commit();
    await until('all is told', () => socket.frames.length >= 8);
    const told = socket.frames.slice(1).map((text) => JSON.parse(text) as Record<string, unknown>);
    const ids = (live.log.records ?? []).map((record) => {
      const reader = new EnvelopeReader();
      reader.open(record);
      return Buffer.from(reader.id).toString('hex');
    });
    const acks = told.filter(({ type }) => type === 'ack');
    expect(acks.map(({ id }) => id)).toEqual(['p1', 'p2', 'p3']);
    expect(acks.map(({ message }) => (message as string).replaceAll('-', ''))).toEqual(ids.slice(0, 3));
    const messages = told.filter(({ type }) => type === 'message');
    expect(messages.map(({ payload, payload_base64, json }) => payload ?? payload_base64 ?? json)).toEqual([
      'Grüße',
      'AP8=',
      [{ n: 'a', v: 1 }],
      'silent',
    ]);
    expect(messages[0]).toMatchObject({ publisher: THING, protocol: 'ws', content_type: 'text/plain' });
  });

  test('tells JSON as it was published, number for number, in one line', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
    await socket.ask(subscribe('s'));
    const body = '{\n  "big": 12345678901234567890,\r\n  "one": 1.0,\n  "text": "a\\nb\u2028"\n}';
    const headers = { ...AUTH, 'content-type': 'application/json' };
    await fetch(`${live.url}/channels/room/messages`, { method: 'POST', body, headers });
    const frame = await socket.next();
    expect(frame).toContain('"big": 12345678901234567890,');
    expect(frame).toContain('"one": 1.0');
    expect(frame).not.toMatch(/[\r\n]/);
    expect(JSON.parse(frame)).toMatchObject({ json: { text: 'a\nb\u2028' } });
    await fetch(`${live.url}/channels/room/messages`, { method: 'POST', body: '{"broken', headers });
    expect(await socket.nextJson()).toMatchObject({ payload: '{"broken' });
  });

  test('resumes each subscription from its position, without gap or repeat', async () => {
    await using live = await openLive();
    for (let index = 0; index < 10; index++) live.append(`m${index}`);
    let position = '';
    {
      using socket = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
      const subscribed = await socket.ask(subscribe('s'));
      position = (subscribed.position as string).replace(/\d+$/, '4');
    }
    for (let index = 10; index < 20; index++) live.append(`m${index}`);
    using socket = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
    expect(await socket.ask(subscribe('s', { from: position }))).toMatchObject({ position });
    await until('the rest came', () => socket.frames.length >= 17);
    const payloads = socket.frames.slice(1).map((text) => (JSON.parse(text) as { payload: string }).payload);
    expect(payloads).toEqual(Array.from({ length: 16 }, (_, index) => `m${index + 4}`));
  });

  test('tells of a gap when what it resumes from is kept no longer', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
    const { position } = await socket.ask(subscribe('tail'));
    for (let index = 0; index < 10; index++) live.append(`m${index}`);
    await until('all came', () => socket.frames.length >= 11);
    live.log.trim(Number((position as string).split('-')[0]), 6);
    socket.send(subscribe('late', { from: position }));
    await until('what is left came', () => socket.frames.filter((frame) => frame.includes('"late"')).length >= 6);
    const late = socket.frames.filter((frame) => frame.includes('"late"')).map((text) => JSON.parse(text));
    expect(late[1]).toMatchObject({ type: 'gap', subscription: 'late', from: position });
    expect(late[1].to).toBe((position as string).replace(/-0$/, '-6'));
    expect(late[2]).toMatchObject({ payload: 'm6' });
  });

  test('answers what it can not do with an error, and stays', async () => {
    await using live = await openLive({ MILLRACE_WS_SUBSCRIPTIONS_MAX: '2' });
    live.gate.unwritable.add('chan-r');
    using socket = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
    const wrong: [request: unknown, status: number, id?: string][] = [
      ['{"type":', 400],
      ['[]', 400],
      ['null', 400],
      ['"x"', 400],
      [{ type: 'dance', id: 'x' }, 400, 'x'],
      [{ type: 'subscribe', channel: 'room' }, 400],
      [subscribe('x', { channel: 'a b' }), 400, 'x'],
      [subscribe('x', { subtopic: 'a/#/b' }), 400, 'x'],
      [subscribe('x', { from: 'yesterday' }), 400, 'x'],
      [subscribe('x', { from: '7-0' }), 400, 'x'],
      [subscribe('x', { channel: 'nowhere' }), 404, 'x'],
      [subscribe('x', { channel: 'secret' }), 403, 'x'],
      [{ type: 'unsubscribe', id: 'x' }, 404, 'x'],
      [{ type: 'publish', id: 'x', channel: 'room' }, 400, 'x'],
      [{ type: 'publish', id: 'x', channel: 'room', payload: 'a', payload_base64: 'AA==' }, 400, 'x'],
      [{ type: 'publish', id: 'x', channel: 'room', payload_base64: '!' }, 400, 'x'],
      [{ type: 'publish', id: 'x', channel: 'room', payload: '' }, 400, 'x'],
      [{ type: 'publish', id: 'x', channel: 'room', subtopic: '+', payload: 'a' }, 400, 'x'],
      [{ type: 'publish', id: 'x', channel: 'chan-r', payload: 'a' }, 403, 'x'],
      [{ type: 'publish', channel: 'nowhere', payload: 'a' }, 404],
      [{ type: 'authenticate', id: 'x', key: KEY }, 409, 'x'],
    ];
    for (const [request, status, id] of wrong) {
      socket.send(request as string | Record<string, unknown>);
      const error = await socket.nextJson();
      expect({ request, error }).toEqual({
        request,
        error: { type: 'error', status, title: expect.any(String), detail: expect.any(String), ...(id && { id }) },
      });
    }
    await socket.ask(subscribe('1'));
    expect(await socket.ask(subscribe('1'))).toMatchObject({ type: 'error', id: '1', status: 409 });
    await socket.ask(subscribe('2'));
    expect(await socket.ask(subscribe('3'))).toMatchObject({ type: 'error', id: '3', status: 503 });
    for (let index = 0; index < 16; index++) socket.send('nonsense');
    expect(await socket.closed()).toMatchObject({ code: 4400 });
  });

  test('is known by header, ticket or query, or by its first message', async () => {
    await using live = await openLive();
    for (const ticket of ['t-1', 't-2']) live.gate.tickets.add(ticket);
    using byTicket = await TestSocket.open(`${live.wsUrl}/ws?ticket=t-1`);
    expect(await byTicket.ask(subscribe('1'))).toMatchObject({ type: 'subscribed' });
    using byQuery = await TestSocket.open(`${live.wsUrl}/ws?authorization=${KEY}`);
    expect(await byQuery.ask(subscribe('1'))).toMatchObject({ type: 'subscribed' });
    for (const shown of [{ ticket: 't-2' }, { key: KEY }, { token: KEY }]) {
      using socket = await TestSocket.open(`${live.wsUrl}/ws`);
      expect(await socket.ask({ type: 'authenticate', id: 'a', ...shown })).toEqual({ type: 'authenticated', id: 'a' });
      expect(await socket.ask(subscribe('1'))).toMatchObject({ type: 'subscribed' });
    }
    using wrong = await TestSocket.open(`${live.wsUrl}/ws`);
    expect(await wrong.ask({ type: 'authenticate', key: 'nobody-knows' })).toMatchObject({
      type: 'error',
      status: 401,
    });
    expect(await wrong.closed()).toMatchObject({ code: 4401 });
    using hasty = await TestSocket.open(`${live.wsUrl}/ws`);
    hasty.send(subscribe('1'));
    expect(await hasty.closed()).toMatchObject({ code: 4401 });
    expect(await TestSocket.refused(`${live.wsUrl}/ws`, { authorization: 'Thing nobody-knows' })).toMatchObject({
      status: 401,
    });
    expect(live.logged.join('')).not.toContain(KEY);
  });

  test('is closed when no credential comes in time, or too much comes before it', async () => {
    await using live = await openLive({ MILLRACE_WS_AUTHENTICATE_MS_MAX: '100' });
    using silent = await TestSocket.open(`${live.wsUrl}/ws`);
    expect(await silent.closed()).toMatchObject({ code: 4401 });
    await using patient = await openLive();
    using loud = await TestSocket.open(`${patient.wsUrl}/ws`);
    loud.send(new Uint8Array(200_000));
    expect((await loud.closed()).code).not.toBe(1000);
  });

  test('tells the end of a subscription that may no longer be, keeps the others, and goes with its key', async () => {
    await using live = await openLive();
    live.gate.tickets.add('t-1');
    using socket = await TestSocket.open(`${live.wsUrl}/ws?ticket=t-1`);
    await socket.ask(subscribe('1'));
    await socket.ask(subscribe('2', { channel: 'chan-b' }));
    live.gate.unreadable.add(`${THING}/${CHANNEL}`);
    live.gate.changed();
    expect(await socket.nextJson()).toEqual({ type: 'ended', subscription: '1', reason: 'not_allowed' });
    live.append('"still"', '', 'chan-b');
    expect(await socket.nextJson()).toMatchObject({ subscription: '2' });
    live.gate.take(KEY);
    expect(await socket.closed()).toMatchObject({ code: 4401 });
  });

  test('ends when the node drains', async () => {
    await using live = await openLive();
    using socket = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
    await live.drain(20_000);
    expect(await socket.closed()).toMatchObject({ code: 1001 });
  });
});
