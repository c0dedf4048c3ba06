import type { Export } from './export-store.ts';
import type { ExportCompression, ExportFormat } from './schemas.ts';

const ENDINGS: Readonly<Record<ExportFormat, string>> = {
  csv: 'csv',
  ndjson: 'ndjson',
  parquet: 'parquet',
  arrow: 'arrows',
};
const TYPES: Readonly<Record<ExportFormat, string>> = {
  csv: 'text/csv; charset=utf-8; header=present',
  ndjson: 'application/x-ndjson',
  parquet: 'application/vnd.apache.parquet',
  arrow: 'application/vnd.apache.arrow.stream',
};
const COMPRESSED: Readonly<Record<ExportCompression, { ending: string; type: string }>> = {
  gzip: { ending: '.gz', type: 'application/gzip' },
  zstd: { ending: '.zst', type: 'application/zstd' },
};
/** What a file can be. */
export const FILE_TYPES: readonly string[] = [
  ...Object.values(TYPES).map((type) => type.replace(/;.*/, '')),
  ...Object.values(COMPRESSED).map(({ type }) => type),
];
const NAME_CHARACTERS_MAX = 60;

type Form = Pick<Export, 'name' | 'format' | 'compression'>;

/** What the file of a part is called: safe on any disk and in any URL. */
export function nameOf({ name, format, compression }: Form, part: number): string {
  const plain = name
    .normalize('NFKD')
    .replace(/[^\w-]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, NAME_CHARACTERS_MAX);
  const ending = compression === null ? '' : COMPRESSED[compression].ending;
  return `${plain === '' ? 'export' : plain}-${String(part + 1).padStart(4, '0')}.${ENDINGS[format]}${ending}`;
}

export const contentTypeOf = ({ format, compression }: Pick<Form, 'format' | 'compression'>): string =>
  compression === null ? TYPES[format] : COMPRESSED[compression].type;
