import type { LoraKind } from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { DownlinkCommand } from '../events/chirpstack-v4-messages.ts';
import type { LoraEvent } from '../events/lora-event.ts';
import { structValue } from '../events/protobuf.ts';
import { brokered } from '../testing/memory-directory.ts';
import { outcomeOf } from './correlation.ts';
import { type Downlink, httpEnqueue, mqttEnqueue } from './enqueue.ts';
import { commandOf, queueItemIdOf } from './queue-item.ts';
import { readDownlink } from './request.ts';

const nested = (levels: number): object => (levels === 0 ? {} : { deeper: nested(levels - 1) });
const NOW = Date.parse('2026-07-18T09:00:00Z');
const read = (subtopic: string, body: unknown, type = 'application/json') => {
  const payload = body instanceof Uint8Array ? body : Buffer.from(JSON.stringify(body));
  const told = readDownlink(subtopic, type, payload, NOW);
  return told.kind === 'bad' ? told.detail : told.request;
};

describe('a message to down/', () => {
  test('is the payload itself, or describes it', () => {
    expect(read('down/10', Uint8Array.of(1, 2, 3), 'application/octet-stream')).toEqual({
      device: null,
      arguments: { f_port: 10, data: 'AQID' },
      expiresMs: null,
    });
    expect(read('down/10', { hex: '0A0b', confirmed: true, flush: true, expires_in: 60 })).toEqual({
      device: null,
      arguments: { f_port: 10, hex: '0A0b', confirmed: true, flush: true },
      expiresMs: NOW + 60_000,
    });
    expect(read('down', { f_port: 3, object: { on: true }, expires_at: '2026-07-18T10:00:00Z' })).toMatchObject({
      arguments: { f_port: 3, object: { on: true } },
      expiresMs: NOW + 3_600_000,
    });
    expect(read('down/2', { data: 'AQID' }, '')).toMatchObject({ arguments: { data: 'AQID' } });
  });

  test('says its device in the path, before the body, a DevEUI in any spelling', () => {
    expect(read('down/1/01-01-01-01-01-01-01-0A', { hex: '00', device: 'other' })).toMatchObject({
      device: '010101010101010a',
    });
    expect(read('down/1', { hex: '00', device: '0101:0101:0101:010A' })).toMatchObject({ device: '010101010101010a' });
    expect(read('down/1/a-thing', { hex: '00' })).toMatchObject({ device: 'a-thing' });
  });

  test.each([
    ['down/0', { hex: '00' }, 'fPort'],
    ['down/224', { hex: '00' }, 'fPort'],
    ['down/x', { hex: '00' }, 'subtopic'],
    ['down/1/2/3', { hex: '00' }, 'subtopic'],
    ['down', { hex: '00' }, 'fPort'],
    ['down/1', {}, 'one of data, hex, object'],
    ['down/1', { hex: '00', data: 'AA==' }, 'one of data, hex, object'],
    ['down/1', { hex: '0' }, 'payload'],
    ['down/1', { hex: '00'.repeat(243) }, 'payload'],
    ['down/1', { data: '%%%' }, 'payload'],
    ['down/1', { object: [1] }, 'object'],
    ['down/1', { hex: '00', confirmed: 'yes' }, 'confirmed'],
    ['down/1', { hex: '00', expires_in: -1 }, 'expires_in'],
    ['down/1', { hex: '00', expires_in: 1e300 }, 'up to 30 days'],
    ['down/1', { hex: '00', expires_at: '9999-01-01T00:00:00Z' }, 'up to 30 days'],
    ['down/1', { object: nested(65) }, 'nested too deeply'],
    ['down/1', { hex: '00', expires_at: 'soon' }, 'expires_at'],
    ['down/1', { hex: '00', fport: 3 }, 'fport'],
    ['down/1', [], 'object'],
    ['down/1', new Uint8Array(0), 'JSON'],
  ] as const)('%s %j is refused for its %s', (subtopic, body, why) => {
    expect(read(subtopic, body)).toContain(why);
  });
});

const downlink = (more: Partial<Downlink> = {}): Downlink => ({
  queueItemId: '019f7a10-5c8e-7abc-9def-0123456789ab',
  devEui: '0101010101010101',
  deviceId: 'dev1',
  applicationId: 'app',
  tenant: 'ttn',
  fPort: 10,
  confirmed: true,
  flush: false,
  content: { data: Uint8Array.of(1, 2, 3) },
  expiresMs: NOW,
  ...more,
});
const mqtt = (kind: LoraKind, what: Downlink, format: 'json' | 'protobuf' = 'json') => {
  const packet = mqttEnqueue(brokered('s', '', { format }, { kind }), what);
  if (typeof packet === 'string') return packet;
  return {
    topic: packet.topic,
    body: format === 'json' ? JSON.parse(Buffer.from(packet.payload).toString()) : packet.payload,
  };
};

describe('a downlink', () => {
  test('goes to ChirpStack v4 as its command', () => {
    const topic = 'application/app/device/0101010101010101/command/down';
    const id = downlink().queueItemId;
    const body = { id, devEui: '0101010101010101', confirmed: true, fPort: 10, expiresAt: '2026-07-18T09:00:00.000Z' };
    expect(mqtt('chirpstack-v4', downlink())).toEqual({ topic, body: { ...body, data: 'AQID' } });
    const object = { valve: 1, mode: ['a', null, true] };
    expect(mqtt('chirpstack-v4', downlink({ content: { object } }))).toMatchObject({ body: { object } });
    const binary = mqtt('chirpstack-v4', downlink({ content: { object } }), 'protobuf') as { body: Uint8Array };
    const told = DownlinkCommand.fromBinary(binary.body) as { object: Parameters<typeof structValue>[0] };
    expect(told).toMatchObject({ id, fPort: 10, confirmed: true, expiresAt: { seconds: String(NOW / 1_000) } });
    expect(structValue(told.object)).toEqual(object);
    expect(mqtt('chirpstack-v4', downlink({ flush: true }))).toContain('http.url');
    for (const applicationId of ['app/device/#', '+', 'a/b']) {
      expect(mqtt('chirpstack-v4', downlink({ applicationId })), applicationId).toContain('is none');
    }
  });

  test('goes to ChirpStack v3 as its command', () => {
    expect(mqtt('chirpstack-v3', downlink())).toMatchObject({ body: { confirmed: true, fPort: 10, data: 'AQID' } });
    expect(httpEnqueue('chirpstack-v3', downlink({ content: { object: { a: 1 } } }))).toEqual([
      {
        method: 'POST',
        path: '/api/devices/0101010101010101/queue',
        body: { deviceQueueItem: { confirmed: true, fPort: 10, jsonObject: '{"a":1}' } },
      },
    ]);
  });

  test('goes to The Things Stack with our id for its correlation', () => {
    const one = {
      f_port: 10,
      frm_payload: 'AQID',
      confirmed: true,
      priority: 'NORMAL',
      correlation_ids: ['millrace:019f7a10-5c8e-7abc-9def-0123456789ab'],
    };
    expect(mqtt('tts-v3', downlink())).toEqual({
      topic: 'v3/app@ttn/devices/dev1/down/push',
      body: { downlinks: [one] },
    });
    expect(mqtt('tts-v3', downlink({ tenant: '', flush: true }))).toMatchObject({
      topic: 'v3/app/devices/dev1/down/replace',
    });
    expect(mqtt('tts-v3', downlink({ deviceId: '' }))).toContain('device_id');
    expect(httpEnqueue('tts-v3', downlink())).toMatchObject([
      { method: 'POST', path: '/api/v3/as/applications/app/devices/dev1/down/push' },
    ]);
    for (const deviceId of ['..', '.', 'a/b', 'a b']) {
      expect(httpEnqueue('tts-v3', downlink({ deviceId })), deviceId).toContain('is none');
    }
    expect(httpEnqueue('tts-v3', downlink({ applicationId: '..' }))).toContain('is none');
  });
});

test('a queue item says which command it is, and whether the device acknowledges', () => {
  const id = '019f7a10-5c8e-7abc-9def-0123456789ab';
  expect(queueItemIdOf(id, true)).toBe(id);
  expect(commandOf(queueItemIdOf(id, true))).toEqual({ command: id, confirmed: true });
  expect(queueItemIdOf(id, false)).not.toBe(id);
  expect(commandOf(queueItemIdOf(id, false))).toEqual({ command: id, confirmed: false });
  expect(commandOf('3ac7e3c4-4401-4b8d-9386-a5c902f9202d'), 'a random one is theirs').toBeNull();
  expect(commandOf('text')).toBeNull();
});

test('what an event means for its downlink', () => {
  const event = (told: object) => told as LoraEvent;
  const [confirmed, not] = [
    { command: 'c', confirmed: true },
    { command: 'c', confirmed: false },
  ];
  expect(outcomeOf(event({ type: 'txack' }), confirmed)?.state).toBe('acknowledged');
  expect(outcomeOf(event({ type: 'txack' }), not)?.state).toBe('done');
  expect(outcomeOf(event({ type: 'ack', acknowledged: true }), confirmed)?.state).toBe('done');
  expect(outcomeOf(event({ type: 'ack', acknowledged: false }), confirmed)?.state).toBe('failed');
  const log = { type: 'log', code: 'EXPIRED', description: 'too late' };
  expect(outcomeOf(event({ ...log, level: 'ERROR' }), not)).toEqual({ state: 'failed', detail: 'EXPIRED: too late' });
  expect(outcomeOf(event({ ...log, level: 'INFO' }), not)).toBeNull();
});
