import { z } from '@hono/zod-openapi';
import { metadata } from '../http/schemas.ts';
import { lwm2mArguments } from '../lwm2m/arguments.ts';
import { expiresIn } from './expiry.ts';

/** The largest payload of LoRaWAN, at the fastest data rate. @source LoRaWAN Regional Parameters 1.0.3 */
const FRAME_BYTES_MAX = 242;

const downlink = z
  .strictObject({
    data: z
      .base64()
      .max(Math.ceil(FRAME_BYTES_MAX / 3) * 4)
      .optional()
      .describe('The payload in base64.'),
    hex: z
      .string()
      .regex(/^(?:[0-9a-fA-F]{2})*$/, 'must be hex')
      .max(FRAME_BYTES_MAX * 2)
      .optional(),
    object: metadata.optional().describe("For the codec of the device, or the network server's."),
    f_port: z.int().min(1).max(223).optional(),
    confirmed: z.boolean().optional().describe('The device shall acknowledge it.'),
    flush: z.boolean().optional().describe('What waits at the network server is thrown away before.'),
  })
  .refine(
    ({ data, hex, object }) => [data, hex, object].filter((each) => each !== undefined).length === 1,
    'give one of data, hex and object',
  );

/** What somebody wants of a thing: the kind says what the arguments are. */
export const NewCommandBody = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('lora.downlink'), arguments: downlink, expires_in: expiresIn }),
  ...(['read', 'write', 'execute', 'observe', 'cancel', 'create', 'delete', 'discover'] as const).map((operation) =>
    z.strictObject({
      kind: z.literal(`lwm2m.${operation}`),
      arguments: lwm2mArguments(operation, {}),
      expires_in: expiresIn,
    }),
  ),
]);

/** Members of arguments that may be secrets: shown to who may give commands alone. */
const CONFIDENTIAL = new Set(['value', 'values', 'arguments', 'data', 'hex', 'object']);
export const withoutValues = (given: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(given).filter(([name]) => !CONFIDENTIAL.has(name)));
