import { type Column, writeVarint } from './columns.ts';

/** Columns that are filled row by row and written as one Native block.
 *  @holds all columns have the same count when `write` is called */
export class Block {
  readonly columns: readonly Column[];

  constructor(columns: readonly Column[]) {
    this.columns = columns;
  }
  get rowCount(): number {
    return this.columns[0]?.count ?? 0;
  }
  /** Bytes that `write` takes at most. */
  get sizeMax(): number {
    let size = 20;
    for (const column of this.columns) size += column.name.length + column.type.length + 10 + column.sizeMax;
    return size;
  }
  /** Writes the block, without the columns that hold nothing but defaults.
   *  @returns the position after it */
  write(out: Buffer, start: number): number {
    const columns = this.columns.filter((column) => !column.allDefault);
    const rowCount = this.rowCount;
    let at = writeVarint(out, start, columns.length);
    at = writeVarint(out, at, rowCount);
    for (const column of columns) {
      if (column.count !== rowCount)
        throw new RangeError(`column ${column.name} has ${column.count} of ${rowCount} rows`);
      at = writeVarint(out, at, column.name.length);
      at += out.write(column.name, at, 'latin1');
      at = writeVarint(out, at, column.type.length);
      at += out.write(column.type, at, 'latin1');
      at = column.write(out, at);
    }
    return at;
  }
  clear(): void {
    for (const column of this.columns) column.clear();
  }
}
