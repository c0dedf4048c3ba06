import { Refusal } from './refusal.ts';

/** Forms that an answer can have, by the name that `?format=` gives them. The first media type is what is sent; a request
 *  may name any. */
const MEDIA_TYPES = {
  json: ['application/json', 'text/json'],
  ndjson: ['application/x-ndjson', 'application/ndjson', 'application/jsonl', 'application/x-jsonlines'],
  csv: ['text/csv', 'application/csv'],
  arrow: ['application/vnd.apache.arrow.stream'],
  parquet: ['application/vnd.apache.parquet', 'application/x-parquet'],
} as const satisfies Readonly<Record<string, readonly [string, ...string[]]>>;
export type MediaForm = keyof typeof MEDIA_TYPES;

/** What an answer in rows can be, beside JSON. */
export const ROW_TYPES: readonly string[] = (['ndjson', 'csv', 'arrow', 'parquet'] as const).map(
  (form) => MEDIA_TYPES[form][0],
);

/** What stands in Content-Type. */
export const contentTypeOf = (form: MediaForm): string =>
  form === 'csv' ? 'text/csv; charset=utf-8; header=present' : MEDIA_TYPES[form][0];
/** What a file of it is called after its last dot. */
export const fileEndingOf = (form: MediaForm): string => (form === 'arrow' ? 'arrows' : form);

interface Range {
  readonly name: string;
  /** 0 to 1; 0: not this. */
  readonly quality: number;
}
const RANGES_MAX = 64;

/** A field of names with weights, as `Accept` and `Accept-Encoding`. What is malformed counts as not said.
 *  @source RFC 9110 §12.4 */
export function rangesOf(field: string): Range[] {
  const ranges: Range[] = [];
  for (const each of field.split(',', RANGES_MAX)) {
    const [name = '', ...parameters] = each.split(';');
    const range = name.trim().toLowerCase();
    if (range === '') continue;
    const weight = parameters.map((text) => /^\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*$/i.exec(text)?.[1]).find(Boolean);
    ranges.push({ name: range, quality: Math.min(1, weight === undefined ? 1 : Number(weight)) });
  }
  return ranges;
}

/** Chooses the form of an answer: `?format=` if it is given, else what `Accept` likes best; of equals the one that is
 *  offered first, which is also what who says nothing gets.
 *  @throws Refusal 400 an unknown format; 406 nothing fits, naming what there is */
export function negotiated<Form extends MediaForm>(
  request: Request,
  offered: readonly [Form, ...Form[]],
  format?: string,
): Form {
  if (format !== undefined) {
    const asked = offered.find((form) => form === format);
    if (asked !== undefined) return asked;
    throw new Refusal(
      400,
      `There is no format ${JSON.stringify(format.slice(0, 50))} here: there is ${offered.join(', ')}.`,
    );
  }
  const field = request.headers.get('accept');
  if (field === null || field.trim() === '') return offered[0];
  const ranges = rangesOf(field);
  if (ranges.length === 0) return offered[0];
  let best: Form | null = null;
  let bestQuality = 0;
  for (const form of offered) {
    const quality = Math.max(...MEDIA_TYPES[form].map((type) => qualityOf(ranges, type)));
    if (quality > bestQuality) {
      best = form;
      bestQuality = quality;
    }
  }
  if (best !== null) return best;
  const types = offered.map((form) => `${MEDIA_TYPES[form][0]} (format=${form})`);
  throw new Refusal(406, `Nothing that Accept names can be had: there is ${types.join(', ')}.`, { vary: 'Accept' });
}

/** The most specific range decides. */
function qualityOf(ranges: readonly Range[], type: string): number {
  const any = `${type.slice(0, type.indexOf('/'))}/*`;
  const range =
    ranges.find(({ name }) => name === type) ??
    ranges.find(({ name }) => name === any) ??
    ranges.find(({ name }) => name === '*/*' || name === '*');
  return range?.quality ?? 0;
}
