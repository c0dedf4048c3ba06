import { z } from '@hono/zod-openapi';
import { id, page, shared, text } from '../http/schemas.ts';
import { codecKinds, SCRIPT_BYTES_MAX } from './codecs.ts';

const PROFILES_MAX = 100;
/** What LoRaWAN can carry is 242 bytes; other networks of the same codecs a little more. */
const PAYLOAD_BYTES_MAX = 4_096;

const script = text(SCRIPT_BYTES_MAX)
  .refine((value) => Buffer.byteLength(value) <= SCRIPT_BYTES_MAX, `is larger than ${SCRIPT_BYTES_MAX} bytes`)
  .describe(
    'JavaScript with decodeUplink({ bytes, fPort, variables }) and, for downlinks, encodeDownlink({ data, fPort, variables }).',
  );
const members = {
  name: text(256).min(1),
  device_profiles: z
    .array(text(256).min(1))
    .max(PROFILES_MAX)
    .optional()
    .describe('Ids or names of the device profiles whose devices it is for, as their network server says them.'),
  description: text(4_096).optional(),
};
const kind = z.enum(codecKinds);

export const NewCodecBody = z.strictObject({ id: id.optional(), kind, script: script.optional(), ...members });
export const CodecPatchBody = z.strictObject({ ...members, name: members.name.optional(), script: script.optional() });

const { metadata: _metadata, tags: _tags, enabled: _enabled, ...common } = shared;
const CodecSummaryAnswer = z
  .object({ ...common, kind, device_profiles: z.array(z.string()), description: z.string() })
  .openapi('CodecSummary');
export const CodecAnswer = CodecSummaryAnswer.extend({ script: z.string() }).openapi('Codec');
export const CodecsPage = page('codecs', CodecSummaryAnswer);

const port = z.int().min(0).max(255);
export const CodecTestBody = z
  .strictObject({
    codec: z.uuid().optional().describe('One that is there; or else kind and script.'),
    kind: kind.optional(),
    script: script.optional(),
    direction: z.enum(['up', 'down']),
    bytes: text(PAYLOAD_BYTES_MAX * 2)
      .regex(/^(?:(?:[0-9A-Fa-f]{2})*|[0-9A-Za-z+/_-]*={0,2})$/, 'is neither hex nor base64')
      .optional()
      .describe('Of an uplink: hex, or base64 where it can not be hex or encoding says so.'),
    encoding: z.enum(['hex', 'base64']).optional(),
    data: z.unknown().optional().describe('Of a downlink: what shall be encoded.'),
    f_port: port.optional().describe('1 if left out.'),
    variables: z
      .record(text(256), text(4_096))
      .refine((value) => Object.keys(value).length <= 100, 'has more than 100 members')
      .optional(),
  })
  .superRefine(({ codec, kind: of, script: draft, direction, bytes, data, encoding }, context) => {
    const wrong = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
    if (codec === undefined && of === undefined) wrong('codec', 'is missing: name a codec, or give kind and script');
    if (codec !== undefined && of !== undefined) wrong('kind', 'is given beside codec');
    if (codec !== undefined && draft !== undefined) wrong('script', 'is given beside codec');
    if (of === 'javascript' && (draft ?? '').trim() === '') wrong('script', 'is missing');
    if (direction === 'up' && bytes === undefined) wrong('bytes', 'is missing');
    if (direction === 'up' && data !== undefined) wrong('data', 'is for downlinks');
    if (direction === 'down' && data === undefined) wrong('data', 'is missing');
    if (direction === 'down' && bytes !== undefined) wrong('bytes', 'is for uplinks');
    if (encoding === 'hex' && bytes !== undefined && !/^(?:[0-9A-Fa-f]{2})*$/.test(bytes)) wrong('bytes', 'is no hex');
  });
export type CodecTestBody = z.output<typeof CodecTestBody>;

export const CodecTestAnswer = z
  .object({
    data: z.unknown().optional().describe('What an uplink was decoded to; absent where it failed.'),
    bytes: z.string().optional().describe('What a downlink was encoded to, hex; absent where it failed.'),
    f_port: port.nullable().describe('Of a downlink: where it shall be sent, if the codec says so.'),
    warnings: z.array(z.string()),
    errors: z.array(z.string()).describe('What the script did wrong, with the line; empty when all went well.'),
    logs: z.array(z.string()).describe('What it said by console.log.'),
    took_ms: z.number(),
  })
  .openapi('CodecTest');
