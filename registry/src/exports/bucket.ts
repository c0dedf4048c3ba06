import { createReadStream } from 'node:fs';
import type { S3Client } from '@aws-sdk/client-s3';

export interface BucketOptions {
  readonly bucket: string;
  readonly endpoint: string | undefined;
  readonly region: string;
  readonly prefix: string;
  readonly accessKey: string | undefined;
  readonly secretKey: string | undefined;
}
/** A bucket of a store that speaks S3. */
export interface Bucket {
  /** Where an object of an organisation is.  @param path below the organisation's own prefix */
  urlOf(org: string, path: string): string;
  /** Sends a file, in parts that are taken back if it does not come to its end.
   *  @param sha256 hex, kept beside the object  @throws what the store says; the signal's reason */
  put(url: string, path: string, about: { contentType: string; sha256: string }, signal: AbortSignal): Promise<void>;
  /** What is not there is no fault. */
  delete(url: string): Promise<void>;
  close(): void;
}

/** In memory: so many parts of such a size. */
const PART_SIZE = 8 * 1024 * 1024;
const PARTS_AT_ONCE = 2;

/** The client is loaded with the first object. */
export function openBucket(options: BucketOptions): Bucket {
  const { bucket, endpoint, region, prefix, accessKey, secretKey } = options;
  let client: Promise<S3Client> | null = null;

  async function load(): Promise<S3Client> {
    const { S3Client: Client } = await import('@aws-sdk/client-s3');
    return new Client({
      region,
      ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
      ...(accessKey === undefined || secretKey === undefined
        ? {}
        : { credentials: { accessKeyId: accessKey, secretAccessKey: secretKey } }),
      // Servers other than Amazon's do not all know the newer checksums.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }
  const opened = (): Promise<S3Client> => {
    client ??= load();
    return client;
  };
  const keyOf = (url: string): string => url.slice(`s3://${bucket}/`.length);

  return {
    urlOf: (org, path) => `s3://${bucket}/${[prefix, org, path].filter((part) => part !== '').join('/')}`,

    async put(url, path, { contentType, sha256 }, signal) {
      const [{ Upload }, own] = await Promise.all([import('@aws-sdk/lib-storage'), opened()]);
      signal.throwIfAborted();
      const body = createReadStream(path, { highWaterMark: PART_SIZE / 8 });
      const upload = new Upload({
        client: own,
        params: { Bucket: bucket, Key: keyOf(url), Body: body, ContentType: contentType, Metadata: { sha256 } },
        partSize: PART_SIZE,
        queueSize: PARTS_AT_ONCE,
      });
      const abort = (): void => void upload.abort().catch(() => undefined);
      signal.addEventListener('abort', abort, { once: true });
      try {
        await upload.done();
      } finally {
        signal.removeEventListener('abort', abort);
        body.destroy();
      }
    },

    async delete(url) {
      // Of a bucket that the platform was configured with before.
      if (!url.startsWith(`s3://${bucket}/`)) return;
      const [{ DeleteObjectCommand }, own] = await Promise.all([import('@aws-sdk/client-s3'), opened()]);
      await own.send(new DeleteObjectCommand({ Bucket: bucket, Key: keyOf(url) }));
    },

    close() {
      void client?.then((own) => own.destroy());
    },
  };
}
