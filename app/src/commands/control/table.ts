/** A column of a table for people. */
export interface Column {
  readonly title: string;
  value(row: Row): unknown;
  /** Numbers stand on the right. */
  readonly align?: 'right';
  /** Only with --wide. */
  readonly wide?: true;
}
export type Row = Readonly<Record<string, unknown>>;

const GAP = '  ';
const SHORTEST = 8;

/** Lays rows out in columns.
 *  @param columnsMax characters that fit in a line; Infinity: nothing is cut */
export function table(columns: readonly Column[], rows: readonly Row[], columnsMax: number): string {
  const cells = rows.map((row) => columns.map(({ value }) => cell(value(row))));
  const widths = columns.map(({ title }, index) =>
    Math.max(width(title), ...cells.map((line) => width(line[index] ?? ''))),
  );
  fit(widths, columnsMax - GAP.length * (columns.length - 1));
  const line = (texts: readonly string[]): string =>
    columns
      .map(({ align }, index) => {
        const text = cut(texts[index] ?? '', widths[index] ?? 0);
        const space = ' '.repeat(Math.max(0, (widths[index] ?? 0) - width(text)));
        return align === 'right' ? space + text : text + space;
      })
      .join(GAP)
      .trimEnd();
  return [columns.map(({ title }) => title), ...cells].map((texts) => `${line(texts)}\n`).join('');
}

/** One thing, a member a line. */
export function sheet(row: Row): string {
  const entries = Object.entries(row);
  const longest = Math.max(0, ...entries.map(([name]) => width(name)));
  return entries
    .map(([name, value]) => {
      const [first = '', ...more] = lines(value);
      const indent = ' '.repeat(longest + GAP.length);
      return [name.padEnd(longest + GAP.length) + first, ...more.map((line) => indent + line)].join('\n').trimEnd();
    })
    .map((text) => `${text}\n`)
    .join('');
}

function lines(value: unknown): readonly string[] {
  if (typeof value === 'string' && value.includes('\n')) return value.trimEnd().split('\n').map(printable);
  if (Array.isArray(value) && value.some((one) => typeof one === 'object'))
    return value.map((one) => printable(JSON.stringify(one)));
  return [cell(value)];
}

/** A value as one line that does nothing to the terminal, whatever somebody has named something. */
export function cell(value: unknown): string {
  if (value === undefined || value === null) return '';
  if (typeof value === 'boolean') return value ? 'yes' : 'no';
  if (Array.isArray(value) && value.every((one) => typeof one !== 'object')) return printable(value.join(', '));
  return printable(typeof value === 'object' ? JSON.stringify(value) : String(value));
}

/** Control characters and those that turn the direction of the text. */
const UNPRINTABLE = /[\p{Cc}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;
export const printable = (text: string): string =>
  text.replace(UNPRINTABLE, (one) => (one === '\n' || one === '\t' ? ' ' : '\ufffd'));

/** Shortens the widest columns until they fit, none below 8. */
function fit(widths: number[], room: number): void {
  for (let over = widths.reduce((sum, one) => sum + one, 0) - room; over > 0; ) {
    const widest = Math.max(...widths);
    if (widest <= SHORTEST || !Number.isFinite(over)) return;
    const index = widths.indexOf(widest);
    const second = Math.max(SHORTEST, ...widths.filter((_, other) => other !== index));
    const less = Math.min(over, Math.max(1, widest - second));
    widths[index] = widest - less;
    over -= less;
  }
}

function cut(text: string, widthMax: number): string {
  if (width(text) <= widthMax) return text;
  let kept = '';
  let used = 1;
  for (const one of text) {
    used += width(one);
    if (used > widthMax) break;
    kept += one;
  }
  return `${kept}…`;
}

const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}/u;
const NARROW = /[\p{Mn}\p{Me}\p{Cf}]/u;

/** Columns of a terminal that a text takes. */
export function width(text: string): number {
  let columns = 0;
  for (const one of text) columns += NARROW.test(one) ? 0 : WIDE.test(one) ? 2 : 1;
  return columns;
}

/** A time as people read it, in the time zone of the terminal. */
export function moment(value: unknown): string {
  if (value === undefined || value === null || value === '') return '';
  const date = new Date(typeof value === 'number' ? value * 1_000 : String(value));
  if (Number.isNaN(date.getTime())) return String(value);
  const two = (part: number): string => String(part).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export const column = (title: string, member: string, more: Partial<Column> = {}): Column => ({
  title,
  value: (row) => row[member],
  ...more,
});
export const time = (title: string, member: string, more: Partial<Column> = {}): Column => ({
  title,
  value: (row) => moment(row[member]),
  ...more,
});
