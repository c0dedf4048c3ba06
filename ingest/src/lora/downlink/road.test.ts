import {
  type Committed,
  createLogger,
  EnvelopeEncoder,
  type EnvelopeReader,
  type Log,
  type PartitionLease,
  Protocol,
  writeUuidV7,
} from '@millrace/core';
import { describe, expect, test } from 'vitest';
import { MemoryLog } from '../../testing/memory-log.ts';
import { loraOff } from '../server.ts';
import { until } from '../testing/open-lora.ts';
import type { DownlinkMessages } from './messages.ts';
import { DownlinkRoad } from './road.ts';

const MINUTE_US = 60_000_000;

/** A log of one partition whose group commits in memory, and outlives the road. */
class GroupLog extends MemoryLog {
  place: Committed = { offset: -1, metadata: '' };
  commits: number[] = [];

  constructor() {
    super(1);
  }

  async committed(): Promise<Committed> {
    return this.place;
  }

  async consume(_group: string, onLease: (lease: PartitionLease) => Promise<void>) {
    const abort = new AbortController();
    const begin = async (): Promise<void> => {
      const { earliest } = await this.extent(0);
      const { place } = this;
      await onLease({
        partition: 0,
        committed: place.offset < 0 ? { offset: earliest, metadata: '' } : place,
        signal: abort.signal,
        read: async (from, { bytesMax }) => {
          const batch = await this.peek(0, from, { bytesMax });
          if (batch === null) await new Promise((resolve) => setTimeout(resolve, 5));
          return batch;
        },
        commit: async (offset, metadata) => {
          this.place = { offset, metadata };
          this.commits.push(offset);
        },
      });
    };
    const running = begin();
    return {
      stop: async () => {
        abort.abort();
        await running;
      },
    };
  }

  /** Appends a message of so long ago. */
  say(subtopic: string, agoUs = 0): void {
    const id = new Uint8Array(16);
    writeUuidV7(id, 0, Date.now());
    const text = { org: 'org', channel: 'channel', publisher: 'somebody', contentType: '' };
    const receivedUs = Date.now() * 1_000 - agoUs;
    const fields = { ...text, id, subtopic, protocol: Protocol.http, receivedUs, payload: Uint8Array.of(1) };
    this.append(0, 'channel', new EnvelopeEncoder().encode(fields), { appended: () => {}, refused: () => {} });
    this.commit();
  }
}

function roadOver(log: GroupLog) {
  const seen: string[] = [];
  const messages = {
    async take({ subtopic }: EnvelopeReader) {
      seen.push(subtopic);
      return true;
    },
  } as unknown as DownlinkMessages;
  const logger = createLogger({ level: 'silent' });
  const road = new DownlinkRoad({ log: log as unknown as Log, messages, logger });
  return { road, seen };
}

describe('the road of downlinks', () => {
  test('begins with the first network server, a minute before it', async () => {
    const log = new GroupLog();
    for (let minute = 90; minute > 1; minute--) log.say(`old-${minute}`, minute * MINUTE_US);
    log.say('just now', MINUTE_US / 2);
    const { road, seen } = roadOver(log);
    expect(log.place.offset, 'nothing is begun yet').toBe(-1);
    road.want(true);
    await until('the last message is seen', () => seen.length > 0);
    log.say('after');
    await until('the next one too', () => seen.length === 2);
    expect(seen).toEqual(['just now', 'after']);
    await road.stop();
  });

  test('does not hold the log back while there is no network server any more', async () => {
    const log = new GroupLog();
    const first = roadOver(log);
    first.road.want(true);
    await until('it has begun', () => log.place.offset === 0);
    await first.road.stop();
    for (let index = 0; index < 10; index++) log.say('something');
    const { road, seen } = roadOver(log);
    road.want(false);
    await until('its place has moved on', () => log.place.offset === 10);
    expect(seen).toEqual([]);
    road.want(true);
    log.say('something new');
    await until('it is seen', () => seen.length === 1);
    await road.stop();
  });

  test('does not hold the log back where LoRaWAN has been turned off', async () => {
    const log = new GroupLog();
    const first = roadOver(log);
    first.road.want(true);
    await until('it has begun', () => log.place.offset === 0);
    await first.road.stop();
    for (let index = 0; index < 10; index++) log.say('something');
    const off = await loraOff({ log: log as unknown as Log, logger: createLogger({ level: 'silent' }) }).start();
    await until('its place has moved on', () => log.place.offset === 10);
    await off.stop();
  });

  test('begins nothing where LoRaWAN was never on', async () => {
    const log = new GroupLog();
    log.say('something');
    const off = await loraOff({ log: log as unknown as Log, logger: createLogger({ level: 'silent' }) }).start();
    await new Promise((resolve) => setTimeout(resolve, 50));
    await off.stop();
    expect(log.place.offset).toBe(-1);
  });

  test('passes nothing over while it is not known whether there is one', async () => {
    const log = new GroupLog();
    const first = roadOver(log);
    first.road.want(true);
    await until('it has begun', () => log.place.offset === 0);
    await first.road.stop();
    log.say('published while the node was away');
    const { road, seen } = roadOver(log);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(log.place.offset).toBe(0);
    road.want(true);
    await until('it is seen', () => seen.length === 1);
    await until('its place is written down', () => log.place.offset === 1);
    await road.stop();
  });

  test('takes a message again that could not be taken', async () => {
    const log = new GroupLog();
    const { road, seen } = roadOver(log);
    let fails = 2;
    const push = seen.push.bind(seen);
    seen.push = (...subtopics) => {
      if (fails-- > 0) throw new Error('the registry is away');
      return push(...subtopics);
    };
    road.want(true);
    log.say('down/1');
    await until('it is taken', () => seen.length === 1);
    await road.stop();
    expect([...seen]).toEqual(['down/1']);
  });
});
