import type { TableName } from '@millrace/core';
import { type Access, Connection } from './connection.ts';
import { Endpoints } from './endpoints.ts';
import {
  alone,
  type Engine,
  type EngineAnswerOptions,
  GUEST_STATEMENT_BYTES_MAX,
  type Guests,
  type QueryParameters,
  type Shard,
  type WholeAnswerOptions,
} from './engine.ts';
import { engineCode } from './errors.ts';

export interface ServerOptions extends Access {
  /** Of one and the same server. */
  readonly urls: readonly string[];
}

/** A ClickHouse server over HTTP, by one address or several. Nothing is asked before the first call. */
export function openServer(options: ServerOptions): Engine {
  const connections = options.urls.map((url) => new Connection(url, options));
  const endpoints = new Endpoints(connections, options.requestMsMax);
  const shard: Shard = {
    blockNumbers: 'table',
    insertBlock: (table: TableName, bytes: Uint8Array, token: string, fence?: () => Promise<void>) =>
      endpoints.ask((connection) => connection.insert(table, 'Native', bytes, token), 0, fence),
    look: async () => (statement) => endpoints.ask((connection) => connection.rows(statement)),
  };
  return {
    name: 'server',
    querySettings: '',
    ...alone,
    createDatabase: () => createDatabase(options, `CREATE DATABASE IF NOT EXISTS ${options.database}`),
    rows: <Row>(statement: string, parameters?: QueryParameters, signal?: AbortSignal) =>
      endpoints.ask((connection) => connection.rows<Row>(statement, parameters, signal)),
    command: (statement: string) => endpoints.ask((connection) => connection.command(statement)),
    bytes: (statement: string, asked: WholeAnswerOptions) =>
      endpoints.ask((connection) => connection.bytes(statement, asked)),
    async *stream(statement: string, options: EngineAnswerOptions): AsyncGenerator<Uint8Array> {
      const connection = await endpoints.ask(async (each) => each);
      yield* connection.stream(statement, options);
    },
    async guests(database: string) {
      await createDatabase(options, `CREATE DATABASE IF NOT EXISTS ${database}`);
      return guestsAt({ ...options, database });
    },
    insertText: (target: string, bytes: Uint8Array, token: string) =>
      endpoints.ask((connection) => connection.insert(target, 'TabSeparated', bytes, token)),
    everywhere: async <Row>(statement: string) => [
      await endpoints.ask((connection) => connection.rows<Row>(statement)),
    ],
    eachShard: (statement: string) => endpoints.ask((connection) => connection.command(statement)),
    shardOf: async () => shard,
    close: async () => {
      await Promise.all(connections.map((connection) => connection.close()));
    },
  };
}

/** Connections of guests. What they ask for and is not there says nothing of the server. */
export function guestsAt(options: ServerOptions): Guests {
  const settings = { max_query_size: String(GUEST_STATEMENT_BYTES_MAX) };
  const connections = options.urls.map((url) => new Connection(url, options, settings));
  const endpoints = new Endpoints(connections, options.requestMsMax);
  const ask = async <T>(work: (connection: Connection) => Promise<T>): Promise<T> => {
    const answer = await endpoints.ask(async (connection) => {
      try {
        return { told: await work(connection) };
      } catch (error) {
        if (!NOT_THERE.has(engineCode(error) ?? 0)) throw error;
        return { error };
      }
    });
    if ('error' in answer) throw answer.error;
    return answer.told;
  };
  return {
    name: 'server',
    querySettings: '',
    rows: <Row>(statement: string, parameters?: QueryParameters, signal?: AbortSignal) =>
      ask((connection) => connection.rows<Row>(statement, parameters, signal)),
    bytes: (statement: string, asked: WholeAnswerOptions) => ask((connection) => connection.bytes(statement, asked)),
    async *stream(statement: string, streamed: EngineAnswerOptions): AsyncGenerator<Uint8Array> {
      const connection = await endpoints.ask(async (each) => each);
      yield* connection.stream(statement, streamed);
    },
    async close(): Promise<void> {
      await Promise.all(connections.map((connection) => connection.close()));
    },
  };
}
/** UNKNOWN_TABLE, UNKNOWN_DATABASE */
const NOT_THERE = new Set([60, 81]);

/** By connections of its own: those of the engine name a database that may not exist yet. */
export async function createDatabase(
  options: ServerOptions,
  statement: string,
  settings: Parameters<Connection['command']>[1] = {},
): Promise<void> {
  const connections = options.urls.map((url) => new Connection(url, { ...options, database: 'default' }));
  try {
    await new Endpoints(connections, options.requestMsMax).ask((connection) => connection.command(statement, settings));
  } finally {
    for (const connection of connections) await connection.close();
  }
}
