import {
  type ChannelProfile,
  createLogger,
  createMetrics,
  DEAD_LETTER_HEADER,
  type Directory,
  type DirectoryChange,
  LogError,
  MillraceError,
  type Started,
  StoreError,
  siblingUrl,
} from '@millrace/core';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { ProcessorsConfig } from '../config.ts';
import { envelopeOf, RECEIVED_US, SECRET } from '../testing/envelopes.ts';
import { MemoryLog } from '../testing/memory-log.ts';
import { MemoryStore } from '../testing/memory-store.ts';
import { type ProcessorsStatus, processors } from './runner.ts';

const enforcerUrl = siblingUrl(import.meta.url, '../testing/plain-enforcer');
const rogueUrl = siblingUrl(import.meta.url, '../testing/rogue-worker');

const directory: Directory = {
  version: 1,
  thingByKey: async () => null,
  bearer: async () => null,
  thingByCertificate: async () => null,
  redeemTicket: async () => null,
  subject: async (id) => ({
    kind: 'thing',
    id,
    org: id === 'stranger' ? 'other' : 'org',
    type: 'device',
    enabled: true,
    metadata: {},
    epoch: 0,
  }),
  channel: async (id) =>
    id === 'nowhere'
      ? null
      : {
          id: id === 'alias' ? 'channel' : id,
          org: 'org',
          enabled: true,
          alias: null,
          contentType: null,
          groups: [],
          profile: {},
          limits: {},
        },
  rules: async (subject, org) =>
    subject === 'thing' ? [{ type: 'p', values: [subject, org, 'channels/channel', 'publish', 'allow', ''] }] : [],
  onChange: () => () => {},
};

let running: Started<ProcessorsStatus> | undefined;
afterEach(async () => {
  await running?.stop();
  running = undefined;
});

async function run(
  log: MemoryLog,
  store: MemoryStore,
  options: { workerUrl?: string; config?: object; directory?: Directory } = {},
) {
  const metrics = createMetrics();
  running = await processors({
    log,
    store,
    directory: options.directory ?? directory,
    enforcerUrl,
    secret: SECRET,
    metrics,
    logger: createLogger({ level: 'silent' }),
    config: ProcessorsConfig.parse({ MILLRACE_PROCESSOR_THREADS: 1, MILLRACE_BATCH_LINGER_MS: 5, ...options.config }),
    ...(options.workerUrl === undefined ? {} : { workerUrl: options.workerUrl }),
  }).start();
  return { ...running, metrics };
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 100_000;
  while (performance.now() < end) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error('it did not come to pass');
}
const settled = async (log: MemoryLog): Promise<boolean> => {
  const { offset, metadata } = await log.committed();
  return metadata === '' && offset === (await log.extent()).next;
};
const offsets = (store: MemoryStore) => store.tables.message_log.map((row) => row.log_offset);
const upTo = (count: number) => Array.from({ length: count }, (_, offset) => offset);

// On a busy machine a worker takes seconds to start, and some tests wear out several.
describe('processors', { timeout: 120_000 }, () => {
  test('stores each message once, in order, with a plan committed before each insert', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    log.push(...Array.from({ length: 500 }, () => envelopeOf()));
    const { value, metrics } = await run(log, store, { config: { MILLRACE_BATCH_BYTES_MAX: 65_536 } });
    await until(() => settled(log));
    expect(offsets(store)).toEqual(upTo(500));
    expect(store.tables.readings).toHaveLength(500);
    expect(store.writes.length).toBeGreaterThan(1);
    for (const write of store.writes) {
      const plan = `intent:${write.first}-${write.last}`;
      expect(log.commits.some(({ offset, metadata }) => offset === write.first && metadata === plan)).toBe(true);
    }
    expect(value.health()).toBeNull();
    expect(await metrics.registry.getSingleMetricAsString('millrace_processor_messages_total')).toContain(
      'reason=""} 500',
    );
  });

  test('redoes the range that a crash left open, with the very same ends', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    log.push(...Array.from({ length: 10 }, () => envelopeOf()));
    let crashed = false;
    log.beforeCommit = ({ metadata }) => {
      // The insert is done, its commit never comes.
      if (metadata === '' && !crashed) {
        crashed = true;
        throw new LogError('LOG_FENCED', 'never');
      }
    };
    const first = await run(log, store);
    await until(() => crashed);
    await first.stop();
    log.push(...Array.from({ length: 10 }, () => envelopeOf()));
    await run(log, store);
    await until(() => settled(log));
    expect(offsets(store)).toEqual(upTo(20));
    expect(store.writes[1]).toEqual({ first: 0, last: 9, verify: true });
  });

  test('redoes all of an open range also when the log gives nothing of it at first', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    log.push(...upTo(10).map(() => envelopeOf()));
    await log.commit({ offset: 0, metadata: 'intent:0-9' });
    log.silences = 3;
    await run(log, store);
    await until(() => settled(log));
    expect(offsets(store)).toEqual(upTo(10));
  });

  test('stores what comes with one key once: across batches, starts and a range that is redone', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    const keyed = (key: string) => envelopeOf({ dedupKey: key });
    const reasons = () => store.tables.message_log.map((row) => row.reason || row.stored);
    log.push(keyed('a'), envelopeOf());
    const first = await run(log, store);
    await until(() => settled(log));
    log.push(keyed('a'), keyed('b'));
    await until(() => settled(log));
    expect(reasons()).toEqual(['readings', 'readings', 'duplicate', 'readings']);
    await first.stop();

    log.push(envelopeOf(), keyed('b'), keyed('c'));
    let crashed = false;
    log.beforeCommit = ({ metadata }) => {
      if (metadata === '' && !crashed) {
        crashed = true;
        throw new LogError('LOG_FENCED', 'never');
      }
    };
    const second = await run(log, store);
    await until(() => crashed);
    await second.stop();
    log.push(keyed('c'), keyed('a'), keyed('d'));
    await run(log, store);
    await until(() => settled(log));
    expect(reasons().slice(4)).toEqual(['readings', 'duplicate', 'readings', 'duplicate', 'duplicate', 'readings']);
    expect(offsets(store)).toEqual(upTo(10));
  });

  test('tells what repeats from the log alone, also when the store has a batch split', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    const keys = Array.from({ length: 40 }, (_, offset) => `k${offset % 25}`);
    store.before = (batch) => {
      if (batch.first <= 30 && batch.last >= 30 && batch.tally.dead.store_refused === undefined)
        throw new StoreError('STORE_REFUSED', 'never');
    };
    log.push(...keys.map((dedupKey) => envelopeOf({ dedupKey })));
    await run(log, store);
    await until(() => settled(log));
    log.push(envelopeOf({ dedupKey: 'k5' }), envelopeOf({ dedupKey: 'k39' }));
    await until(() => settled(log));
    const rows = store.tables.message_log.toSorted((a, b) => Number(a.log_offset) - Number(b.log_offset));
    expect(rows.map((row) => row.reason || row.stored)).toEqual([
      ...Array(25).fill('readings'),
      ...Array(5).fill('duplicate'),
      'store_refused',
      ...Array(9).fill('duplicate'),
      'duplicate',
      'readings',
    ]);
  });

  test('waits for a store that does not answer, says so, and repeats a write whose answer was lost', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    let failures = 3;
    store.before = () => {
      if (failures-- > 0) throw new StoreError('STORE_UNREACHABLE', 'later');
    };
    let lost = false;
    store.after = () => {
      if (lost) return;
      lost = true;
      throw new StoreError('STORE_UNREACHABLE', 'later');
    };
    log.push(envelopeOf());
    const { value } = await run(log, store);
    await until(() => value.health()?.includes('STORE_UNREACHABLE') ?? false);
    await until(() => settled(log));
    expect(offsets(store)).toEqual([0]);
    expect(value.health()).toBeNull();
  });

  test('proves its lease again before an insert that had to wait for long, and inserts nothing without one', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    const now = performance.now.bind(performance);
    let sleptMs = 0;
    const clock = vi.spyOn(performance, 'now').mockImplementation(() => now() + sleptMs);
    try {
      store.before = () => {
        sleptMs += 15_000;
      };
      log.push(envelopeOf());
      const first = await run(log, store);
      await until(() => settled(log));
      const intents = log.commits.filter(({ metadata }) => metadata === 'intent:0-0');
      expect(intents.length).toBeGreaterThan(1);
      let fenced = 0;
      log.beforeCommit = ({ metadata }) => {
        if (metadata === '' || fenced > 0) throw new LogError('LOG_FENCED', 'never');
        if (log.commits.at(-1)?.metadata === metadata) {
          fenced++;
          throw new LogError('LOG_FENCED', 'never');
        }
      };
      log.push(envelopeOf());
      await until(() => fenced > 0);
      await first.stop();
      expect(offsets(store)).toEqual([0]);
    } finally {
      clock.mockRestore();
    }
  });

  test('isolates the message that the store refuses and stores the others', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    store.before = (batch) => {
      if (batch.first <= 13 && batch.last >= 13 && batch.tally.dead.store_refused === undefined)
        throw new StoreError('STORE_REFUSED', 'never');
    };
    log.push(...Array.from({ length: 30 }, () => envelopeOf()));
    await run(log, store);
    await until(() => settled(log));
    expect(offsets(store)).toEqual(upTo(30));
    expect(store.tables.dead_letters).toMatchObject([{ log_offset: 13, reason: 'store_refused' }]);
    expect(store.tables.readings).toHaveLength(29);
  });

  test('enforces what bears no admission, by the rules of the directory', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    log.push(
      envelopeOf(),
      envelopeOf({ sealed: false }),
      envelopeOf({ sealed: false, channel: 'alias' }),
      envelopeOf({ sealed: false, publisher: 'nobody' }),
      envelopeOf({ sealed: false, publisher: 'stranger' }),
      envelopeOf({ sealed: false, channel: 'nowhere' }),
    );
    await run(log, store);
    await until(() => settled(log));
    expect(store.tables.message_log.map((row) => row.decision)).toEqual([
      'admitted',
      'enforced',
      'enforced',
      'forbidden',
      'forbidden',
      'forbidden',
    ]);
    expect(store.tables.readings.map((row) => row.channel)).toEqual(['channel', 'channel', 'channel']);
  });

  test('buries what the ingress could not make a message of, also of a channel that there is not', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    const headers = [[DEAD_LETTER_HEADER, 'unknown_application 7']] as const;
    log.push(envelopeOf({ channel: 'nowhere', headers }), envelopeOf());
    const { metrics } = await run(log, store);
    await until(() => settled(log));
    expect(store.tables.dead_letters).toMatchObject([
      { org: 'org', channel: 'nowhere', reason: 'unknown_application', detail: '7' },
    ]);
    expect(store.tables.message_log).toMatchObject([{ reason: 'unknown_application' }, { stored: 'readings' }]);
    expect(await metrics.registry.getSingleMetricAsString('millrace_processor_messages_total')).toContain(
      'outcome="dead",reason="unknown_application"} 1',
    );
  });

  test('cuts a batch at the month of reception', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    const inMonth = (month: number) => envelopeOf({ receivedUs: Date.UTC(2026, month) * 1_000 });
    log.push(inMonth(5), inMonth(5), inMonth(6), inMonth(5));
    await run(log, store);
    await until(() => settled(log));
    expect(store.writes).toMatchObject([
      { first: 0, last: 1 },
      { first: 2, last: 2 },
      { first: 3, last: 3 },
    ]);
  });

  test('finishes what is in hand when it drains, and takes nothing new', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    let writing = false;
    store.before = async () => {
      writing = true;
      await new Promise((resolve) => setTimeout(resolve, 200));
    };
    log.push(envelopeOf(), envelopeOf());
    const { drain } = await run(log, store);
    await until(() => writing);
    await drain(10_000);
    expect(await log.committed()).toEqual({ offset: 2, metadata: '' });
    log.push(envelopeOf());
    expect(offsets(store)).toEqual([0, 1]);
  });

  test('reads a channel by its profile, waits until that can be asked for, and follows its changes', async () => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    let away = true;
    let profile: ChannelProfile = { fields: ['kept'] };
    const listeners = new Set<(change: DirectoryChange) => void>();
    const asked: string[] = [];
    const changing: Directory = {
      ...directory,
      channel: async (id, org) => {
        asked.push(id);
        if (away && id === 'unknown') throw new MillraceError('AWAY', 'later', {});
        const record = await directory.channel(id, org);
        return record === null ? null : { ...record, profile };
      },
      onChange: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    };
    const payload = '[{"n":"kept","v":1},{"n":"other","v":2}]';
    log.push(envelopeOf({ channel: 'known', payload }));
    const { value } = await run(log, store, { directory: changing });
    await until(() => settled(log));
    log.push(envelopeOf({ channel: 'known', payload }));
    await until(() => settled(log));
    log.push(envelopeOf({ channel: 'unknown', payload }));
    await until(() => value.health()?.includes('asking the registry') ?? false);
    expect(store.tables.readings.map((row) => row.name)).toEqual(['kept', 'kept']);
    away = false;
    await until(() => settled(log));
    expect(store.tables.readings.map((row) => row.name)).toEqual(['kept', 'kept', 'kept']);
    expect(asked.filter((id) => id === 'known')).toHaveLength(1);
    profile = {};
    for (const tell of listeners) {
      tell({ version: 2, entity: 'channel', id: 'known', org: 'org', voids: ['known'] });
    }
    log.push(envelopeOf({ channel: 'known', payload }), envelopeOf({ channel: 'unknown', payload }));
    await until(() => settled(log));
    expect(store.tables.readings.map((row) => row.name).slice(3)).toEqual(['kept', 'other', 'kept']);
    await running?.stop();
    expect(listeners.size).toBe(0);
  });

  test('says so when no worker can be started, instead of burying messages', async () => {
    const log = new MemoryLog();
    const options = {
      workerUrl: siblingUrl(import.meta.url, '../testing/no-such-file'),
      config: { MILLRACE_WORKER_TASK_MS_MAX: 1_000 },
    };
    await expect(run(log, new MemoryStore(), options)).rejects.toMatchObject({ code: 'WORKER_FAILED' });
  });

  test.each(['throw!', 'exit!', 'hang!', 'swallow!'])('isolates a message that makes the worker %s', async (order) => {
    const log = new MemoryLog();
    const store = new MemoryStore();
    const count = 12;
    log.push(...Array.from({ length: count }, (_, offset) => envelopeOf(offset === 5 ? { payload: order } : {})));
    const { metrics } = await run(log, store, {
      workerUrl: rogueUrl,
      config: { MILLRACE_WORKER_TASK_MS_MAX: order === 'hang!' ? 4_000 : 20_000, MILLRACE_WORKER_HEAP_MIB_MAX: 64 },
    });
    await until(() => settled(log));
    expect(offsets(store)).toEqual(upTo(count));
    expect(store.tables.dead_letters).toMatchObject([{ log_offset: 5, reason: 'worker_failed', payload: order }]);
    expect(store.tables.readings).toHaveLength(count - 1);
    expect(store.tables.message_log[0]?.received).toBe(BigInt(RECEIVED_US));
    expect(await metrics.registry.getSingleMetricAsString('millrace_processor_worker_restarts_total')).toContain(
      'reason',
    );
  });
});
