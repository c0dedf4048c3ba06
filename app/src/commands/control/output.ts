import { type Column, moment, printable, type Row, sheet, table } from './table.ts';

export interface OutputOptions {
  readonly json: boolean;
  readonly wide: boolean;
}

/** What a command says: its result on standard output, all else on standard error. */
export class Output {
  readonly json: boolean;
  readonly #wide: boolean;
  #progress = false;

  constructor({ json, wide }: OutputOptions) {
    this.json = json;
    this.#wide = wide;
  }

  /** One thing, as the API gives it. */
  one(value: unknown): void {
    if (value === undefined) return;
    this.write(this.json ? `${JSON.stringify(value, null, 2)}\n` : sheet(readable(value as Row)));
  }

  /** A page.  @param answer as the API gives it */
  page(columns: readonly Column[], items: string, answer: Row): void {
    if (this.json) {
      this.write(`${JSON.stringify(answer, null, 2)}\n`);
      return;
    }
    const rows = (answer[items] ?? []) as readonly Row[];
    this.rows(columns, rows);
    const total = Number(answer.total ?? rows.length);
    const first = Number(answer.offset ?? 0);
    if (first + rows.length < total) this.note(`${rows.length} of ${total}; --all shows all of them.`);
  }

  /** Rows that are there already. */
  rows(columns: readonly Column[], rows: readonly Row[]): void {
    if (rows.length === 0) {
      this.note('There are none.');
      return;
    }
    const shown = columns.filter(({ wide }) => this.#wide || wide !== true);
    this.write(table(shown, rows, this.#wide ? Number.POSITIVE_INFINITY : terminalColumns()));
  }

  /** All of a list: a JSON line each as they come, or one table. */
  async all(columns: readonly Column[], rows: AsyncIterable<unknown>): Promise<void> {
    const kept: Row[] = [];
    for await (const row of rows) {
      if (this.json) await this.flushed(`${JSON.stringify(row)}\n`);
      else kept.push(row as Row);
    }
    if (!this.json) this.rows(columns, kept);
  }

  /** A result that is text. */
  write(text: string): void {
    process.stdout.write(text);
  }

  /** As fast as it is read. */
  async flushed(text: string | Uint8Array): Promise<void> {
    if (!process.stdout.write(text))
      await new Promise<void>((resolve) => process.stdout.once('drain', () => resolve()));
  }

  /** For people: said on standard error. */
  note(text: string): void {
    this.#endProgress();
    process.stderr.write(`${printable(text)}\n`);
  }

  /** How far long work is: on one line of a terminal, else only its end. */
  progress(what: string, done: number, total: number): void {
    const line = `${what}: ${done} of ${total}`;
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\u001b[K${line}`);
      this.#progress = true;
      if (done >= total) this.#endProgress();
    } else if (done >= total) process.stderr.write(`${line}\n`);
  }

  #endProgress(): void {
    if (this.#progress) process.stderr.write('\n');
    this.#progress = false;
  }
}

function terminalColumns(): number {
  const told = process.stdout.columns ?? Number(process.env.COLUMNS);
  return Number.isFinite(told) && told > 0 ? told : Number.POSITIVE_INFINITY;
}

/** With times that people read, without what is empty. */
function readable(row: Row): Row {
  const isTime = (name: string): boolean => /(_at|_before|_since|_seen|_until)$/.test(name);
  return Object.fromEntries(
    Object.entries(row)
      // `response` is a word of an old dialect.
      .filter(([name, value]) => !isEmpty(value) && name !== 'response')
      .map(([name, value]) => [name, isTime(name) && typeof value === 'string' ? moment(value) : value]),
  );
}

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === '' ||
  (typeof value === 'object' && Object.keys(value).length === 0);
