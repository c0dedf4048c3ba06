import type { QueryParameters } from './engine.ts';

/** The statement that binds parameters to a session of the embedded engine, or null if there is nothing to bind. A session
 *  keeps what was bound: names that it still holds and this question does not have are emptied, so that no statement can
 *  name the value of another's.
 *
 *  The engine's call with parameters keeps them for the whole process: two at once mix their values. What is bound by SET
 *  belongs to the session.  @source docs/adr/0032
 *  @shape each value in the engine's escaped text, in a literal in which only the bytes of `PLAIN` stand for themselves */
export function bindingStatement(parameters: QueryParameters, held: Set<string>): string | null {
  const bound: string[] = [];
  for (const [name, value] of Object.entries(parameters)) {
    if (!NAME.test(name)) throw new TypeError(`no name of a parameter: ${JSON.stringify(name)}`);
    bound.push(`param_${name}=${literal(escapedText(value))}`);
  }
  for (const name of held) if (!Object.hasOwn(parameters, name)) bound.push(`param_${name}=''`);
  held.clear();
  for (const name of Object.keys(parameters)) held.add(name);
  return bound.length === 0 ? null : `SET ${bound.join(', ')}`;
}

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
/** Everything else is written as its bytes in hexadecimal: neither a quote nor a backslash is ever a client's. */
const NOT_PLAIN = /[^A-Za-z0-9_ .,:;/=+@()[\]{}-]+/gu;

/** Text as a literal that ends where it should, whatever it is. */
export const literal = (text: string): string =>
  `'${text.replace(NOT_PLAIN, (run) => Buffer.from(run, 'utf8').toString('hex').replace(/../g, '\\x$&'))}'`;

const ESCAPES: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\t': '\\t',
  '\n': '\\n',
  '\r': '\\r',
  '\b': '\\b',
  '\f': '\\f',
  '\0': '\\0',
};
const SPECIAL = /[\\\t\n\r\b\f\0]/g;
const escaped = (text: string): string => text.replace(SPECIAL, (character) => ESCAPES[character] ?? character);

/** As the engine's TabSeparated has it; strings of an array are quoted. */
function escapedText(value: QueryParameters[string]): string {
  if (value === null) return '\\N';
  if (typeof value === 'string') return escaped(value);
  if (typeof value === 'number') return numberText(value);
  if (typeof value === 'boolean') return value ? '1' : '0';
  return `[${value.map((each) => (typeof each === 'number' ? numberText(each) : `'${escaped(each).replaceAll("'", "\\'")}'`)).join(',')}]`;
}

const numberText = (value: number): string =>
  Number.isFinite(value) ? String(value) : Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
