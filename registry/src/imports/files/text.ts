import { FileFault } from '../entries.ts';

/** The longest line, or record of CSV, in characters. */
export const LINE_CHARACTERS_MAX = 1_048_576;

export interface TextLine {
  /** From 1. */
  readonly line: number;
  /** Without its end; what is longer than a line may be is cut. */
  readonly text: string;
  readonly tooLong: boolean;
}

/** Text of bytes; what is no UTF-8 becomes U+FFFD, which `unreadable` finds. A byte order mark is left out. */
export async function* textOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8');
  let first = true;
  for await (const part of bytes) {
    if (first && part.length >= 2 && ((part[0] === 0xff && part[1] === 0xfe) || (part[0] === 0xfe && part[1] === 0xff)))
      throw new FileFault('the text is UTF-16: convert it to UTF-8');
    first = false;
    yield decoder.decode(part, { stream: true });
  }
  yield decoder.decode();
}

/** Why a text can not be taken as it is. */
export function unreadable(text: string): string | null {
  if (text.includes('\0')) return 'it holds a NUL character';
  return text.includes('\uFFFD') ? 'it is no UTF-8' : null;
}

/** The lines of a text, some at a time. Empty ones are left out.
 *  @holds keeps at most one line */
export async function* linesOf(parts: AsyncIterable<string>): AsyncGenerator<TextLine[]> {
  let rest = '';
  let tooLong = false;
  let line = 1;
  for await (const part of parts) {
    const lines: TextLine[] = [];
    let from = 0;
    for (let at = part.indexOf('\n'); at >= 0; at = part.indexOf('\n', from)) {
      add(lines, line, rest + part.slice(from, at), tooLong);
      line++;
      rest = '';
      tooLong = false;
      from = at + 1;
    }
    if (rest.length + part.length - from > LINE_CHARACTERS_MAX) tooLong = true;
    rest = tooLong ? (rest + part.slice(from, from + 200)).slice(0, 200) : rest + part.slice(from);
    if (lines.length > 0) yield lines;
  }
  const lines: TextLine[] = [];
  add(lines, line, rest, tooLong);
  if (lines.length > 0) yield lines;
}

function add(to: TextLine[], line: number, text: string, tooLong: boolean): void {
  const bare = text.endsWith('\r') ? text.slice(0, -1) : text;
  if (bare !== '') to.push({ line, text: bare, tooLong: tooLong || bare.length > LINE_CHARACTERS_MAX });
}
