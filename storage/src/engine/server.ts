import { Readable } from 'node:stream';
import { ClickHouseLogLevel, createClient } from '@clickhouse/client';
import type { TableName } from '@millrace/core';
import { type Engine, insertSettings, type QueryParameters } from './engine.ts';

export interface ServerOptions {
  /** With user and password inside; never logged. */
  readonly url: string;
  readonly database: string;
  readonly connectionsMax: number;
  readonly requestMsMax: number;
}

/** A ClickHouse server over HTTP. Nothing is asked before the first call. */
export function openServer(options: ServerOptions): Engine {
  const url = new URL(options.url);
  const base = {
    url: `${url.protocol}//${url.host}${url.pathname}`,
    username: decodeURIComponent(url.username) || 'default',
    password: decodeURIComponent(url.password),
    max_open_connections: options.connectionsMax,
    request_timeout: options.requestMsMax,
    application: 'millrace',
    // What goes wrong is told by whoever asked.
    log: { level: ClickHouseLogLevel.OFF },
  };
  const client = createClient({ ...base, database: options.database });
  return {
    name: 'server',
    querySettings: '',
    async createDatabase(): Promise<void> {
      const first = createClient({ ...base, database: 'default' });
      try {
        await first.command({ query: `CREATE DATABASE IF NOT EXISTS ${options.database}` });
      } finally {
        await first.close();
      }
    },
    async rows<Row>(statement: string, parameters?: QueryParameters): Promise<Row[]> {
      const answer = await client.query({
        query: statement,
        format: 'JSONEachRow',
        ...(parameters === undefined ? {} : { query_params: { ...parameters } }),
      });
      return answer.json<Row>();
    },
    async command(statement: string): Promise<void> {
      await client.command({ query: statement });
    },
    async insertBlock(table: TableName, bytes: Uint8Array, token: string): Promise<void> {
      const { stream } = await client.exec({
        query: `INSERT INTO ${table} SETTINGS ${insertSettings(token)} FORMAT Native`,
        values: Readable.from([bytes], { objectMode: false }),
      });
      for await (const _ of stream);
    },
    async *text(statement: string): AsyncGenerator<Uint8Array> {
      const { stream } = await client.exec({
        query: `${statement} FORMAT TabSeparated`,
        // The first row may be long in coming; the server says that it is at work.
        clickhouse_settings: { send_progress_in_http_headers: 1, http_headers_progress_interval_ms: '10000' },
      });
      try {
        yield* stream as AsyncIterable<Uint8Array>;
      } finally {
        stream.destroy();
      }
    },
    async insertText(target: string, bytes: Uint8Array, token: string): Promise<void> {
      const { stream } = await client.exec({
        query: `INSERT INTO ${target} SETTINGS ${insertSettings(token)} FORMAT TabSeparated`,
        values: Readable.from([bytes], { objectMode: false }),
      });
      for await (const _ of stream);
    },
    close: () => client.close(),
  };
}
