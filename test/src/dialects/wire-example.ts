/** A request and the answer that its clients rely on.  @see test/dialects/README.md */
export interface WireExample {
  readonly title: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly status: number;
  /** Ask again until it is so. */
  readonly until: boolean;
  readonly answerHeaders: Readonly<Record<string, string>>;
  readonly answer: string;
}

export function parseWireExamples(text: string): WireExample[] {
  return text
    .split(/^### /m)
    .slice(1)
    .map((part) => {
      const [title = '', ...lines] = part.trimEnd().split('\n');
      const at = lines.findIndex((line) => /^HTTP \d{3}/.test(line));
      if (at < 0) throw new Error(`${title}: no line "HTTP <status>"`);
      const [, method = '', path = ''] = /^([A-Z]+) (\S+)$/.exec(lines[0] ?? '') ?? [];
      const [, status = '', until = ''] = /^HTTP (\d{3})( \(until\))?$/.exec(lines[at] ?? '') ?? [];
      if (method === '' || status === '') throw new Error(`${title}: no request line, or a wrong status line`);
      const request = headed(lines.slice(1, at));
      const answer = headed(lines.slice(at + 1));
      return {
        title,
        method,
        path,
        headers: request.headers,
        body: request.body,
        status: Number(status),
        until: until !== '',
        answerHeaders: answer.headers,
        answer: answer.body,
      };
    });
}

function headed(lines: readonly string[]): { headers: Record<string, string>; body: string } {
  const blank = lines.indexOf('');
  const head = blank < 0 ? lines : lines.slice(0, blank);
  const headers = Object.fromEntries(
    head.map((line) => {
      const colon = line.indexOf(':');
      if (colon < 0) throw new Error(`no header: ${line}`);
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  return { headers, body: blank < 0 ? '' : lines.slice(blank).join('\n').trim() };
}

export type Kept = Record<string, string>;

export const filledIn = (text: string, kept: Kept): string =>
  text.replaceAll(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = kept[name];
    if (value === undefined) throw new Error(`{{${name}}} was not kept`);
    return value;
  });

/** What is wrong with an answer; keeps what is to be kept.  @returns null if nothing is */
export function mismatch(expected: unknown, given: unknown, kept: Kept, path = '$'): string | null {
  if (typeof expected === 'string') {
    const [, name] = /^\{\{(\w+)\?\}\}$/.exec(expected) ?? [];
    if (name !== undefined) {
      if (given === undefined || given === null) return `${path} is missing`;
      kept[name] = String(given);
      return null;
    }
    const wanted = filledIn(expected, kept);
    return wanted === given ? null : `${path} is ${JSON.stringify(given)}, not ${JSON.stringify(wanted)}`;
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(given) || given.length !== expected.length)
      return `${path} is ${JSON.stringify(given)}, not a list of ${expected.length}`;
    return first(expected.map((each, index) => () => mismatch(each, given[index], kept, `${path}[${index}]`)));
  }
  if (expected !== null && typeof expected === 'object') {
    if (given === null || typeof given !== 'object') return `${path} is ${JSON.stringify(given)}, no object`;
    const members = given as Record<string, unknown>;
    return first(
      Object.entries(expected).map(
        ([name, each]) =>
          () =>
            mismatch(each, members[name], kept, `${path}.${name}`),
      ),
    );
  }
  return expected === given ? null : `${path} is ${JSON.stringify(given)}, not ${JSON.stringify(expected)}`;
}

/** The same of a header, where something may be kept in its middle. */
export function headerMismatch(name: string, expected: string, given: string | null, kept: Kept): string | null {
  if (given === null) return `header ${name} is missing`;
  const names: string[] = [];
  const pattern = expected
    .split(/(\{\{\w+\??\}\})/)
    .map((part) => {
      const [, keep] = /^\{\{(\w+)\?\}\}$/.exec(part) ?? [];
      if (keep === undefined) return filledIn(part, kept).replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
      names.push(keep);
      return '([^/;, ]+)';
    })
    .join('');
  const found = new RegExp(`^${pattern}$`).exec(given);
  if (found === null) return `header ${name} is ${given}, not ${expected}`;
  for (const [index, each] of names.entries()) kept[each] = found[index + 1] ?? '';
  return null;
}

function first(checks: readonly (() => string | null)[]): string | null {
  for (const check of checks) {
    const wrong = check();
    if (wrong !== null) return wrong;
  }
  return null;
}
