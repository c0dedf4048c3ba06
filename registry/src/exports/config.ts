import { z } from 'zod';

const bytes = (normal: number) => z.coerce.number().int().min(0).default(normal);
const GIB = 1024 ** 3;

/** Settings of this topic: parts of RegistryConfig. */
export const exportsConfig = {
  MILLRACE_EXPORTS_DIRECTORY: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Where files of exports are kept. Several nodes that share it all answer for all of them. Unset: exports in the data directory.',
    ),
  MILLRACE_EXPORTS_FILE_ROWS: z.coerce
    .number()
    .int()
    .min(100)
    .max(100_000_000)
    .default(1_000_000)
    .describe('Rows of one file, about: so much is made again when a node dies, and sorted at a time.'),
  MILLRACE_EXPORTS_BYTES_MAX: bytes(10 * GIB).describe('Bytes that the files of one organisation may take.'),
  MILLRACE_EXPORTS_TOTAL_BYTES_MAX: bytes(50 * GIB).describe(
    'Bytes that all files of exports may take in a directory.',
  ),
  MILLRACE_EXPORTS_FREE_BYTES_MIN: bytes(GIB).describe('Bytes that must stay free on the disk of that directory.'),
  MILLRACE_EXPORTS_S3_BUCKET: z
    .string()
    .min(1)
    .optional()
    .describe('Bucket that exports may go to instead, under <prefix>/<organisation>/. Unset: none may.'),
  MILLRACE_EXPORTS_S3_ENDPOINT: z
    .url({ protocol: /^https?$/ })
    .optional()
    .describe('Of a server that speaks S3 (MinIO, Ceph, R2 …). Unset: that of AWS.'),
  MILLRACE_EXPORTS_S3_REGION: z.string().min(1).default('us-east-1').describe('Region of the bucket.'),
  MILLRACE_EXPORTS_S3_PREFIX: z
    .string()
    .regex(/^[\w!.*'()/-]*$/, 'must be a path of letters, digits and /')
    .default('millrace')
    .transform((value) => value.replace(/^\/+|\/+$/g, ''))
    .describe('What the names of all objects begin with.'),
  MILLRACE_EXPORTS_S3_ACCESS_KEY: z
    .string()
    .min(1)
    .optional()
    .describe('Access key of the bucket. Unset: what the environment, files or the machine give (AWS_… and so on).'),
  MILLRACE_EXPORTS_S3_SECRET_KEY: z.string().min(1).optional().describe('Secret of the access key.'),
};
