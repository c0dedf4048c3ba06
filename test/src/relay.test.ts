import { connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from './millrace.ts';
import { Relay } from './relay.ts';

describe('a relay', () => {
  const echo = createServer((socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  let relay: Relay;
  const sockets: Socket[] = [];

  beforeEach(async () => {
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    relay = await Relay.to((echo.address() as { port: number }).port);
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await relay.close();
    await new Promise((resolve) => echo.close(resolve));
  });

  /** A connection through the relay, and what came back on it. */
  function dialled(): { socket: Socket; seen: { text: string; closed: boolean } } {
    const seen = { text: '', closed: false };
    const socket = connect(relay.port, '127.0.0.1');
    socket.setEncoding('utf8').on('data', (text) => {
      seen.text += text;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      seen.closed = true;
    });
    sockets.push(socket);
    return { socket, seen };
  }
  const comes = (seen: { text: string }, text: string) =>
    eventually(`${text} comes back`, 20_000, async () => seen.text === text);

  test('that is held keeps what is sent, for connections made meanwhile too, and passes it on in order', async () => {
    const { socket, seen } = dialled();
    socket.write('1');
    await comes(seen, '1');
    relay.hold();
    const late = dialled();
    late.socket.write('a');
    for (const each of '234') {
      socket.write(each);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await eventually('it is kept', 20_000, async () => relay.keptCount >= 2);
    expect(seen.text).toBe('1');
    relay.release();
    await comes(seen, '1234');
    await comes(late.seen, 'a');
    expect(relay.keptCount).toBe(0);
  });

  test('that is slow answers later by its latency, in order also when it is quick again', async () => {
    const { socket, seen } = dialled();
    socket.write('1');
    await comes(seen, '1');
    relay.delay(300);
    const begin = performance.now();
    socket.write('2');
    await eventually('the answer waits', 20_000, async () => relay.keptCount > 0);
    relay.delay(0);
    socket.write('3');
    await comes(seen, '123');
    expect(performance.now() - begin).toBeGreaterThan(290);
  });

  test('cuts the share of its connections that it is told, and when shut lets none in', async () => {
    const both = [dialled(), dialled()];
    for (const { socket, seen } of both) {
      socket.write('1');
      await comes(seen, '1');
    }
    const draws = [0.04, 0.06];
    expect(relay.cut(0.05, () => draws.shift() ?? 1)).toBe(1);
    await eventually('one is closed', 20_000, async () => both.filter(({ seen }) => seen.closed).length === 1);
    relay.shut();
    await eventually('both are closed', 20_000, async () => both.every(({ seen }) => seen.closed));
    const refused = dialled();
    await eventually('a new one is refused', 20_000, async () => refused.seen.closed);
    relay.open();
    const welcome = dialled();
    welcome.socket.write('1');
    await comes(welcome.seen, '1');
  });
});
