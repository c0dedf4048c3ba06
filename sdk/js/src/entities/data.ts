import { List } from '../collection.ts';
import { everyItem } from '../pages.ts';
import type { BodyOf, Json, QueryOf, Schema } from '../schema.ts';
import { type CallOptions, type Query, segment, type Transport } from '../transport.ts';
import { untilOver, type WaitOptions } from '../waiting.ts';

export type Export = Schema<'Export'>;
export type Import = Schema<'Import'>;
export type Deletion = Schema<'Deletion'>;
export type DeletionCount = { readonly found: Readonly<Record<string, number>> };
export type Hold = Schema<'Hold'>;

const isUnderWay = ({ status }: { readonly status: string }): boolean =>
  status === 'waiting' || status === 'running' || status === 'uploading';

/** Answers of any size, as files. */
export class Exports extends List<'exports', Export, QueryOf<'/exports'>> {
  constructor(transport: Transport) {
    super(transport, '/exports', 'exports');
  }

  get(id: string, options: CallOptions = {}): Promise<Export> {
    return this.call('GET', this.at(id), options);
  }

  /** Answers at once; `wait` tells when its files are there. */
  create(body: BodyOf<'/exports', 'post'>, options: CallOptions = {}): Promise<Export> {
    return this.call('POST', this.path, { ...options, body });
  }

  /** Waits for its end, which need not be a good one.  @throws the signal's reason */
  wait(id: string, options: WaitOptions<Export> = {}): Promise<Export> {
    return untilOver(
      (given) => this.get(id, given),
      (one) => !isUnderWay(one),
      options,
    );
  }

  /** A file of it. A header `range` goes on with one that was cut short.  @param name as its `files` tell */
  download(id: string, name: string, options: CallOptions = {}): Promise<Response> {
    const headers = { accept: '*/*', ...options.headers };
    return this.transport.stream('GET', this.at(id, 'files', segment(name)), { ...options, headers });
  }

  /** What it has made is removed. */
  async cancel(id: string, options: CallOptions = {}): Promise<void> {
    await this.call('POST', this.at(id, 'cancel'), options);
  }

  /** With its files. */
  async delete(id: string, options: CallOptions = {}): Promise<void> {
    await this.call('DELETE', this.at(id), options);
  }
}

const WHOLE_BYTES_MAX = 8 * 1_048_576;
const PART_BYTES = 1_048_576;

export interface UploadOptions extends CallOptions {
  readonly onProgress?: (sentBytes: number, bytes: number) => void;
}

/** Files that become readings. The same file for the same channel is the same import. */
export class Imports extends List<'imports', Import, QueryOf<'/imports'>> {
  constructor(transport: Transport) {
    super(transport, '/imports', 'imports');
  }

  get(id: string, options: CallOptions = {}): Promise<Import> {
    return this.call('GET', this.at(id), options);
  }

  /** Sends a file and begins; `wait` tells what it came to. Larger ones go in parts, and go on where they were cut short.
   *  The file is in memory once, for its SHA-256; `millrace import` needs none. */
  async create(
    file: Uint8Array | Blob | string,
    query: QueryOf<'/imports', 'post'>,
    { onProgress, ...options }: UploadOptions = {},
  ): Promise<Import> {
    const bytes =
      typeof file === 'string'
        ? new TextEncoder().encode(file)
        : file instanceof Uint8Array
          ? file
          : new Uint8Array(await file.arrayBuffer());
    const headers = { ...options.headers, 'content-type': 'application/octet-stream' };
    // What is forced is done anew each time.
    const repeatable = query.force === undefined;
    const open = (more: object): Promise<Import> =>
      this.call('POST', this.path, { ...options, repeatable, query: query as Query, ...more });
    if (bytes.length <= WHOLE_BYTES_MAX) return open({ bytes, headers });
    const found = await open({ query: { ...query, sha256: await sha256Of(bytes) } });
    if (found.status !== 'uploading') return found;
    for (let place = 0; place * PART_BYTES < bytes.length; place++) {
      const part = bytes.subarray(place * PART_BYTES, (place + 1) * PART_BYTES);
      if (place >= (found.parts ?? 0))
        await this.call('PUT', this.at(found.id, 'parts', String(place)), { ...options, bytes: part, headers });
      onProgress?.(place * PART_BYTES + part.length, bytes.length);
    }
    return this.call('POST', this.at(found.id, 'start'), options);
  }

  /** Waits for its end, which need not be a good one.  @throws the signal's reason */
  wait(id: string, options: WaitOptions<Import> = {}): Promise<Import> {
    return untilOver(
      (given) => this.get(id, given),
      (one) => !isUnderWay(one),
      options,
    );
  }

  /** Rows that were rejected, and why. */
  errors(id: string, query: Query = {}, options: CallOptions = {}): AsyncGenerator<Json, void, undefined> {
    return everyItem(query, 'errors', (page) => this.call('GET', this.at(id, 'errors'), { ...options, query: page }));
  }

  /** What is on the log stays. */
  async cancel(id: string, options: CallOptions = {}): Promise<void> {
    await this.call('POST', this.at(id, 'cancel'), options);
  }
}

async function sha256Of(bytes: Uint8Array): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as BufferSource));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

type NewDeletion = Omit<BodyOf<'/deletions', 'post'>, 'dry_run'>;

/** Stored data that was deleted, and the proof of it. */
export class Deletions extends List<'deletions', Deletion, QueryOf<'/deletions'>> {
  constructor(transport: Transport) {
    super(transport, '/deletions', 'deletions');
  }

  get(id: string, options: CallOptions = {}): Promise<Deletion> {
    return this.call('GET', this.at(id), options);
  }

  /** What it deletes does not come back. */
  create(body: NewDeletion, options: CallOptions = {}): Promise<Deletion> {
    return this.call('POST', this.path, { ...options, body });
  }

  /** What it would delete. */
  count(body: NewDeletion, options: CallOptions = {}): Promise<DeletionCount> {
    return this.call('POST', this.path, { ...options, body: { ...body, dry_run: true } });
  }

  /** Waits for its end: `remaining` of zeros is the proof.  @throws the signal's reason */
  wait(id: string, options: WaitOptions<Deletion> = {}): Promise<Deletion> {
    return untilOver(
      (given) => this.get(id, given),
      (one) => !isUnderWay(one),
      options,
    );
  }
}

/** Stored data that must stay. */
export class Holds extends List<'holds', Hold, QueryOf<'/holds'>> {
  constructor(transport: Transport) {
    super(transport, '/holds', 'holds');
  }

  get(id: string, options: CallOptions = {}): Promise<Hold> {
    return this.call('GET', this.at(id), options);
  }

  create(body: BodyOf<'/holds', 'post'>, options: CallOptions = {}): Promise<Hold> {
    return this.call('POST', this.path, { ...options, body });
  }

  /** Retention and deletions have it again. */
  release(id: string, options: CallOptions = {}): Promise<Hold> {
    return this.call('DELETE', this.at(id), options);
  }
}
