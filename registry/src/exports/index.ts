import { join } from 'node:path';
import type { Parts, Topic } from '../parts.ts';
import { type Bucket, openBucket } from './bucket.ts';
import { createExportStore, type ExportStore } from './export-store.ts';
import { openPlace, type Place, Room, sweepPlace } from './place.ts';

/** Answers that are written to files. */
export interface Exports extends Topic {
  readonly store: ExportStore;
  /** Where this node keeps files, and what room there is; null: nowhere. */
  readonly place: () => { readonly place: Place; readonly room: Room } | null;
  readonly bucket: Bucket | null;
  /** Rows of one file, about. */
  readonly fileRows: number;
}

const SWEEP_MS = 60_000;

export function createExports({ database, feed, config, directory, logger }: Parts): Exports {
  const store = createExportStore(database, feed);
  const own = config.MILLRACE_EXPORTS_DIRECTORY ?? (directory === null ? null : join(directory, 'exports'));
  let opened: { place: Place; room: Room } | null = null;
  let timer: NodeJS.Timeout | undefined;
  let sweeping: Promise<void> = Promise.resolve();
  const bucket =
    config.MILLRACE_EXPORTS_S3_BUCKET === undefined
      ? null
      : openBucket({
          bucket: config.MILLRACE_EXPORTS_S3_BUCKET,
          endpoint: config.MILLRACE_EXPORTS_S3_ENDPOINT,
          region: config.MILLRACE_EXPORTS_S3_REGION,
          prefix: config.MILLRACE_EXPORTS_S3_PREFIX,
          accessKey: config.MILLRACE_EXPORTS_S3_ACCESS_KEY,
          secretKey: config.MILLRACE_EXPORTS_S3_SECRET_KEY,
        });
  return {
    store,
    place: () => opened,
    bucket,
    fileRows: config.MILLRACE_EXPORTS_FILE_ROWS,
    async start() {
      if (own === null) return;
      try {
        const place = await openPlace(own);
        const room = new Room(place, {
          org: config.MILLRACE_EXPORTS_BYTES_MAX,
          all: config.MILLRACE_EXPORTS_TOTAL_BYTES_MAX,
          free: config.MILLRACE_EXPORTS_FREE_BYTES_MIN,
        });
        opened = { place, room };
        const sweep = (): Promise<void> =>
          sweepPlace(place, store.alive).catch((error) => logger.warn({ err: error }, 'can not remove old exports'));
        sweeping = sweep();
        timer = setInterval(() => {
          sweeping = sweeping.then(sweep);
        }, SWEEP_MS);
        timer.unref();
      } catch (error) {
        logger.error({ err: error, directory: own }, 'there is no directory for exports: none can be made here');
      }
    },
    async stop() {
      clearInterval(timer);
      await sweeping;
      bucket?.close();
    },
  };
}
