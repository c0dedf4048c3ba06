/** Words of a statement as ClickHouse reads them, or rather a part of them that leaves no doubt: what is read differently
 *  somewhere (comments within comments, heredocs, typographic quotes) is refused or taken out before the engine sees it. */
export interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'number' | 'parameter' | 'sign';
  /** As the engine is given it. */
  readonly text: string;
  /** Of a quoted word or string: what is between the quotes, escapes resolved. Of a parameter: its name. */
  readonly value: string;
  /** Of a parameter: its type. */
  readonly type: string;
  /** Whether space or a comment stood before it. */
  readonly isSpaced: boolean;
}
export type Lexed =
  | { readonly kind: 'tokens'; readonly tokens: readonly Token[] }
  | { readonly kind: 'refused'; readonly reason: 'syntax' | 'forbidden'; readonly detail: string };

const SPACE = /[ \t\n\r\f\v]+/y;
const COMMENT = /--[^\n]*|\/\*[\s\S]*?\*\//y;
const STRING = /'((?:[^'\\]|\\[\s\S]|'')*)'/y;
const QUOTED = /`((?:[^`\\]|\\[\s\S]|``)*)`|"((?:[^"\\]|\\[\s\S]|"")*)"/y;
const PARAMETER = /\{\s*([A-Za-z_]\w*)\s*:\s*([A-Za-z][\w(),' /]*?)\s*\}/y;
const NUMBER = /0[xX][0-9A-Fa-f]+|0[bB][01]+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const WORD = /[A-Za-z_][A-Za-z0-9_]*/y;
const SIGN = /->|::|<=>|<>|<=|>=|!=|==|\|\||[()[\],.+*/%<>=?:-]/y;

/** A quoted name of letters, digits and a few signs is printed by the engine as one line that cannot be mistaken. */
const PLAIN_NAME = /^[\p{L}\p{N}_][\p{L}\p{N}_ .%°/+-]*$/u;
const NAME_SIZE_MAX = 256;
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '0': '\0', b: '\b', f: '\f' };

const resolved = (text: string, quote: string): string =>
  text
    .replaceAll(quote + quote, quote)
    .replace(/\\([\s\S])/g, (_, character: string) => ESCAPES[character] ?? character);

/** @throws never */
export function lex(statement: string): Lexed {
  const tokens: Token[] = [];
  const refused = (reason: 'syntax' | 'forbidden', detail: string): Lexed => ({ kind: 'refused', reason, detail });
  const text = statement.replace(/[\s;]+$/, '');
  let at = 0;
  let isSpaced = false;
  const take = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found !== null) at = pattern.lastIndex;
    return found;
  };
  const add = (kind: Token['kind'], given: string, value = given, type = ''): void => {
    tokens.push({ kind, text: given, value, type, isSpaced });
    isSpaced = false;
  };
  while (at < text.length) {
    if (take(SPACE) !== null || take(COMMENT) !== null) {
      isSpaced = true;
      continue;
    }
    const start = at;
    let found = take(STRING);
    if (found !== null) {
      add('string', found[0], resolved(found[1] ?? '', "'"));
      continue;
    }
    found = take(QUOTED);
    if (found !== null) {
      const name = resolved(found[1] ?? found[2] ?? '', found[0].charAt(0));
      if (!PLAIN_NAME.test(name) || name.length > NAME_SIZE_MAX)
        return refused(
          'forbidden',
          `the quoted name at position ${start + 1}: only letters, digits, spaces and _ . % ° / + - may stand in one`,
        );
      add('quoted', `\`${name}\``, name);
      continue;
    }
    found = take(PARAMETER);
    if (found !== null) {
      const [, name = '', type = ''] = found;
      if (!isValueType(type))
        return refused('forbidden', `the parameter {${name}:${type}}: parameters stand for values, not for names`);
      add('parameter', `{${name}:${type}}`, name, type);
      continue;
    }
    found = take(WORD);
    if (found !== null) {
      add('word', found[0]);
      continue;
    }
    found = take(NUMBER);
    if (found !== null) {
      add('number', found[0]);
      continue;
    }
    if (text.startsWith('/*', at)) return refused('syntax', `the comment at position ${start + 1} is not closed`);
    found = take(SIGN);
    if (found !== null) {
      add('sign', found[0]);
      continue;
    }
    return refuseAt(text, start, refused);
  }
  return { kind: 'tokens', tokens };
}

function refuseAt(text: string, at: number, refused: (reason: 'syntax' | 'forbidden', detail: string) => Lexed): Lexed {
  const character = String.fromCodePoint(text.codePointAt(at) ?? 0);
  const where = `at position ${at + 1}`;
  if (character === ';') return refused('forbidden', `";" ${where}: one statement at a time`);
  if (character === '$') return refused('forbidden', `"$" ${where}: write strings in '…', without heredocs`);
  if (character === '@' || character === '#') return refused('forbidden', `"${character}" ${where}`);
  if (character === "'" || character === '`' || character === '"')
    return refused('syntax', `the quote ${where} is not closed`);
  if (character === '{') return refused('syntax', `"{" ${where}: a parameter is {name:Type}`);
  const code = `U+${(text.codePointAt(at) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
  if (character > '~' || character < ' ')
    return refused(
      'forbidden',
      `the character ${code} ${where}: outside of strings and quoted names SQL is plain ASCII`,
    );
  return refused('syntax', `"${character}" ${where}`);
}

const TYPE_WORDS = new Set(
  `Bool Int8 Int16 Int32 Int64 Int128 Int256 UInt8 UInt16 UInt32 UInt64 UInt128 UInt256 Float32 Float64 Decimal Decimal32
  Decimal64 Decimal128 Decimal256 String FixedString UUID IPv4 IPv6 Date Date32 DateTime DateTime64 Nullable
  LowCardinality Array Tuple Map`.split(/\s+/),
);

/** Types of values: no Identifier, no states of aggregate functions, nothing that the engine makes up as it reads. */
export const isValueType = (type: string): boolean =>
  [...type.replace(/'[^']*'/g, '').matchAll(/[A-Za-z_]\w*/g)].every(([word]) => TYPE_WORDS.has(word));

export const isWord = (token: Token | undefined, word: string): boolean =>
  token?.kind === 'word' && token.text.toUpperCase() === word;

/** The statement with what is not its own (comments, odd spaces) taken out. */
export const textOf = (tokens: readonly Token[]): string =>
  tokens
    .map(({ text, isSpaced }) => (isSpaced ? ` ${text}` : text))
    .join('')
    .trimStart();
