import { describe, expect, test } from 'vitest';
import { ORG } from '../testing/gate.ts';
import { DeviceOrder } from './device-order.ts';
import { SentDownlinks } from './downlink/sent-downlinks.ts';
import type { LoraEvent } from './events/lora-event.ts';
import { eventKey } from './intake.ts';
import { KnownDevices } from './known-devices.ts';
import { RecentEvents } from './recent-events.ts';
import { MemoryDirectory } from './testing/memory-directory.ts';

describe('recent events', () => {
  test('are known for as long as was said, and not for ever', () => {
    let now = 0;
    const recent = new RecentEvents<number>(100, 1_000, () => now);
    recent.add('a', 1);
    now = 999;
    expect(recent.get('a')).toBe(1);
    now = 1_999;
    expect(recent.get('a')).toBe(1);
    now = 3_000;
    expect(recent.get('a')).toBeUndefined();
    recent.add('b', 2);
    now = 10_000;
    expect(recent.get('b'), 'after a long silence').toBeUndefined();
  });

  test('are no more than was said', () => {
    const recent = new RecentEvents<number>(100, 1_000_000);
    for (let index = 0; index < 1_000; index++) recent.add(String(index), index);
    expect(recent.size).toBeLessThanOrEqual(100);
    expect(recent.get('999')).toBe(999);
    expect(recent.get('0')).toBeUndefined();
  });
});

test('an event is told apart from those of other devices and applications that bear its id', () => {
  const event = { applicationId: '7', devEui: '0101010101010101', deduplicationId: 'x', type: 'up' } as const;
  const all = [
    event,
    { ...event, devEui: '0202020202020202' },
    { ...event, applicationId: '8' },
    { ...event, deduplicationId: 'y' },
    { ...event, type: 'ack' as const },
    { ...event, applicationId: '7","0202020202020202' },
  ].map((each) => eventKey(ORG, each));
  expect(new Set([...all, eventKey('another organisation', event)]).size).toBe(all.length + 1);
  expect(eventKey(ORG, { ...event })).toBe(all[0]);
});

describe('the order of a device', () => {
  test('holds also after a failure, while another device does not wait', async () => {
    const order = new DeviceOrder();
    const done: string[] = [];
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = order.run('a', async () => {
      await gate;
      done.push('a1');
      throw new Error('fails');
    });
    const second = order.run('a', async () => done.push('a2'));
    await order.run('b', async () => done.push('b1'));
    expect(done).toEqual(['b1']);
    release();
    await expect(first).rejects.toThrow('fails');
    await second;
    expect(done).toEqual(['b1', 'a1', 'a2']);
    await new Promise((resolve) => setImmediate(resolve));
    expect(order.size).toBe(0);
  });
});

describe('who is known', () => {
  test('is asked for once, and again after a change', async () => {
    const directory = new MemoryDirectory();
    const known = new KnownDevices(directory, 100);
    expect(await known.device(ORG, '0101010101010101')).toBeNull();
    expect(await known.device(ORG, '0101010101010101')).toBeNull();
    expect(directory.asked).toBe(1);
    const id = directory.addThing('0101010101010101');
    expect((await known.device(ORG, '0101010101010101'))?.id).toBe(id);
    directory.changed('devices', 'another organisation');
    await known.device(ORG, '0101010101010101');
    expect(directory.asked).toBe(2);
    known.stop();
  });

  test('who is unknown is asked for again after a while, and a failure is not kept', async () => {
    let now = 0;
    const directory = new MemoryDirectory();
    const known = new KnownDevices(directory, 100, () => now);
    directory.failure = new Error('away');
    await expect(known.device(ORG, '01')).rejects.toThrow('away');
    directory.failure = null;
    expect(await known.device(ORG, '01')).toBeNull();
    now = 6_000;
    await known.device(ORG, '01');
    expect(directory.asked).toBe(3);
    known.stop();
  });

  test('an answer from before a change is not kept', async () => {
    const directory = new MemoryDirectory();
    const known = new KnownDevices(directory, 100);
    const asked = known.device(ORG, '02');
    directory.addThing('02');
    await asked;
    expect(await known.device(ORG, '02')).not.toBeNull();
    known.stop();
  });

  test('are no more than was said', async () => {
    const directory = new MemoryDirectory();
    const known = new KnownDevices(directory, 100);
    for (let index = 0; index < 500; index++) await known.device(ORG, String(index));
    const { asked } = directory;
    for (let index = 400; index < 500; index++) await known.device(ORG, String(index));
    expect(directory.asked - asked).toBeLessThanOrEqual(10);
    await known.device(ORG, '0');
    expect(directory.asked).toBeGreaterThan(asked);
    known.stop();
  });
});

describe('downlinks that were sent', () => {
  const about = (type: 'ack' | 'txack', queueItemId: string): LoraEvent =>
    ({ type, queueItemId, devEui: 'eui' }) as unknown as LoraEvent;

  test('are known by the id that the server gave them', () => {
    const sent = new SentDownlinks();
    sent.enqueuedAs('org', 'theirs', { command: 'ours', confirmed: true });
    expect(sent.about('org', about('ack', 'theirs'))).toEqual({ command: 'ours', confirmed: true });
    expect(sent.about('org', about('ack', 'another'))).toBeNull();
    sent.enqueuedAs('a hostile server of another organisation', 'theirs', { command: 'not ours', confirmed: false });
    expect(sent.about('org', about('ack', 'theirs'))).toEqual({ command: 'ours', confirmed: true });
  });

  test('are taken in order where the server says no id', () => {
    const sent = new SentDownlinks();
    for (const [command, confirmed] of [
      ['1', false],
      ['2', true],
      ['3', false],
    ] as const) {
      sent.enqueuedFor('org', 'eui', { command, confirmed });
    }
    const told = (type: 'ack' | 'txack') => sent.about('org', about(type, ''))?.command;
    expect([told('txack'), told('txack'), told('ack'), told('txack'), told('ack')]).toEqual([
      '1',
      '2',
      '2',
      '3',
      undefined,
    ]);
    expect(sent.about('another', about('txack', ''))).toBeNull();
  });
});
