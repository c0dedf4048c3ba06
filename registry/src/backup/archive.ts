import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { constants, gzip } from 'node:zlib';
import { piecesOf, type SnapshotTable, type StoreSnapshot } from '@millrace/core';
import { BACKUP_FORMAT, type BackupFile, type BackupManifest, MANIFEST_FILE } from './manifest.ts';
import type { RegistrySnapshot } from './snapshot.ts';
import { tarEnd, tarFile } from './tar.ts';

/** Of rows in one file, before they are compressed: what is held in memory, and loaded by one statement. */
const PIECE_BYTES_MIN = 8 * 1024 * 1024;
const compress = promisify(gzip);

export interface ArchiveParts {
  readonly registry: RegistrySnapshot;
  readonly store: StoreSnapshot;
  readonly program: string;
  /** Proof of the secret, see SECRET_PROOF. */
  readonly secret: string;
  readonly behind: number;
}

/** The whole backup as one tar archive, the manifest last: without it, it is none.
 *  @holds one piece of rows at a time; the next is read when this one has been taken */
export async function* backupArchive(parts: ArchiveParts): AsyncGenerator<Uint8Array> {
  const { registry, store } = parts;
  const { taken } = registry;
  const files: BackupFile[] = [];
  const tables: BackupManifest['tables'] = [];

  const write = async function* (
    kind: BackupFile['store'],
    { name, part, columns, rows, clears }: SnapshotTable,
  ): AsyncGenerator<Uint8Array> {
    let rowsTotal = 0;
    let place = 0;
    for await (const piece of piecesOf(rows, columns.length, PIECE_BYTES_MIN)) {
      const bytes = await compress(piece.bytes, { level: constants.Z_BEST_SPEED });
      const number = String(++place).padStart(6, '0');
      const path = `${kind}/${name}/${part === '' ? '' : `${part}/`}${number}.tsv.gz`;
      const sha256 = createHash('sha256').update(bytes).digest('hex');
      files.push({ path, store: kind, table: name, rows: piece.rowCount, bytes: bytes.length, sha256 });
      rowsTotal += piece.rowCount;
      yield* tarFile(path, bytes, taken);
    }
    tables.push({ store: kind, table: name, part, columns: [...columns], clears: clears === true, rows: rowsTotal });
  };

  for (const table of registry.tables) yield* write('registry', { ...table, part: '', rows: registry.rows(table) });
  await registry.read();
  for await (const table of store.tables()) yield* write('readings', table);

  const positions = [...store.positions].map(([partition, offset]) => ({
    partition,
    offset,
    renumbered: store.partitions.get(partition) ?? partition,
  }));
  const manifest: BackupManifest = {
    format: BACKUP_FORMAT,
    id: registry.id,
    program: parts.program,
    taken: taken.toISOString(),
    finished: new Date().toISOString(),
    secret: parts.secret,
    schema: { registry: registry.schema, readings: store.schema },
    log: { positions, behind: parts.behind },
    sequences: [...registry.sequences],
    tables,
    files,
  };
  yield* tarFile(MANIFEST_FILE, Buffer.from(`${JSON.stringify(manifest, null, 1)}\n`), taken);
  yield tarEnd();
}
