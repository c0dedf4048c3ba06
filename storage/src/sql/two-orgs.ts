import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  createLogger,
  createMetrics,
  readConfig,
  type SqlAnswer,
  type SqlParameter,
  type SqlRefused,
  type SqlStatement,
  type TenantSql,
} from '@millrace/core';
import { StorageConfig } from '../config.ts';
import { openStore } from '../store.ts';
import { batchOf, type GivenMessage, type GivenReading, RECEIVED_US } from '../testing/batches.ts';
import { rowsOf } from '../testing/rows.ts';

/** Ours, and a neighbour whose rows lie in the same granules, before and after. */
export const OURS = '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0001';
const BEFORE = '00000000-0b1a-4c7e-9a51-3f1f6a9d0002';
const AFTER = 'ffffffff-0b1a-4c7e-9a51-3f1f6a9d0003';
/** In every row of the neighbours, as text and as a number; in none of ours. */
export const CANARY = 'CANARY';
export const CANARY_NUMBER = 424_242;
export const MINUTES = 60;

export interface TwoOrgs {
  readonly sql: TenantSql;
  ask(query: string, parameters?: Readonly<Record<string, SqlParameter>>): Promise<SqlAnswer | SqlRefused>;
  statement(query: string, parameters?: Readonly<Record<string, SqlParameter>>): SqlStatement;
  addNeighbours(): Promise<void>;
  close(): Promise<void>;
}

/** @param neighbours false: they move in when `addNeighbours` is called */
export async function openTwoOrgs(neighbours = true): Promise<TwoOrgs> {
  const directory = await mkdtemp(join(tmpdir(), 'millrace-sql-'));
  const options = { directory, metrics: createMetrics(), logger: createLogger({ level: 'silent' }) };
  const started = await openStore(readConfig(StorageConfig, {}), options).start();
  const store = started.value;
  const at = (minute: number): number => RECEIVED_US + minute * 60_000_000;
  const payload = (text: string): Uint8Array => Buffer.from(text);
  const dead = (text: string) => [{ index: null, reason: 'parse_failed', payload: payload(text) }];
  const message = (org: string, minute: number, readings: readonly GivenReading[], text: string) => ({
    org,
    publisher: org === OURS ? `device-${minute % 3}` : `${CANARY}-device`,
    channel: org === OURS ? 'hall' : `${CANARY}-channel`,
    receivedUs: at(minute),
    readings,
    payload: payload(text),
    deadLetters: dead(text),
  });
  const ours: GivenMessage[] = [];
  const others: GivenMessage[] = [];
  for (let minute = 0; minute < MINUTES; minute++) {
    const timeUs = at(minute);
    ours.push(
      message(
        OURS,
        minute,
        [
          { name: 'temperature', unit: 'Cel', timeUs, value: 20 + (minute % 10) },
          { name: 'humidity', unit: '%RH', timeUs: timeUs + 1, value: 40 + minute },
          { name: 'state', timeUs, stringValue: minute % 2 === 0 ? 'open' : 'closed' },
          { name: 'alarm', timeUs, boolValue: minute % 7 === 0 },
        ],
        'ours',
      ),
    );
    for (const org of [BEFORE, AFTER])
      others.push(
        message(
          org,
          minute,
          [
            { name: `${CANARY}-temperature`, unit: CANARY, timeUs, value: minute % 2 === 0 ? CANARY_NUMBER : 0 },
            { name: 'temperature', unit: 'Cel', timeUs: Date.UTC(1900, 0, 2) * 1_000, value: CANARY_NUMBER },
            { name: `${CANARY}-state`, timeUs, stringValue: `${CANARY} no number [ ( % \\` },
            { name: 'far', timeUs: Date.UTC(2262, 0, 1) * 1_000, value: Number.MAX_VALUE },
            { name: 'nan', timeUs, value: Number.NaN },
          ],
          CANARY,
        ),
      );
  }
  await store.write('sql', batchOf(0, ours), { verify: false });
  const rows = rowsOf(directory, 'millrace');
  const addNeighbours = async (): Promise<void> => {
    await store.write('sql', batchOf(1_000, others), { verify: false });
    // Into the same granules.
    for (const table of ['readings', 'rollups', 'latest_others', 'messages', 'message_log', 'dead_letters'])
      await rows(`OPTIMIZE TABLE ${table} FINAL`);
  };
  if (neighbours) await addNeighbours();
  const things = ['device-0', 'device-1', 'device-2'].map((id, index) =>
    JSON.stringify({
      id,
      name: `Sensor ${index}`,
      type: 'device',
      enabled: true,
      tags: ['demo'],
      metadata: JSON.stringify({ room: index === 0 ? 'kitchen' : "owner's room", floor: index }),
      created_at: '2026-01-01 00:00:00.000000',
    }),
  );
  const channels = [{ id: 'hall', name: 'Hall', alias: 'hall', enabled: true, tags: [], metadata: '{}' }];
  const statement = (query: string, parameters: Readonly<Record<string, SqlParameter>> = {}): SqlStatement => ({
    org: OURS,
    query,
    parameters,
    limits: { seconds: 120, memoryBytes: 1 << 29, rowsRead: 10_000_000, resultRows: 10_000, resultBytes: 1 << 24 },
    inventory: async (table) => (table === 'things' ? things : channels.map((each) => JSON.stringify(each))).join('\n'),
  });
  return {
    sql: store.sql,
    addNeighbours,
    statement,
    ask: (query, parameters) => store.sql.ask(statement(query, parameters)),
    async close() {
      await started.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
