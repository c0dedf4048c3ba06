import { describe, expect, test } from 'vitest';
import { until } from '../delivery/testing/stage.ts';
import { KEY } from '../testing/gate.ts';
import { RawClient } from '../testing/raw-client.ts';
import { AUTH, type OpenLive, openLive } from './testing/open-live.ts';
import { TestSocket } from './testing/test-socket.ts';
import { TestStream } from './testing/test-stream.ts';

const PATH = '/channels/room/messages';
/** More than all buffers between server and client hold. */
const COUNT = 400;
const FILL = 'x'.repeat(65_000);
const numbered = (live: OpenLive, count = COUNT, first = 0): void => {
  for (let index = first; index < first + count; index++) live.append(`${index} ${FILL}`);
};
const numbers = (texts: readonly string[]): number[] => texts.map((text) => Number.parseInt(text, 10));
const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index);
const ends = async (live: OpenLive, kind: string): Promise<number> => {
  const { values } = (await live.metrics.registry.getSingleMetric('millrace_live_ends_total')?.get()) ?? { values: [] };
  return values.find(({ labels }) => labels.kind === kind && labels.reason === 'slow')?.value ?? 0;
};
async function cutOff(live: OpenLive, kind: string): Promise<void> {
  const end = performance.now() + 20_000;
  while ((await ends(live, kind)) === 0) {
    if (performance.now() > end) throw new Error('it was not cut off');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe('a slow subscriber', () => {
  test('falls behind in the log, delays nobody, and gets all in order once it reads again', async () => {
    await using live = await openLive();
    using slow = await TestSocket.open(live.wsUrl + PATH, AUTH);
    using fast = await TestSocket.open(live.wsUrl + PATH, { authorization: 'Thing many-fast' });
    slow.ws.pause();
    numbered(live);
    await until('the fast one has all', () => fast.frames.length === COUNT);
    expect(numbers(fast.frames)).toEqual(upTo(COUNT));
    expect(slow.frames.length).toBeLessThan(COUNT);
    slow.ws.resume();
    await until('the slow one has all', () => slow.frames.length === COUNT);
    expect(numbers(slow.frames)).toEqual(upTo(COUNT));
  });

  test('that takes nothing is cut off with the position from which it goes on', async () => {
    await using live = await openLive({ MILLRACE_WS_STALL_MS_MAX: '300' });
    using slow = await TestSocket.open(live.wsUrl + PATH, AUTH);
    slow.ws.pause();
    numbered(live);
    await cutOff(live, 'channel');
    slow.ws.resume();
    const { code, reason } = await slow.closed();
    expect(code).toBe(4008);
    expect(slow.frames.length).toBeLessThan(COUNT);
    using again = await TestSocket.open(`${live.wsUrl + PATH}?from=${reason}`, AUTH);
    await until('the rest came', () => slow.frames.length + again.frames.length >= COUNT);
    expect(numbers([...slow.frames, ...again.frames])).toEqual(upTo(COUNT));
  });

  test('of many channels goes on from its last position', async () => {
    await using live = await openLive({ MILLRACE_WS_STALL_MS_MAX: '300' });
    using slow = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
    await slow.ask({ type: 'subscribe', id: 's', channel: 'room' });
    slow.ws.pause();
    numbered(live);
    await cutOff(live, 'many');
    slow.ws.resume();
    expect(await slow.closed()).toMatchObject({ code: 4008 });
    const told = (socket: TestSocket): { position: string; payload: string }[] =>
      socket.frames.slice(1).map((text) => JSON.parse(text) as { position: string; payload: string });
    const from = told(slow).at(-1)?.position;
    using again = await TestSocket.open(`${live.wsUrl}/ws`, AUTH);
    await again.ask({ type: 'subscribe', id: 's', channel: 'room', from });
    await until('the rest came', () => slow.frames.length + again.frames.length >= COUNT + 2);
    expect(numbers([...told(slow), ...told(again)].map(({ payload }) => payload))).toEqual(upTo(COUNT));
  });

  test('of an event stream is told where to go on, and does', async () => {
    await using live = await openLive({ MILLRACE_WS_STALL_MS_MAX: '300' });
    const slow = new RawClient(live.port);
    slow.write(`GET ${PATH}/live HTTP/1.1\r\nHost: x\r\nAuthorization: Thing ${KEY}\r\n\r\n`);
    await until('it has begun', () => slow.received.includes('retry:'));
    slow.socket.pause();
    numbered(live);
    await cutOff(live, 'stream');
    slow.socket.resume();
    await slow.end();
    const [, position] =
      /event: slow\ndata: \{"type":"slow","position":"(\d+-\d+)"\}\n\n\r\n0\r\n\r\n$/.exec(slow.received) ?? [];
    expect(position).toBeDefined();
    const got = [...slow.received.matchAll(/"payload":"(\d+) /g)].map(([, text]) => Number(text));
    await using rest = await TestStream.open(`${live.url + PATH}/live`, {
      ...AUTH,
      'last-event-id': position as string,
    });
    await until('the rest came', () => got.length + rest.messages.length >= COUNT);
    const further = rest.messages.map(({ data }) => (JSON.parse(data) as { payload: string }).payload);
    expect([...got, ...numbers(further)]).toEqual(upTo(COUNT));
  });

  test('that wants only the latest gets the last of each series, and never falls behind', async () => {
    await using live = await openLive({ MILLRACE_WS_STALL_MS_MAX: '600000' });
    using slow = await TestSocket.open(`${live.wsUrl + PATH}/%23?slow=latest`, AUTH);
    using fast = await TestSocket.open(`${live.wsUrl + PATH}/%23`, { authorization: 'Thing many-fast' });
    slow.ws.pause();
    const series = 20;
    const rounds = 300;
    const fill = 'x'.repeat(4_000);
    for (let round = 0; round < rounds; round++) {
      for (let one = 0; one < series; one++) live.append(`s${one} ${round} ${fill}`, `s${one}`);
    }
    await until('the fast one has all', () => fast.frames.length === series * rounds);
    slow.ws.resume();
    const last = (): Map<string, number> =>
      new Map(slow.frames.map((text) => [text.split(' ')[0] as string, Number(text.split(' ')[1])]));
    await until('the last of each series came', () => {
      const seen = last();
      return seen.size === series && [...seen.values()].every((round) => round === rounds - 1);
    });
    expect(slow.frames.length).toBeLessThan(series * rounds);
    live.append('s0 999', 's0');
    await until('it is up to date', () => last().get('s0') === 999);
    const text = await live.metrics.registry.metrics();
    expect(text).toMatch(
      new RegExp(`millrace_live_dropped_total\\{kind="channel"\\} ${series * rounds + 1 - slow.frames.length}\\b`),
    );
  });
});
