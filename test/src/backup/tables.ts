import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type BackupManifest, MANIFEST_FILE } from '@millrace/registry';

export type TextRow = Readonly<Record<string, string>>;

export const manifestOf = (directory: string): BackupManifest =>
  JSON.parse(readFileSync(join(directory, MANIFEST_FILE), 'utf8')) as BackupManifest;

/** Every row of a backup as text, by table. */
export function tablesOf(directory: string): Map<string, TextRow[]> {
  const manifest = manifestOf(directory);
  const tables = new Map<string, TextRow[]>();
  for (const { store, table, part, columns } of manifest.tables) {
    const under = `${store}/${table}/${part === '' ? '' : `${part}/`}`;
    const rows = tables.get(table) ?? [];
    tables.set(table, rows);
    for (const { path } of manifest.files.filter((file) => file.path.startsWith(under) && file.table === table)) {
      const text = gunzipSync(readFileSync(join(directory, path))).toString('latin1');
      for (const line of text.split('\n').slice(0, -1)) {
        const values = line.split('\t');
        rows.push(Object.fromEntries(columns.map((column, index) => [column, values[index] ?? ''])));
      }
    }
  }
  return tables;
}

/** Rows without some of their columns, in an order of their own. */
export const compared = (rows: readonly TextRow[], without: readonly string[] = []): string[] =>
  rows.map((row) => JSON.stringify(Object.entries(row).filter(([column]) => !without.includes(column)))).sort();
