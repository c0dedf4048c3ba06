import { readdirSync, readFileSync } from 'node:fs';
import { LORA_KINDS } from '@millrace/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CHIRPSTACK_V3_EVENTS } from './chirpstack-v3-messages.ts';
import { CHIRPSTACK_V4_EVENTS } from './chirpstack-v4-messages.ts';
import type { LoraEvent } from './lora-event.ts';
import { chirpStackKind, eventTopic, readEvent } from './read-event.ts';

const FOLDER = new URL('../../../../test/lora/', import.meta.url);
const file = (name: string): Buffer => readFileSync(new URL(`${name}.json`, FOLDER));
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const members = (name: string) => JSON.parse(file(name).toString()) as Record<string, unknown>;

function event(
  kind: (typeof LORA_KINDS)[number],
  name: string,
  bytes: Uint8Array,
  format: 'json' | 'protobuf' = 'json',
) {
  const read = readEvent(kind, format, name, bytes);
  if (read.kind === 'bad') throw new Error(read.detail);
  return read.event;
}
const v4 = (name: string, bytes = file(`chirpstack-v4/${name}`)): LoraEvent => event('chirpstack-v4', name, bytes);
const v3 = (name: string, from = name): LoraEvent => event('chirpstack-v3', name, file(`chirpstack-v3/${from}`));
const tts = (name: string): LoraEvent => event('tts-v3', '', file(`tts-v3/${name}`));
const detailOf = (kind: (typeof LORA_KINDS)[number], name: string, bytes: Uint8Array): string => {
  const read = readEvent(kind, 'json', name, bytes);
  return read.kind === 'bad' ? read.detail : 'it is an event';
};

describe('an uplink of ChirpStack v4', () => {
  test('is read as its documentation shows it, with the gateway that heard it best', () => {
    expect(v4('up')).toEqual({
      type: 'up',
      devEui: '0101010101010101',
      deviceName: 'Test device',
      deviceId: '',
      applicationId: '17c82e96-be03-4f38-aef3-f83d48582d97',
      applicationName: 'Test application',
      tenant: '',
      deviceProfile: ['14855bf7-d10d-4aee-b618-ebfcb64dc7ad', 'Test device-profile'],
      timeUs: Date.parse('2026-07-18T09:34:15.775Z') * 1_000 + 23,
      deduplicationId: '3ac7e3c4-4401-4b8d-9386-a5c902f9202d',
      devAddr: '00189440',
      fPort: 1,
      fCnt: 0,
      confirmed: false,
      data: Buffer.from([0xaa]),
      object: { temperature: 21.5, battery: { voltage: 3.6 }, door: true },
      radio: {
        gateway: '0016c001f153a14c',
        gatewayCount: 2,
        rssi: -36,
        snr: 10.5,
        location: { latitude: 52.3740364, longitude: 4.9144401, altitude: 3.5, accuracyM: null, source: 'UNKNOWN' },
        frequencyHz: 867_100_000,
        spreadingFactor: 11,
        bandwidthHz: 125_000,
        codeRate: 'CR_4_5',
        dr: 1,
        adr: false,
      },
    });
  });

  test('has zeros where proto3 JSON leaves them out', () => {
    const { rxInfo, ...rest } = members('chirpstack-v4/up');
    const bare = { ...rest, dr: undefined, fPort: undefined, data: undefined, object: undefined };
    const read = v4('up', json({ ...bare, rxInfo: [{ gatewayId: '0016c001f153a14c' }] }));
    expect(read).toMatchObject({ fPort: 0, fCnt: 0, object: null, radio: { rssi: 0, snr: 0, dr: 0, adr: false } });
    expect(read.type === 'up' && read.data).toEqual(new Uint8Array(0));
    expect(rxInfo).toHaveLength(2);
  });

  test('says which member is wrong, and does not mind those that it does not know', () => {
    const up = members('chirpstack-v4/up');
    const wrong = (more: object) => detailOf('chirpstack-v4', 'up', json({ ...up, ...more }));
    expect(wrong({ somethingNew: { of: 'ChirpStack 5' } })).toBe('it is an event');
    expect(wrong({ fCnt: 'many' })).toBe('fCnt is not a number.');
    expect(wrong({ fPort: 256 })).toBe('fPort is not a whole number up to 255.');
    expect(wrong({ rxInfo: [{ rssi: {} }] })).toBe('rxInfo[0].rssi is not a number.');
    expect(wrong({ data: 'not base64!' })).toBe('data is not Base64.');
    expect(wrong({ time: 'yesterday' })).toBe('time is not a time as RFC 3339 writes it.');
    expect(wrong({ deviceInfo: undefined })).toBe('The event has no deviceInfo.');
    expect(wrong({ deviceInfo: { devEui: '0101' } })).toBe('deviceInfo.devEui is not 8 bytes as hex or Base64.');
    expect(detailOf('chirpstack-v4', 'up', json([]))).toBe('The event is no JSON object.');
    expect(detailOf('chirpstack-v4', 'up', Buffer.from('{'))).toBe('The event is no JSON.');
    expect(detailOf('chirpstack-v4', 'constructor', json(up))).toBe('ChirpStack has no event of this name.');
  });
});

describe('the other events of ChirpStack v4', () => {
  test('are read as its documentation shows them', () => {
    const queueItemId = '019f7a10-5c8e-7abc-9def-0123456789ab';
    expect(v4('join')).toMatchObject({ type: 'join', devAddr: '00189440' });
    expect(v4('ack')).toMatchObject({ type: 'ack', acknowledged: true, fCntDown: 4, queueItemId });
    const sent = { type: 'txack', gateway: '0016c001f153a14c', frequencyHz: 867_100_000, queueItemId };
    expect(v4('txack')).toMatchObject(sent);
    expect(v4('log')).toMatchObject({ type: 'log', level: 'ERROR', code: 'DOWNLINK_PAYLOAD_SIZE', queueItemId });
    expect(v4('status')).toMatchObject({ type: 'status', marginDb: 5, batteryPercent: 48, externalPower: false });
    expect(v4('location')).toMatchObject({ location: { latitude: 52.3740364, accuracyM: 20 } });
    expect(v4('integration')).toMatchObject({ name: 'loracloud', eventType: 'DAS_UplinkResponse' });
    expect(v4('status', json({ ...members('chirpstack-v4/status'), batteryLevelUnavailable: true }))).toMatchObject({
      batteryPercent: null,
    });
  });

  test('without an id of its own, one that is told again has the same, and another one another', () => {
    const again = [v4('log'), v4('log')].map(({ deduplicationId }) => deduplicationId);
    expect(again[0]).toBe(again[1]);
    const tried = v4('txack', json({ ...members('chirpstack-v4/txack'), time: '2026-07-18T09:45:08Z' }));
    expect(tried.deduplicationId, 'a downlink that is sent once more').not.toBe(v4('txack').deduplicationId);
    const later = v4('log', json({ ...members('chirpstack-v4/log'), time: '2026-07-18T09:41:09Z' }));
    expect(later.deduplicationId).not.toBe(again[0]);
  });
});

describe('events of ChirpStack v3', () => {
  test('are read in the JSON of protobuf, whose identifiers are Base64', () => {
    expect(v3('up')).toMatchObject({
      type: 'up',
      devEui: '0202020202020202',
      applicationId: '123',
      deviceProfile: ['f293e453-6d9c-4f2b-9c8a-1f2e3d4c5b6a', 'LDDS'],
      timeUs: Date.parse('2026-11-08T13:59:25.148Z') * 1_000 + 445,
      deduplicationId: '8e1321f06aba44038285229b8bcdd11d',
      fPort: 5,
      fCnt: 10,
      confirmed: true,
      object: { temperatureSensor: 25, humiditySensor: 32 },
      radio: { gateway: '0303030303030303', rssi: -48, snr: 9, bandwidthHz: 125_000, spreadingFactor: 11, adr: true },
    });
  });

  test('are read in the older JSON, whose identifiers are hex', () => {
    expect(v3('up', 'up-older')).toMatchObject({
      devEui: '0202020202020202',
      object: { temperatureSensor: { 1: 25 }, humiditySensor: { 1: 32 } },
      radio: { gateway: '0303030303030303', snr: 10, dr: 5 },
    });
  });

  test('have names of their own for what went wrong', () => {
    const failed = {
      type: 'log',
      level: 'ERROR',
      code: 'UPLINK_CODEC',
      description: 'codec: the code ran into an error',
    };
    expect(v3('error')).toMatchObject(failed);
    expect(v3('status')).toMatchObject({ batteryPercent: 75.5, marginDb: 6 });
    expect(v3('ack')).toMatchObject({ type: 'ack', acknowledged: true, fCntDown: 15, queueItemId: '' });
    expect(v3('txack')).toMatchObject({ type: 'txack', gateway: '0303030303030303' });
    expect(v3('join')).toMatchObject({ type: 'join', devAddr: '00513942' });
  });
});

describe('events of The Things Stack', () => {
  test('say by their members what they are', () => {
    expect(tts('up')).toMatchObject({
      type: 'up',
      devEui: '0004a30b001c0530',
      deviceId: 'dev1',
      applicationId: 'app1',
      tenant: 'tenant1',
      deviceProfile: ['the-things-products/the-things-uno', 'the-things-uno'],
      timeUs: Date.parse('2026-02-12T15:15:45.500Z') * 1_000,
      deduplicationId: 'as:up:01E0WZGT6Y7657CPFPE5WEYDSQ/11',
      fPort: 15,
      object: { temperature: 1 },
      radio: { gateway: '9c5c8e00001a05c4', rssi: -35, snr: 5.2, frequencyHz: 868_300_000, codeRate: '4/6', adr: null },
    });
    expect(tts('join')).toMatchObject({ type: 'join', devAddr: '00bcb929' });
    expect(tts('location-solved')).toMatchObject({ type: 'location', location: { latitude: 37.97, accuracyM: 15 } });
    expect(tts('service-data')).toMatchObject({ type: 'integration', name: 'dust', object: { pm10: 12 } });
  });

  test('tell of downlinks by the correlation id that we gave them', () => {
    const queueItemId = '019f7a10-5c8e-7abc-9def-0123456789ab';
    expect(tts('downlink-sent')).toMatchObject({ type: 'txack', queueItemId });
    expect(tts('downlink-ack')).toMatchObject({ type: 'ack', acknowledged: true, queueItemId });
    expect(tts('downlink-nack')).toMatchObject({ type: 'ack', acknowledged: false, queueItemId });
    expect(tts('downlink-failed')).toMatchObject({ type: 'log', level: 'ERROR', code: 'DOWNLINK_FAILED', queueItemId });
    expect(tts('downlink-queued')).toMatchObject({ type: 'log', level: 'INFO', queueItemId });
  });

  test('without a DevEUI are no events of a device', () => {
    const up = members('tts-v3/up');
    const end_device_ids = { ...(up.end_device_ids as object), dev_eui: undefined };
    expect(detailOf('tts-v3', '', json({ ...up, end_device_ids }))).toContain('no dev_eui');
    expect(detailOf('tts-v3', '', json({ ...up, uplink_message: undefined }))).toContain('none that is known');
  });
});

test('a topic says event and application; what we send ourselves is none', () => {
  const told = eventTopic('chirpstack-v4', 'application/17c8/device/0101010101010101/event/up');
  expect(told).toEqual({ event: 'up', applicationId: '17c8', tenant: '' });
  expect(eventTopic('chirpstack-v4', 'eu868/application/1/device/0101010101010101/event/up')?.applicationId).toBe('1');
  expect(eventTopic('chirpstack-v4', 'application/17c8/device/0101010101010101/command/down')).toBeNull();
  expect(eventTopic('tts-v3', 'v3/app1@tenant1/devices/dev1/up')).toMatchObject({
    applicationId: 'app1',
    tenant: 'tenant1',
  });
  expect(eventTopic('tts-v3', 'v3/app1@tenant1/devices/dev1/down/push')).toBeNull();
  expect(eventTopic('tts-v3', 'v3/app1@tenant1/devices/dev1/down/ack')).not.toBeNull();
});

test('the two ChirpStacks are told apart by what they send, in either form', () => {
  expect(chirpStackKind('json', file('chirpstack-v4/up'))).toBe('chirpstack-v4');
  expect(chirpStackKind('json', file('chirpstack-v3/up'))).toBe('chirpstack-v3');
  const devEUI = Buffer.from('0202020202020202', 'hex');
  for (const [name, type] of Object.entries(CHIRPSTACK_V3_EVENTS)) {
    const bytes = type.toBinary(type.create({ applicationID: '7', devEUI }));
    expect(chirpStackKind('protobuf', bytes), name).toBe('chirpstack-v3');
    const read = readEvent('chirpstack-v3', 'protobuf', name, bytes);
    if (name !== 'location')
      expect(read, name).toMatchObject({ event: { devEui: '0202020202020202', applicationId: '7' } });
  }
  for (const [name, type] of Object.entries(CHIRPSTACK_V4_EVENTS)) {
    const device = { devEui: '0101010101010101', applicationId: '17c8' };
    const full = type.create({
      deviceInfo: device,
      downlinkId: 7,
      queueItemId: '019f7a10-5c8e-7abc-9def-0123456789ab',
      devAddr: '00189440',
    });
    expect(chirpStackKind('protobuf', type.toBinary(full)), name).toBe('chirpstack-v4');
  }
});

test('a time that is none, as an object in JSON may be, is told and no fault later', () => {
  for (const seconds of [0.000_000_5, 1e300, -1e300]) {
    const bytes = json({ ...members('chirpstack-v4/up'), time: { seconds, nanos: 1 } });
    expect(detailOf('chirpstack-v4', 'up', bytes)).toBe('time is not a time.');
  }
  expect(v4('up', json({ ...members('chirpstack-v4/up'), time: { seconds: 1_700_000_000 } })).timeUs).toBe(1.7e15);
});

test('whatever bytes come, there is an event or a sentence', () => {
  const names = [...Object.keys(CHIRPSTACK_V4_EVENTS), ...Object.keys(CHIRPSTACK_V3_EVENTS), '', '__proto__'];
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc.json().map((text) => Buffer.from(text)),
    fc.constantFrom(...files()).chain((bytes) => mutated(bytes)),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...LORA_KINDS),
      fc.constantFrom('json' as const, 'protobuf' as const),
      fc.constantFrom(...names),
      anything,
      (kind, format, name, bytes) => {
        const read = readEvent(kind, format, name, bytes);
        if (read.kind === 'bad') expect(read.detail).toMatch(/\.$/);
        else expect(read.event.devEui).toMatch(/^[0-9a-f]{16}$/);
      },
    ),
    { numRuns: 3_000 },
  );
  const nested = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
  const deep = JSON.stringify({ ...members('chirpstack-v4/up'), object: 'here' }).replace('"here"', nested);
  expect(detailOf('chirpstack-v4', 'up', Buffer.from(deep))).toBe('object is nested too deeply.');
  const text = JSON.stringify({ ...members('chirpstack-v3/up'), objectJSON: nested });
  expect(detailOf('chirpstack-v3', 'up', Buffer.from(text))).toBe('objectJSON is nested too deeply.');
});

const files = (): Buffer[] =>
  ['chirpstack-v4', 'chirpstack-v3', 'tts-v3'].flatMap((folder) =>
    readdirSync(new URL(`${folder}/`, FOLDER)).map((name) => readFileSync(new URL(`${folder}/${name}`, FOLDER))),
  );

/** A file with some of its bytes changed. */
function mutated(bytes: Buffer): fc.Arbitrary<Buffer> {
  const change = fc.tuple(fc.nat(bytes.length - 1), fc.nat(255));
  return fc.array(change, { maxLength: 4 }).map((changes) => {
    const copy = Buffer.from(bytes);
    for (const [at, byte] of changes) copy[at] = byte;
    return copy;
  });
}
