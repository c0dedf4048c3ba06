import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { LoraEvent } from './events/lora-event.ts';
import { readEvent } from './events/read-event.ts';
import { blobOf, messagesOf, senmlPack } from './messages.ts';

const FOLDER = new URL('../../../test/lora/', import.meta.url);
const file = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8'));

function event(name: string, more: object = {}): LoraEvent {
  const bytes = Buffer.from(JSON.stringify({ ...file(`chirpstack-v4/${name}`), ...more }));
  const read = readEvent('chirpstack-v4', 'json', name, bytes);
  if (read.kind === 'bad') throw new Error(read.detail);
  return read.event;
}
const shown = (told: LoraEvent, decoded: Parameters<typeof messagesOf>[1] = null, id = '') =>
  messagesOf(told, decoded, id).map(({ subtopic, contentType, payload }) => ({
    subtopic,
    contentType,
    payload: contentType.includes('json') ? JSON.parse(Buffer.from(payload).toString()) : [...payload],
  }));

describe('an uplink', () => {
  test('is what the network server decoded, as JSON', () => {
    const [content] = shown(event('up'));
    const payload = { temperature: 21.5, battery: { voltage: 3.6 }, door: true };
    expect(content).toEqual({ subtopic: 'up/1', contentType: 'application/json', payload });
  });

  test('is what our codec made of it, where there is one', () => {
    expect(shown(event('up'), { object: { level: 7 } })[0]).toMatchObject({ payload: { level: 7 } });
  });

  test('is SenML where that was decoded', () => {
    const pack = [{ n: 'temperature', u: 'Cel', v: 21.5 }];
    const [content] = shown(event('up', { object: { senml: pack } }));
    expect(content).toEqual({ subtopic: 'up/1', contentType: 'application/senml+json', payload: pack });
    expect(shown(event('up'), { object: pack })[0]).toMatchObject({ contentType: 'application/senml+json' });
  });

  test('is its bytes where nobody decoded them, and where that failed', () => {
    const bytes = { subtopic: 'up/1', contentType: 'application/octet-stream', payload: [0xaa] };
    expect(shown(event('up', { object: null }))[0]).toEqual(bytes);
    const up = event('up');
    expect(up.type === 'up' && [...blobOf(up).payload]).toEqual([0xaa]);
  });

  test('without payload is only how it was heard', () => {
    expect(shown(event('up', { data: '', object: null })).map(({ subtopic }) => subtopic)).toEqual(['radio']);
  });

  test('was heard with zeros that are values, and without what nobody said', () => {
    const radio = shown(event('up', { dr: undefined, rxInfo: [{ gatewayId: 'one' }], txInfo: undefined })).at(-1);
    expect(radio).toEqual({
      subtopic: 'radio',
      contentType: 'application/senml+json',
      payload: [
        { bver: 26, n: 'rssi', u: 'dBm', v: 0 },
        { n: 'snr', u: 'dB', v: 0 },
        { n: 'gateway', vs: 'one' },
        { n: 'gateway_count', v: 1 },
        { n: 'f_cnt', v: 0 },
        { n: 'dr', v: 0 },
        { n: 'adr', vb: false },
        { n: 'confirmed', vb: false },
      ],
    });
    const silent = shown(event('up', { rxInfo: [] })).at(-1)?.payload as { n: string }[];
    expect(silent.map(({ n }) => n)).not.toContain('rssi');
  });
});

test('what is about a downlink of ours says which message that was', () => {
  const [told] = shown(event('ack'), null, 'the-message');
  expect(told).toMatchObject({ subtopic: 'event/ack', payload: { acknowledged: true, message_id: 'the-message' } });
  expect(shown(event('txack'))[0]?.payload).not.toHaveProperty('message_id');
});

test('SenML is told from JSON that only looks a little like it', () => {
  expect(
    senmlPack([
      { n: 'a', v: 1 },
      { bn: 'b', vs: 'x', t: 0 },
    ]),
  ).not.toBeNull();
  for (const none of [
    [],
    [1],
    [{ v: 1, colour: 'red' }],
    [{ u: 'm' }],
    { senml: [], more: 1 },
    { v: 1 },
    'text',
    null,
  ]) {
    expect(senmlPack(none), JSON.stringify(none)).toBeNull();
  }
});
