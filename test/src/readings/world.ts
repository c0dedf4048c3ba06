import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLogger, createMetrics, readConfig } from '@millrace/core';
import { createControlPlane } from '@millrace/registry';
import { openStore, StorageConfig } from '@millrace/storage';
import { batchOf, type GivenMessage } from '@millrace/storage/testing';
import { ADMIN, Asker, type Node, startControlPlane } from '../control/plane.ts';

/** A control plane over a real embedded store, and an organisation to put readings into. */
export interface ReadingsWorld {
  readonly node: Node;
  readonly stranger: Asker;
  readonly administrator: Asker;
  /** Of the organisation `org`. */
  readonly owner: Asker;
  readonly org: string;
  /** As processors write them.  @holds not two at a time */
  write(messages: readonly GivenMessage[]): Promise<void>;
  /** As `made`, in the owner's name. */
  make(path: string, body: unknown): Promise<{ id: string; key?: string; secret?: string }>;
  stop(): Promise<void>;
}

export async function startReadingsWorld(): Promise<ReadingsWorld> {
  const logger = createLogger({ level: 'silent' });
  const directory = await mkdtemp(join(tmpdir(), 'millrace-readings-'));
  const plane = await startControlPlane();
  const metrics = createMetrics();
  const store = await openStore(readConfig(StorageConfig, {}), { directory, metrics, logger }).start();
  const node = await plane.node();
  const handler = createControlPlane({
    registry: node.registry,
    gate: node.gate,
    store: store.value,
    selfRegister: true,
    version: '1.2.3',
    metrics: createMetrics(),
    logger,
  });
  const stranger = new Asker(handler);
  const administrator = await stranger.asUser(ADMIN.email, ADMIN.password);
  const owner = await stranger.newUser('owner@example.org');
  const org = (await owner.call('GET', '/users/me')).body.orgs[0].id as string;
  let next = 0;
  return {
    node,
    stranger,
    administrator,
    owner,
    org,
    async write(messages) {
      const first = next;
      next += messages.length;
      await store.value.write(
        'messages',
        batchOf(
          first,
          messages.map((message) => ({ org, ...message })),
        ),
        { verify: false },
      );
    },
    async make(path, body) {
      const { status, body: made } = await owner.call('POST', path, body);
      if (status !== 201) throw new Error(`POST ${path}: ${status} ${JSON.stringify(made)}`);
      return made;
    },
    async stop() {
      await plane.dispose();
      await store.stop();
      await rm(directory, { recursive: true });
    },
  };
}
