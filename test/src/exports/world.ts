import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, readConfig } from '@millrace/core';
import { createControlPlane } from '@millrace/registry';
import { openStore, StorageConfig } from '@millrace/storage';
import { Session } from 'chdb';
import { ADMIN, Asker, type ControlPlane, type Node, startControlPlane } from '../control/plane.ts';
import { eventually } from '../millrace.ts';

const logger = createLogger({ level: 'silent' });

/** Control planes over one real embedded store, and an organisation with readings in it. */
export interface ExportWorld {
  readonly plane: ControlPlane;
  readonly node: Node;
  readonly stranger: Asker;
  readonly administrator: Asker;
  readonly owner: Asker;
  readonly org: string;
  readonly channel: string;
  /** A further node with settings of its own. */
  another(settings: Readonly<Record<string, unknown>>): Promise<{ node: Node; as(asker: Asker): Asker }>;
  /** Readings a second apart from T0 on, received just now; made in the engine, since they may be many. */
  fill(rows: number, more?: { channel?: string; receivedUs?: number; first?: number; name?: string }): Promise<void>;
  /** Until an export is over. */
  over(asker: Asker, id: string, msMax?: number): Promise<Record<string, never>>;
  stop(): Promise<void>;
}

export const T0_SECONDS = Date.UTC(2026, 0, 1) / 1_000;

export async function startExportWorld(settings: Readonly<Record<string, unknown>> = {}): Promise<ExportWorld> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-exports-'));
  const plane = await startControlPlane();
  const config = readConfig(StorageConfig, {});
  const store = await openStore(config, { directory, metrics: createMetrics(), logger }).start();
  const over = (node: Node) =>
    createControlPlane({
      registry: node.registry,
      gate: node.gate,
      store: store.value,
      sql: store.value.sql,
      selfRegister: true,
      version: '1.2.3',
      metrics: createMetrics(),
      logger,
    });
  const node = await plane.node(settings);
  const stranger = new Asker(over(node));
  const administrator = await stranger.asUser(ADMIN.email, ADMIN.password);
  const owner = await stranger.newUser('owner@example.org');
  const org = (await owner.call('GET', '/users/me')).body.orgs[0].id as string;
  const channel = (await owner.call('POST', '/channels', { name: 'hall' })).body.id as string;
  return {
    plane,
    node,
    stranger,
    administrator,
    owner,
    org,
    channel,
    async another(more) {
      const other = await plane.node({ ...settings, ...more });
      const handler = over(other);
      return { node: other, as: (asker) => new Asker(handler, asker.headers) };
    },
    async fill(rows, { channel: to = channel, receivedUs = Date.now() * 1_000, first = 0, name = 'name' } = {}) {
      const session = new Session(directory);
      try {
        await session.queryAsync(`USE ${config.MILLRACE_CLICKHOUSE_DATABASE}`);
        await session.queryAsync(
          `INSERT INTO readings (org, channel, subtopic, publisher, protocol, received, log_partition, log_offset, index,
             name, unit, time, kind, value)
           SELECT '${org}', '${to}', '', 'thing', 'mqtt', fromUnixTimestamp64Micro(toInt64(${receivedUs}), 'UTC'), 0, number, 0,
             concat('${name}', toString(number % 10)), 'Cel',
             fromUnixTimestamp64Nano(toInt64((${T0_SECONDS} + number) * 1000000000), 'UTC'), 'value', number / 4
           FROM numbers(${first}, ${rows})`,
        );
      } finally {
        session.close();
      }
    },
    over: (asker, id, msMax = 180_000) =>
      eventually('the export is over', msMax, async () => {
        const { body } = await asker.call('GET', `/exports/${id}`);
        return ['waiting', 'running'].includes(body.status) ? false : body;
      }),
    async stop() {
      await plane.dispose();
      await store.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
