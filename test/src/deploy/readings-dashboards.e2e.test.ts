// biome-ignore-all lint/suspicious/noTemplateCurlyInString: Grafana's own variables
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, createClient } from '@millrace/sdk';
import { startClickHouseShell } from '@millrace/storage/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { eventually, Millrace } from '../millrace.ts';
import { read } from './tools.ts';

interface Column {
  readonly selector: string;
  readonly type: string;
}
interface RestTarget {
  readonly type: 'csv' | 'json';
  readonly url: string;
  readonly url_options: { readonly method: string; readonly data?: string; readonly body_content_type?: string };
  readonly root_selector: string;
  readonly columns: readonly Column[];
}
interface Target extends RestTarget {
  readonly refId: string;
  readonly datasource: { readonly type: string; readonly uid: string };
  readonly rawSql: string;
}
interface Dashboard {
  readonly uid: string;
  readonly schemaVersion: number;
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly type: string;
    readonly gridPos: { readonly x: number; readonly w: number };
    readonly targets: readonly Target[];
  }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: unknown }[] };
}

const dashboard = (name: string): Dashboard => JSON.parse(read(`deploy/grafana/dashboards/${name}.json`));
const [clickhouse, rest] = [dashboard('readings-clickhouse'), dashboard('readings-rest')];
/** What the key of the data source needs, as docs/grafana.md tells. */
const READER = ['subscribe', 'messages.read', 'channels.list', 'deadletters.read', 'sql.read'];
const INTERVAL_S = 60;
const RANGE_MS = 3_600_000;

/** What Grafana puts in for its variables.  @source grafana.com/docs: global variables, advanced variable format */
function filled(text: string, values: Readonly<Record<string, readonly string[]>>, from: Date, to: Date): string {
  return text
    .replaceAll('${__from:date:iso}', from.toISOString())
    .replaceAll('${__to:date:iso}', to.toISOString())
    .replaceAll('${__from}', String(from.getTime()))
    .replaceAll('${__interval_ms}', String(INTERVAL_S * 1_000))
    .replace(/\$\{(\w+):singlequote\}/g, (_, name: string) =>
      (values[name] ?? []).map((value) => `'${value.replaceAll("'", "\\'")}'`).join(','),
    )
    .replace(/\$\{(\w+):doublequote\}/g, (_, name: string) =>
      (values[name] ?? []).map((value) => `"${value.replaceAll('"', '\\"')}"`).join(','),
    )
    .replace(/\$channel\b/g, () => values.channel?.[0] ?? '');
}

/** What the plugin of ClickHouse makes of its macros.  @source grafana/clickhouse-datasource pkg/macros */
function expanded(statement: string, from: Date, to: Date): string {
  const at = (time: Date): string => `toDateTime(${Math.floor(time.getTime() / 1_000)})`;
  return statement
    .replace(/\$__timeFilter\((\w+)\)/g, (_, column: string) => `${column} >= ${at(from)} AND ${column} <= ${at(to)}`)
    .replace(
      /\$__timeInterval\((\w+)\)/g,
      (_, column: string) => `toStartOfInterval(toDateTime(${column}), INTERVAL ${INTERVAL_S} second)`,
    )
    .replaceAll('$__interval_s', String(INTERVAL_S));
}

describe('dashboards of readings', { timeout: 180_000 }, () => {
  const node = new Millrace();
  let admin: Client;
  let apiKey = '';
  let values: Record<string, readonly string[]> = {};
  const from = new Date(Date.now() - RANGE_MS);
  const to = new Date(Date.now() + RANGE_MS);

  beforeAll(async () => {
    await node.start();
    const password = readFileSync(join(node.directory, 'admin-password'), 'utf8').trim();
    admin = createClient({ url: node.url, credentials: { email: 'admin@millrace.local', password } });
    const thing = await admin.things.create({ name: "O'Hara's" });
    const channel = await admin.channels.create({ name: 'Hall', alias: 'hall' });
    await admin.connections.connect({ things: [thing.id], channels: [channel.id] });
    const device = createClient({ url: node.url, key: thing.key as string });
    const senml = { contentType: 'application/senml+json' };
    const pack = [-90, -60, 0].map((t, index) => ({ n: 'temperature', u: 'Cel', t, v: 20 + index }));
    await device.publish(channel.id, pack, senml);
    const broken = (await device.publish(channel.id, '[{"n":', senml)) as string;
    await eventually('readings and a dead letter', 60_000, async () => {
      const { messages } = await admin.readings.latest();
      return messages.length === 1 && (await admin.messages.fate(broken)).status === 'dead';
    });
    apiKey = (await admin.keys.create({ name: 'grafana', grants: [{ actions: READER, resources: ['*'] }] })).secret;
    values = { org: [channel.org], channel: [channel.id], name: ['temperature'], publisher: [thing.id] };
  }, 180_000);
  afterAll(() => node.dispose(), 120_000);

  test('by ClickHouse: other organisations are behind the variable, and only there', () => {
    for (const { title, targets } of clickhouse.panels)
      for (const { rawSql } of targets) expect(rawSql, title).toContain('org IN (${org:singlequote})');
  });

  /** The rows that Infinity makes of an answer. */
  async function rowsOfRest(target: RestTarget): Promise<Record<string, unknown>[]> {
    const { method, data, body_content_type: type } = target.url_options;
    // Inside a string of JSON, as Grafana puts it in.
    const body = data === undefined ? undefined : filled(data, values, from, to);
    const response = await fetch(node.url + filled(target.url, values, from, to), {
      method,
      headers: { authorization: `Bearer ${apiKey}`, ...(type === undefined ? {} : { 'content-type': type }) },
      ...(body === undefined ? {} : { body }),
    });
    const text = await response.text();
    expect(response.status, `${target.url} ${body}\n${text}`).toBe(200);
    if (target.type === 'json') return (JSON.parse(text) as Record<string, never>)[target.root_selector] ?? [];
    const [head = '', ...lines] = text.trim().split('\n');
    const names = JSON.parse(`[${head}]`) as string[];
    return lines.map((line) => {
      const cells = JSON.parse(`[${line.replaceAll(/(?<=,|^)(?=,|$)/g, 'null')}]`) as unknown[];
      return Object.fromEntries(names.map((name, index) => [name, cells[index]]));
    });
  }

  function check(title: string, { columns }: RestTarget, rows: readonly Record<string, unknown>[]): void {
    expect(rows.length, title).toBeGreaterThan(0);
    for (const row of rows)
      for (const { selector, type } of columns) {
        expect(Object.keys(row), title).toContain(selector);
        const value = row[selector];
        if (type === 'timestamp') expect(Date.parse(String(value)), `${title} ${selector}`).toBeGreaterThan(0);
        if (type === 'number') expect(Number.isFinite(Number(value)), `${title} ${selector}`).toBe(true);
      }
  }

  test('by REST: each question is answered, with the columns that its panel names', async () => {
    for (const { name, query } of rest.templating.list) {
      const { infinityQuery } = query as { infinityQuery: RestTarget };
      const rows = await rowsOfRest(infinityQuery);
      check(name, infinityQuery, rows);
      const { selector = '' } = infinityQuery.columns.at(-1) ?? {};
      expect(rows.map((row) => row[selector])).toContain(values[name]?.[0]);
    }
    for (const { title, targets } of rest.panels)
      for (const target of targets) check(title, target, await rowsOfRest(target));
  });

  test('have what Grafana needs to know of them', () => {
    const { datasources } = parse(read('deploy/grafana/provisioning/datasources/millrace.yml')) as {
      datasources: { uid: string; type: string; secureJsonData: Record<string, string> }[];
    };
    const compose = parse(read('deploy/compose/compose.yaml')) as {
      services: { grafana: { environment: Record<string, string>; secrets: string[] } };
    };
    const { environment, secrets } = compose.services.grafana;
    for (const { uid, type, secureJsonData } of datasources) {
      expect(environment.GF_PLUGINS_PREINSTALL).toContain(`${type}@`);
      for (const secret of Object.values(secureJsonData)) {
        const [, file = ''] = /^\$__file\{\/run\/secrets\/([\w-]+)\}$/.exec(secret) ?? [];
        expect(secrets, uid).toContain(file);
      }
    }
    for (const { uid, schemaVersion, panels, templating } of [clickhouse, rest]) {
      expect(schemaVersion, uid).toBeGreaterThanOrEqual(36);
      expect(new Set(panels.map(({ id }) => id)).size, uid).toBe(panels.length);
      const names = new Set([...templating.list.map(({ name }) => name), '__from', '__to', '__interval_ms']);
      for (const { title, gridPos, targets } of panels) {
        expect(gridPos.x + gridPos.w, title).toBeLessThanOrEqual(24);
        for (const { refId, datasource } of targets) {
          expect(refId, title).toBe('A');
          expect(
            datasources.map(({ uid: known, type }) => `${known} ${type}`),
            title,
          ).toContain(`${datasource.uid} ${datasource.type}`);
        }
        for (const [, name = ''] of JSON.stringify(targets).matchAll(/\$\{(\w+)/g))
          expect(names, title).toContain(name);
      }
    }
  });

  async function rowsOfSql(url: string, statement: string): Promise<Record<string, unknown>[]> {
    const query = `${expanded(filled(statement, values, from, to), from, to)} FORMAT JSON`;
    const response = await fetch(`${url}/?database=millrace`, { method: 'POST', body: query });
    const text = await response.text();
    expect(response.status, `${query}\n${text}`).toBe(200);
    return (JSON.parse(text) as { data: Record<string, unknown>[] }).data;
  }

  test('by ClickHouse: each statement is answered by the schema, and each panel has something to show', async () => {
    // A store is one program's: the node's own, once that has ended.
    await node.end();
    const shell = await startClickHouseShell(join(node.directory, 'clickhouse'));
    try {
      await checkAll(shell.url);
    } finally {
      await shell.stop();
    }
  });

  async function checkAll(url: string): Promise<void> {
    for (const { name, query } of clickhouse.templating.list) {
      const rows = await rowsOfSql(url, String(query));
      expect([name, rows.map((row) => row[name])]).toEqual([name, values[name]]);
    }
    for (const { title, targets, type } of clickhouse.panels)
      for (const { rawSql } of targets) {
        const rows = await rowsOfSql(url, rawSql);
        expect(rows.length, title).toBeGreaterThan(0);
        expect(rawSql, title).not.toContain(';');
        // A time, labels, and one number: what a chart is made of.
        if (type === 'timeseries') {
          const row = rows[0] ?? {};
          expect(Object.keys(row)[0], title).toBe('bucket');
          expect(Number.isFinite(Number(Object.values(row).at(-1))), title).toBe(true);
        }
      }
    const all = await rowsOfSql(url, clickhouse.panels[0]?.targets[0]?.rawSql ?? '');
    expect(all.reduce((sum, { mean }) => sum + Number(mean), 0)).toBeGreaterThanOrEqual(21);
  }
});
