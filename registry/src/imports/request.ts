import { createHash } from 'node:crypto';
import { z } from '@hono/zod-openapi';
import { DateTime } from 'luxon';
import { Refusal } from '../http/refusal.ts';
import { text } from '../http/schemas.ts';
import { type FileFormat, fileFormats, type Mapping } from './mapping.ts';
import { type ImportTimeFormat, timeFormats } from './time.ts';

/** All that an import was asked with, beside the file. */
export interface ImportRequest {
  readonly mapping: Mapping;
  /** In whose name what names none is imported: a thing; null: who asked. */
  readonly publisher: string | null;
  readonly subtopic: string;
  readonly dryRun: boolean;
  /** Of rows; null: as fast as it goes.  @units 1/s */
  readonly rowsPerSecondMax: number | null;
  /** For people. */
  readonly fileName: string | null;
}

const flag = z.enum(['true', 'false']).optional();
const column = z.string().min(1).max(1_024);

export const ImportQuery = z.object({
  channel: text(128).min(1).describe('Id or alias of the channel that the readings go to.'),
  format: z.enum(fileFormats).optional().describe('What the file is; left out, it is told by the name of the file.'),
  file: text(1_024).optional().describe('Name of the file, for people and for its format.'),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be 64 hexadecimal digits in lower case')
    .optional()
    .describe('Of the file as it is sent. Needed where it comes in parts.'),
  publisher: text(1_024)
    .optional()
    .describe('Thing (id, external id or name) in whose name rows are imported that name none; you, if left out.'),
  subtopic: text(256).optional().describe('Of rows that name none.'),
  map: text(8_192)
    .optional()
    .describe(
      'Which column is what, as time=ts,name=sensor,value=val: of time, name, value, unit, publisher, subtopic.',
    ),
  columns: text(65_536)
    .optional()
    .describe(
      'Columns that are a reading each, and their names: temp=temperature[Cel],hum. All that mean nothing else, if left out.',
    ),
  time_format: z.enum(timeFormats).optional().describe('auto, if left out: numbers by their size.'),
  time_zone: z
    .string()
    .max(64)
    .refine((zone) => DateTime.local({ zone }).isValid, 'is no time zone')
    .optional()
    .describe('Of times that say no offset, as Europe/Berlin (UTC).'),
  delimiter: text(1)
    .refine((one) => one.length === 1 && !'"\r\n'.includes(one), 'must be one character, and no quote')
    .optional()
    .describe('Of CSV; told by its first line, if left out.'),
  template: text(256)
    .optional()
    .describe('Of line protocol: how a name is made ({measurement}/{field}); {tag} is the value of a tag.'),
  rate: z
    .string()
    .regex(/^[1-9]\d{0,8}$/, 'must be a whole number from 1')
    .transform(Number)
    .optional()
    .describe('Rows a second at most.'),
  dry_run: flag.describe('true: the file is read and checked, nothing is stored.'),
  force: flag.describe('true: also where the same file has been imported the same way; its readings are stored again.'),
  org: z.uuid().optional().describe('The organisation, if you are a member of several.'),
});

/** @throws Refusal 400 */
export function requestOf(query: z.output<typeof ImportQuery>): ImportRequest {
  const map = pairs(query.map ?? '', 'map');
  const places = ['time', 'name', 'value', 'unit', 'publisher', 'subtopic'];
  const odd = map.find(([what]) => !places.includes(what));
  if (odd !== undefined)
    throw new Refusal(400, `The parameter "map" is wrong: ${JSON.stringify(odd[0])} is none of ${places.join(', ')}.`);
  const mapped = Object.fromEntries(map);
  const of = (what: string): string | null => mapped[what] ?? null;
  return {
    mapping: {
      format: query.format ?? formatOf(query.file),
      time: of('time'),
      name: of('name'),
      value: of('value'),
      unit: of('unit'),
      publisher: of('publisher'),
      subtopic: of('subtopic'),
      columns: query.columns === undefined ? null : pairs(query.columns, 'columns', true),
      timeFormat: (query.time_format ?? 'auto') satisfies ImportTimeFormat,
      timeZone: query.time_zone ?? 'UTC',
      delimiter: query.delimiter ?? null,
      template: query.template ?? '{measurement}/{field}',
    },
    publisher: query.publisher ?? null,
    subtopic: query.subtopic ?? '',
    dryRun: query.dry_run === 'true',
    rowsPerSecondMax: query.rate ?? null,
    fileName: query.file ?? null,
  };
}

/** Of what changes which readings are stored: the same file with the same digest is the same import. */
export function digestOf({ mapping, publisher, subtopic, dryRun }: ImportRequest, importer: string): string {
  // What names no publisher is imported as who asks.
  const told = JSON.stringify({ mapping, publisher: publisher ?? importer, subtopic, dryRun });
  return createHash('sha256').update(told).digest('hex').slice(0, 32);
}

/** @param alone a name may stand for itself */
function pairs(given: string, parameter: string, alone = false): [string, string][] {
  return given
    .split(',')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const at = pair.indexOf('=');
      const [left, right] = at < 0 && alone ? [pair, pair] : [pair.slice(0, at), pair.slice(at + 1)];
      if ((at < 0 && !alone) || !column.safeParse(left).success || !column.safeParse(right).success)
        throw new Refusal(
          400,
          `The parameter "${parameter}" is wrong: ${JSON.stringify(pair.slice(0, 80))} is no pair a=b.`,
        );
      return [left, right];
    });
}

const ENDINGS: readonly (readonly [RegExp, FileFormat])[] = [
  [/\.(csv|tsv)$/, 'csv'],
  [/\.(ndjson|jsonl)$/, 'ndjson'],
  [/\.parquet$/, 'parquet'],
  [/\.(lp|line|influx|lineprotocol)$/, 'lineprotocol'],
  [/\.(senml|senmlc|json|cbor)$/, 'senml'],
];

/** By how a file is called.  @throws Refusal 400 */
function formatOf(file: string | undefined): FileFormat {
  const bare = (file ?? '').toLowerCase().replace(/\.(gz|zst|zstd)$/, '');
  const found = ENDINGS.find(([ending]) => ending.test(bare));
  if (found === undefined) throw new Refusal(400, `Say what the file is: format= one of ${fileFormats.join(', ')}.`);
  return found[1];
}
