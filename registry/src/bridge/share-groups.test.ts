import { createMetrics, type Position, type ShareGroupReport, type Started, uuidV7 } from '@millrace/core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../database/database.ts';
import type { Registry } from '../registry.ts';
import { logger, startRegistry, temporaryPostgres } from '../testing/fixture.ts';
import { quotas } from './share-quotas.ts';

const PARTITIONS = 12;
const starts: readonly Position[] = Array.from({ length: PARTITIONS }, (_, partition) => ({ partition, offset: 100 }));

let postgres: Awaited<ReturnType<typeof temporaryPostgres>>;
let database: Database;
const nodes: Started<Registry>[] = [];

/** A node that does with a group as it is told. */
class Reader {
  readonly started: Started<Registry>;
  readonly held = new Map<number, number>();
  members = 1;

  constructor(started: Started<Registry>) {
    this.started = started;
  }

  async round(key: string, more: Partial<ShareGroupReport> = {}): Promise<readonly Position[]> {
    const held = [...this.held].map(([partition, offset]) => ({ partition, offset }));
    const report = { key, members: this.members, kept: false, starts, held, released: [], ...more };
    const [share] = await this.started.value.shareGroups.share([report]);
    for (const { partition } of report.released) this.held.delete(partition);
    if (share === undefined) return [];
    for (const partition of share.lost) this.held.delete(partition);
    for (const { partition, offset } of share.taken) this.held.set(partition, offset);
    if (share.excess === 0) return share.taken;
    const released = [...this.held].slice(0, share.excess).map(([partition, offset]) => ({ partition, offset }));
    for (const { partition } of released) this.held.delete(partition);
    await this.round(key, { released, held: [...this.held].map(([partition, offset]) => ({ partition, offset })) });
    return share.taken;
  }
}

async function join(): Promise<Reader> {
  const started = await startRegistry(postgres.url, { pollMs: 20, beatMs: 3_600_000 });
  nodes.push(started);
  const silent = { joined() {}, buried() {}, taken() {}, due() {} };
  await started.value.clients.join(silent);
  return new Reader(started);
}

beforeAll(async () => {
  postgres = await temporaryPostgres();
  database = openDatabase({ url: postgres.url, connectionsMax: 4, logger, metrics: createMetrics() });
}, 120_000);
afterEach(async () => {
  for (const each of nodes.splice(0)) await each.stop();
});
afterAll(async () => {
  await database?.close();
  await postgres?.dispose();
});

describe('the partitions of a group', () => {
  test('are all of the only node that has members, and shared with whoever comes, by members', async () => {
    const key = uuidV7();
    const [one, other] = [await join(), await join()];
    expect(await one.round(key)).toEqual(starts);
    other.members = 3;
    expect(await other.round(key)).toEqual([]);
    for (const partition of one.held.keys()) one.held.set(partition, 150);
    await one.round(key);
    expect(one.held.size).toBe(3);
    const taken = await other.round(key);
    expect(taken).toHaveLength(9);
    expect(taken.every(({ offset }) => offset === 150)).toBe(true);
    expect([...one.held.keys(), ...other.held.keys()].toSorted((a, b) => a - b)).toEqual(
      starts.map(({ partition }) => partition),
    );
  });

  test('go to another when their node is dead, from where it saved; it loses them when it comes back', async () => {
    const key = uuidV7();
    const [one, other] = [await join(), await join()];
    await one.round(key);
    for (const partition of one.held.keys()) one.held.set(partition, 200 + partition);
    await one.round(key);
    await database.query(
      'DELETE FROM registry.nodes WHERE id = (SELECT node FROM registry.mqtt_share_cursors WHERE log_offset = 200)',
    );
    const taken = await other.round(key);
    expect(taken.map(({ partition, offset }) => offset - partition)).toEqual(Array(PARTITIONS).fill(200));
    expect(other.held.size).toBe(PARTITIONS);
    await one.round(key);
    expect(one.held.size).toBe(0);
  });

  test('are forgotten with the last member, unless one will come back', async () => {
    const key = uuidV7();
    const one = await join();
    await one.round(key);
    one.members = 0;
    const released = starts.map(({ partition }) => ({ partition, offset: 300 }));
    await one.round(key, { held: [], released, kept: true });
    one.members = 1;
    expect((await one.round(key)).every(({ offset }) => offset === 300)).toBe(true);
    one.members = 0;
    await one.round(key, { held: [], released, kept: false });
    one.members = 1;
    expect(await one.round(key)).toEqual(starts);
  });

  test('are taken by one of two that ask at once', async () => {
    const [one, other] = [await join(), await join()];
    for (let round = 0; round < 20; round++) {
      const key = uuidV7();
      one.held.clear();
      other.held.clear();
      await Promise.all([one.round(key), other.round(key)]);
      for (let again = 0; again < 3; again++) for (const each of [one, other]) await each.round(key);
      expect([...one.held.keys(), ...other.held.keys()].toSorted((a, b) => a - b)).toEqual(
        starts.map(({ partition }) => partition),
      );
      expect(one.held.size).toBe(PARTITIONS / 2);
    }
  });
});

test('parts are by members, sum to all, and lots decide where members do not', () => {
  const nodesOf = (...members: number[]) => members.map((count, index) => ({ node: `n${index}`, members: count }));
  for (let count = 1; count < 30; count++) {
    for (const nodes of [nodesOf(1), nodesOf(1, 1), nodesOf(5, 1), nodesOf(3, 2, 2), nodesOf(1, 100)]) {
      const parts = quotas('g', nodes, count);
      expect([...parts.values()].reduce((sum, part) => sum + part, 0)).toBe(count);
      const total = nodes.reduce((sum, { members }) => sum + members, 0);
      for (const { node, members } of nodes)
        expect(Math.abs((parts.get(node) ?? 0) - (count * members) / total)).toBeLessThan(1);
    }
  }
  expect(quotas('g', nodesOf(1, 2), 1)).toEqual(
    new Map([
      ['n0', 0],
      ['n1', 1],
    ]),
  );
  const winners = new Set(Array.from({ length: 50 }, (_, index) => quotas(`g${index}`, nodesOf(1, 1), 1).get('n0')));
  expect(winners).toEqual(new Set([0, 1]));
});
