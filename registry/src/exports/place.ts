import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { isUuid } from '@millrace/core';
import { ExportFailure } from './failure.ts';

/** A directory with the files of exports, each in the folder of its export. Nodes that share it know it by its id. */
export interface Place {
  readonly id: string;
  readonly directory: string;
  fileOf(exportId: string, name: string): string;
}

export async function openPlace(directory: string): Promise<Place> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, 'place');
  try {
    const handle = await open(path, 'wx', 0o600);
    await handle.writeFile(`${randomUUID()}\n`);
    await handle.sync();
    await handle.close();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  const id = (await readFile(path, 'utf8')).trim();
  if (!isUuid(id)) throw new Error(`${path} holds no id: remove it`);
  return { id, directory, fileOf: (exportId, name) => join(directory, exportId, name) };
}

/** Bytes that what is being written takes, of one organisation and of all, so that who writes at the same time stops in
 *  time. */
export class Room {
  readonly #place: Place;
  readonly #limits: { readonly org: number; readonly all: number; readonly free: number };
  readonly #writing = new Map<string, number>();

  constructor(place: Place, limits: { readonly org: number; readonly all: number; readonly free: number }) {
    this.#place = place;
    this.#limits = limits;
  }

  /** @param taken by files that are there already  @returns to be told of each bytes, before they are written; and when
   *  they are counted among what is taken, or gone */
  async enter(
    org: string,
    taken: { readonly org: number; readonly all: number },
  ): Promise<{ take(bytes: number): Promise<void>; leave(): void }> {
    let own = 0;
    let looked = 0;
    const look = async (): Promise<void> => {
      const { bavail, bsize } = await statfs(this.#place.directory);
      if (bavail * bsize < this.#limits.free)
        throw new ExportFailure('The disk of the node is nearly full: it is not filled with exports. Ask who runs it.');
    };
    await look();
    return {
      take: async (bytes) => {
        own += bytes;
        looked += bytes;
        this.#writing.set(org, (this.#writing.get(org) ?? 0) + bytes);
        if (taken.org + (this.#writing.get(org) ?? 0) > this.#limits.org)
          throw new ExportFailure(
            `The files of the organisation's exports would take more than ${this.#limits.org} bytes: delete some, ask for less, or compress.`,
          );
        if (taken.all + [...this.#writing.values()].reduce((sum, each) => sum + each, 0) > this.#limits.all)
          throw new ExportFailure('There is no room for more exports now: ask again when others have expired.');
        if (looked < LOOK_BYTES) return;
        looked = 0;
        await look();
      },
      leave: () => {
        const left = (this.#writing.get(org) ?? 0) - own;
        if (left > 0) this.#writing.set(org, left);
        else this.#writing.delete(org);
        own = 0;
      },
    };
  }
}
const LOOK_BYTES = 16 * 1024 * 1024;

/** Removes the folders of exports that nobody may ask for any more.  @param alive tells which of them are left */
export async function sweepPlace(place: Place, alive: (ids: readonly string[]) => Promise<string[]>): Promise<void> {
  const found = (await readdir(place.directory)).filter(isUuid);
  for (let at = 0; at < found.length; at += SWEPT_AT_ONCE) {
    const ids = found.slice(at, at + SWEPT_AT_ONCE);
    const left = new Set(await alive(ids));
    for (const id of ids) if (!left.has(id)) await rm(join(place.directory, id), { recursive: true, force: true });
  }
}
const SWEPT_AT_ONCE = 500;
