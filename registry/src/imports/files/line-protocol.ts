import { type Entry, type EntryReading, isName, rejected } from '../entries.ts';
import type { Mapping } from '../mapping.ts';
import { readTime } from '../time.ts';
import { linesOf, unreadable } from './text.ts';

/** One point of line protocol.  @shape time: as it is written; null if it says none */
export interface Point {
  readonly measurement: string;
  readonly tags: ReadonlyMap<string, string>;
  readonly fields: readonly (readonly [name: string, value: number | boolean | string])[];
  readonly time: string | null;
}

const NUMBER = /^-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
const INTEGER = /^-?\d{1,20}[iu]$/;
const TRUTH: Readonly<Record<string, boolean>> = {
  t: true,
  T: true,
  true: true,
  True: true,
  TRUE: true,
  f: false,
  F: false,
  false: false,
  False: false,
  FALSE: false,
};

/** @returns why it is none  @source the InfluxDB line protocol: `measurement[,tag=value…] field=value[,…] [time]` */
export function parsePoint(text: string): Point | string {
  let at = 0;
  /** Up to one of `ends` that no backslash stands before; a backslash before anything else is itself. */
  const token = (ends: string): string => {
    let out = '';
    while (at < text.length) {
      const one = text[at] as string;
      if (one === '\\' && at + 1 < text.length && ', =\\'.includes(text[at + 1] as string)) {
        out += text[at + 1];
        at += 2;
        continue;
      }
      if (ends.includes(one)) break;
      out += one;
      at++;
    }
    return out;
  };
  const measurement = token(', ');
  if (measurement === '') return 'it names no measurement';
  const tags = new Map<string, string>();
  while (text[at] === ',') {
    at++;
    const key = token('=, ');
    if (text[at] !== '=' || key === '') return 'a tag has no value';
    at++;
    tags.set(key, token(', '));
  }
  while (text[at] === ' ') at++;
  const fields: [string, number | boolean | string][] = [];
  for (;;) {
    const key = token('=, ');
    if (text[at] !== '=' || key === '') return 'a field has no value';
    at++;
    let value: number | boolean | string | null;
    if (text[at] === '"') {
      value = '';
      at++;
      while (at < text.length && text[at] !== '"') {
        if (text[at] === '\\' && (text[at + 1] === '"' || text[at + 1] === '\\')) at++;
        value += text[at++];
      }
      if (at >= text.length) return 'a quote is opened and never closed';
      at++;
    } else value = literal(token(', '));
    if (value === null) return `the value of "${key.slice(0, 80)}" can not be read`;
    fields.push([key, value]);
    if (text[at] !== ',') break;
    at++;
  }
  if (at < text.length && text[at] !== ' ') return 'something stands right behind a closing quote';
  const time = text.slice(at).trim();
  if (time !== '' && !/^-?\d{1,20}$/.test(time))
    return `the time ${JSON.stringify(time.slice(0, 60))} is no whole number`;
  return { measurement, tags, fields, time: time === '' ? null : time };
}

function literal(text: string): number | boolean | null {
  if (Object.hasOwn(TRUTH, text)) return TRUTH[text] as boolean;
  const number = NUMBER.test(text) ? Number(text) : INTEGER.test(text) ? Number(text.slice(0, -1)) : Number.NaN;
  return Number.isFinite(number) ? number : null;
}

export async function* lineProtocolEntries(parts: AsyncIterable<string>, mapping: Mapping): AsyncGenerator<Entry[]> {
  // Numbers of this protocol are ns unless told otherwise.
  const format = mapping.timeFormat === 'auto' || mapping.timeFormat === 'rfc3339' ? 'ns' : mapping.timeFormat;
  for await (const lines of linesOf(parts)) {
    const entries: Entry[] = [];
    for (const { line, text, tooLong } of lines) {
      if (text.startsWith('#') || text.trim() === '') continue;
      const wrong = tooLong ? 'the line is too long' : unreadable(text);
      entries.push(wrong === null ? entryOf(line, text) : rejected(line, wrong, text));
    }
    yield entries;
  }

  function entryOf(line: number, text: string): Entry {
    const point = parsePoint(text.trim());
    if (typeof point === 'string') return rejected(line, point, text);
    if (point.time === null) return rejected(line, 'there is no time', text);
    const timeUs = readTime(point.time, format, 'UTC');
    if (typeof timeUs === 'string') return rejected(line, timeUs, text);
    const readings: EntryReading[] = [];
    for (const [field, value] of point.fields) {
      const name = named(mapping.template, point, field);
      if (!isName(name))
        return rejected(line, `${JSON.stringify(name.slice(0, 80))} can not be the name of a reading`, text);
      readings.push({ name, unit: '', value });
    }
    const tag = (key: string | null): string | null => (key === null ? null : (point.tags.get(key) ?? null));
    return {
      kind: 'row',
      line,
      publisher: tag(mapping.publisher),
      subtopic: tag(mapping.subtopic),
      timeUs,
      readings,
    };
  }
}

const named = (template: string, point: Point, field: string): string =>
  template.replaceAll(/\{([^{}]+)\}/g, (_, key: string) =>
    key === 'measurement' ? point.measurement : key === 'field' ? field : (point.tags.get(key) ?? ''),
  );
