// What routing costs: `node ingest/dist/delivery/delivery.bench.js` after a build.
import {
  type Admission,
  createLogger,
  createMetrics,
  type DeliveredMessage,
  type Gate,
  type Log,
  type Principal,
  Protocol,
  type Subscriber,
} from '@millrace/core';
import { MemoryLog } from '../testing/memory-log.ts';
import { createDelivery } from './delivery.ts';
import { recordMaker } from './testing/stage.ts';

const MESSAGES = 200_000;
const CHANNELS = 1_000;
const ROUNDS = 3;

const principal: Principal = {
  subject: {
    kind: 'thing',
    id: 'reader',
    org: '01890000-0000-7000-8000-00000000000a',
    type: 'device',
    enabled: true,
    metadata: {},
    epoch: 0,
  },
  scope: null,
  revoked: false,
};
const admissions = new Map<string, Admission>();
/** As cheap as a warm answer of the real gate, which has a bench of its own. */
const gate = {
  may(_principal: Principal, _action: string, channel: string): Admission {
    let admission = admissions.get(channel);
    if (admission === undefined) {
      const { subject } = principal;
      const record = {
        id: channel,
        org: 'org',
        enabled: true,
        alias: null,
        contentType: null,
        groups: [],
        profile: {},
        limits: {},
      };
      admission = { kind: 'allow', channel: record, subject, action: 'subscribe', version: 1, valid: true };
      admissions.set(channel, admission);
    }
    return admission;
  },
} as unknown as Gate;

class Sink implements Subscriber {
  readonly principal = principal;
  readonly context = {
    protocol: Protocol.mqtt,
    remoteAddress: '192.0.2.1',
    tls: false,
    mutualTls: false,
    nowMs: Date.now(),
  };
  static count = 0;
  static bytes = 0;
  offer(message: DeliveredMessage): boolean {
    Sink.count++;
    Sink.bytes += message.payload.length;
    return true;
  }
  gap(): void {}
  ended(): void {}
}

interface Case {
  readonly name: string;
  readonly messages: number;
  readonly channels: number;
  /** Channels of the subscriptions. */
  readonly wanted: readonly (string | null)[];
  readonly offers: number;
  readonly returning?: boolean;
}
const channelName = (index: number): string => `01890000-0000-7000-8000-${String(index).padStart(12, '0')}`;
const names = Array.from({ length: 10_000 }, (_, index) => channelName(index));

const cases: readonly Case[] = [
  {
    name: 'nobody wants it',
    messages: MESSAGES,
    channels: CHANNELS,
    wanted: names.slice(5_000, 6_000),
    offers: 0,
  },
  { name: 'one wants it', messages: MESSAGES, channels: CHANNELS, wanted: names.slice(0, CHANNELS), offers: MESSAGES },
  { name: 'one wants everything', messages: MESSAGES, channels: CHANNELS, wanted: [null], offers: MESSAGES },
  {
    name: '1,000 want it',
    messages: MESSAGES / 200,
    channels: 1,
    wanted: Array.from({ length: 1_000 }, () => names[0] as string),
    offers: (MESSAGES / 200) * 1_000,
  },
  {
    name: 'one catches up, nobody else',
    messages: MESSAGES,
    channels: CHANNELS,
    wanted: [null],
    offers: MESSAGES,
    returning: true,
  },
  {
    name: '1,000 catch up, one channel each',
    messages: MESSAGES,
    channels: CHANNELS,
    wanted: names.slice(0, CHANNELS),
    offers: MESSAGES,
    returning: true,
  },
];

async function run(one: Case): Promise<number> {
  const log = new MemoryLog(1);
  const delivery = createDelivery({
    log: log as unknown as Log,
    gate,
    metrics: createMetrics(),
    logger: createLogger({ level: 'silent' }),
    verify: false,
  });
  const subscribeAll = async (from: 'tail' | { partition: number; offset: number }[]): Promise<void> => {
    await Promise.all(
      one.wanted.map((channel) => delivery.attach(new Sink()).subscribe({ channel, subtopic: '#' }, null, from)),
    );
  };
  const encode = recordMaker();
  const payload = 'x'.repeat(250);
  const receipt = { appended() {}, refused() {} };
  if (!one.returning) await subscribeAll('tail');
  log.stalled = true;
  for (let index = 0; index < one.messages; index++) {
    log.append(0, '', encode(names[index % one.channels] as string, 'room/1', payload), receipt);
  }
  Sink.count = 0;
  const cpu = process.cpuUsage();
  log.commit();
  if (one.returning) await subscribeAll([{ partition: 0, offset: 0 }]);
  await delivery.drain(60_000);
  while (Sink.count < one.offers) await new Promise((resolve) => setTimeout(resolve, 1));
  const { user, system } = process.cpuUsage(cpu);
  await delivery.stop();
  return (user + system) / one.messages;
}

for (const one of cases) {
  const costs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) costs.push(await run(one));
  const cost = costs.sort((a, b) => a - b)[ROUNDS >> 1] ?? 0;
  const each = one.offers > one.messages ? `  ${((cost * one.messages) / one.offers).toFixed(3)} µs an offer` : '';
  process.stdout.write(`${one.name.padEnd(36)} ${cost.toFixed(2).padStart(8)} µs CPU a message${each}\n`);
}
