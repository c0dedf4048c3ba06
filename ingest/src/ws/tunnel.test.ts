import type { Duplex } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { until } from '../delivery/testing/stage.ts';
import { openLive } from '../live/testing/open-live.ts';
import { TestSocket } from '../live/testing/test-socket.ts';
import type { MqttOverWebSocket } from './opener.ts';

class TestBroker implements MqttOverWebSocket {
  readonly streams: Duplex[] = [];
  readonly peers: object[] = [];
  received = '';
  ends = 0;
  closes = 0;
  accept(stream: Duplex, peer: object): void {
    this.streams.push(stream);
    this.peers.push(peer);
    stream.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1');
    });
    stream.on('end', () => {
      this.ends++;
    });
    stream.on('error', () => {});
    stream.on('close', () => {
      this.closes++;
    });
  }
}

describe('the tunnel for MQTT', () => {
  test('carries bytes both ways, wherever the frames are cut', async () => {
    const mqtt = new TestBroker();
    await using live = await openLive({}, { mqtt });
    using socket = await TestSocket.open(`${live.wsUrl}/mqtt`, {}, ['mqtt']);
    expect(socket.ws.protocol).toBe('mqtt');
    expect(mqtt.peers).toEqual([{ remoteAddress: '127.0.0.1', tls: false, certificate: null }]);
    for (const part of ['\x10', '\x0e\x00', 'rest']) socket.send(Buffer.from(part, 'latin1'));
    await until('all came', () => mqtt.received.length >= 7);
    expect(mqtt.received).toBe('\x10\x0e\x00rest');
    mqtt.streams[0]?.write(Buffer.from('\x20\x02', 'latin1'));
    mqtt.streams[0]?.write(Buffer.from('\x00\x00', 'latin1'));
    await until('the answer came', () => socket.frames.join('').replaceAll('0x', '').length >= 4);
    expect(socket.frames.join('').replaceAll('0x', '')).toBe('\x20\x02\x00\x00');
  });

  test('ends on both sides, and loses nothing that was written before', async () => {
    const mqtt = new TestBroker();
    await using live = await openLive({}, { mqtt });
    using leaving = await TestSocket.open(`${live.wsUrl}/mqtt`, {}, ['mqttv3.1']);
    leaving.send(Buffer.from('last'));
    leaving.ws.close();
    await until('the broker saw the end', () => mqtt.ends === 1 && mqtt.closes === 1);
    expect(mqtt.received).toBe('last');
    using left = await TestSocket.open(`${live.wsUrl}/mqtt`, {}, ['mqtt']);
    mqtt.streams[1]?.end(Buffer.from('refused'));
    expect(await left.closed()).toMatchObject({ code: 1000 });
    expect(left.frames).toEqual(['0xrefused']);
    using cut = await TestSocket.open(`${live.wsUrl}/mqtt`, {}, ['mqtt']);
    mqtt.streams[2]?.destroy();
    expect(await cut.closed()).toMatchObject({ code: 1006 });
    await until('all are closed', () => mqtt.closes === 3);
  });

  test('holds the client back when the broker does not read, and the broker when the client does not', async () => {
    const streams: Duplex[] = [];
    await using live = await openLive({}, { mqtt: { accept: (stream) => void streams.push(stream) } });
    using socket = await TestSocket.open(`${live.wsUrl}/mqtt`, {}, ['mqtt']);
    const chunk = Buffer.alloc(65_536);
    // More than all buffers on the way hold.
    let taken = 0;
    for (let index = 0; index < 800; index++) socket.ws.send(chunk, () => taken++);
    await until('some was taken', () => taken > 0);
    const [stream] = streams as [Duplex];
    await until('the tunnel is full', () => stream.readableLength > 0);
    expect(stream.readableLength).toBeLessThan(1_048_576);
    let received = 0;
    stream.on('data', (data: Buffer) => {
      received += data.length;
    });
    await until('all came', () => received === 800 * chunk.length);
    socket.ws.pause();
    let written = 0;
    while (stream.write(chunk) && written < 10_000) written++;
    expect(written).toBeLessThan(10_000);
    socket.ws.resume();
    await until('there is room again', () => !stream.writableNeedDrain);
  });

  test('takes no text frames, no other protocol, and pages of this host only', async () => {
    const mqtt = new TestBroker();
    await using live = await openLive({}, { mqtt });
    using socket = await TestSocket.open(`${live.wsUrl}/mqtt`, {}, ['mqtt']);
    socket.send('text');
    expect(await socket.closed()).toMatchObject({ code: 1003 });
    expect(mqtt.received).toBe('');
    expect(await TestSocket.refused(`${live.wsUrl}/mqtt`, {}, ['amqp'])).toMatchObject({ status: 400 });
    expect(await TestSocket.refused(`${live.wsUrl}/mqtt`)).toMatchObject({ status: 400 });
    const origin = 'https://evil.example';
    expect(await TestSocket.refused(`${live.wsUrl}/mqtt`, { origin }, ['mqtt'])).toMatchObject({ status: 403 });
  });

  test('does not hold up the drain: who speaks MQTT ends its own connections', async () => {
    const mqtt = new TestBroker();
    await using live = await openLive({}, { mqtt });
    using socket = await TestSocket.open(`${live.wsUrl}/mqtt`, {}, ['mqtt']);
    await live.drain(20_000);
    expect(socket.closing).toBe(null);
    mqtt.streams[0]?.end();
    await socket.closed();
  });
});
