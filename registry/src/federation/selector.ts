import { Refusal } from '../http/refusal.ts';

/** The one metric: what a series is, its labels tell. */
export const METRIC = 'millrace_reading';
export const labels = ['channel', 'publisher', 'name', 'subtopic', 'unit'] as const;
export type Label = (typeof labels)[number];

/** Values that a label may have; a label that is left out may have any. */
export type Selector = Readonly<Partial<Record<Label, readonly string[]>>>;

const VALUES_MAX = 1_000;
const CHARACTERS_MAX = 16_384;
const NAME = /^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*(?:\{(.*)\})?\s*$/s;
const MATCHER =
  /\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!=|!~|=)\s*(?:"((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)')\s*(,|$)/sy;
/** What a regular expression has beside letters and |. */
const PATTERN = /[.*+?()[\]{}^$\\]/;

/** An instant vector selector, as far as it can be asked of an index: labels that equal a text, or one of several (=~
 *  with alternatives).  @throws Refusal 400  @source Prometheus, Querying basics */
export function parseSelector(text: string): Selector {
  const wrong = (because: string): Refusal =>
    new Refusal(400, `The parameter "match[]" is wrong: ${JSON.stringify(text.slice(0, 100))} ${because}.`);
  if (text.length > CHARACTERS_MAX) throw wrong('is too long');
  const parts = NAME.exec(text);
  if (parts === null) throw wrong('is no selector, as millrace_reading{name="temperature"}');
  const [, name, inner = ''] = parts;
  if (name !== undefined && name !== METRIC) throw wrong(`names another metric than ${METRIC}`);
  if (name === undefined && inner.trim() === '') throw wrong('is empty');
  const selector: Partial<Record<Label, readonly string[]>> = {};
  MATCHER.lastIndex = 0;
  for (let at = 0; inner.slice(at).trim() !== ''; at = MATCHER.lastIndex) {
    const matcher = MATCHER.exec(inner);
    if (matcher === null) throw wrong('is no selector, as millrace_reading{name="temperature"}');
    const [, label = '', operator, double, single] = matcher;
    const value = (double ?? single ?? '').replaceAll(/\\(.)/gs, (_, each: string) => (each === 'n' ? '\n' : each));
    if (label === '__name__' && operator === '=' && value === METRIC) continue;
    const known = labels.find((each) => each === label);
    if (known === undefined) throw wrong(`has a label that is none of ${labels.join(', ')}`);
    if (operator === '!=' || operator === '!~') throw wrong('leaves out, which can not be asked: say what is meant');
    if (operator === '=~' && PATTERN.test(value)) throw wrong('has a pattern: only texts with | between can be asked');
    const values = operator === '=~' ? value.split('|') : [value];
    if (values.length > VALUES_MAX) throw wrong('has too many values');
    if (value.includes('\0')) throw wrong('holds a character that can not be kept');
    const before = selector[known];
    selector[known] = before === undefined ? values : before.filter((each) => values.includes(each));
  }
  return selector;
}
