import { z } from '@hono/zod-openapi';
import { LWM2M_FORMATS } from '@millrace/core';
import { text } from '../http/schemas.ts';

const ID = '(?:0|[1-9]\\d{0,4})';
const ID_MAX = 65_534;
const VALUE_CHARACTERS_MAX = 32_768;
const VALUES_MAX = 256;
const ATTRIBUTES = /^(?:pmin|pmax|gt|lt|st|epmin|epmax)=-?\d{1,15}(?:\.\d{1,15})?$/;

const LEVELS = ['object', 'object instance', 'resource', 'resource instance'] as const;

/** A path into a device: `/3303/0/5700`.
 *  @param levels how deep it may be: 1 an object, 2 an instance, 3 a resource, 4 a resource instance
 *  @source LwM2M Core 1.1 §7.3 */
const path = (...levels: readonly number[]) => {
  const named = levels.map((level) => LEVELS[level - 1]).join(' or ');
  return z
    .string()
    .max(24)
    .regex(new RegExp(`^(?:/${ID}){1,4}$`), 'must be a path, as /3303/0/5700')
    .refine((value) => levels.includes(value.split('/').length - 1), `must be that of an ${named}, as /3303/0/5700`)
    .refine(
      (value) =>
        value
          .split('/')
          .slice(1)
          .every((id) => Number(id) <= ID_MAX),
      `has an id above ${ID_MAX}`,
    );
};
const id = z.string().regex(new RegExp(`^${ID}$`), 'must be the id of a resource, or of one of its instances');
const scalar = z.union([
  text(VALUE_CHARACTERS_MAX),
  z.number(),
  z.boolean(),
  z.strictObject({ base64: z.base64().max(VALUE_CHARACTERS_MAX) }),
]);
const value = scalar.describe(
  'Of the resource: bytes as { "base64": "…" }, an object link as "3303:0", a time as seconds since 1970.',
);
const values = z
  .record(id, z.union([scalar, z.record(id, scalar)]))
  .refine((given) => Object.keys(given).length > 0, 'is empty')
  .refine((given) => Object.keys(given).length <= VALUES_MAX, `holds more than ${VALUES_MAX}`)
  .describe('By the id of the resource, or of the instance of a resource.');
export const attributes = z
  .string()
  .max(256)
  .refine(
    (given) => given.split('&').every((one) => ATTRIBUTES.test(one)),
    'must be of pmin, pmax, gt, lt, st, epmin, epmax, as pmin=10&pmax=60',
  );
const executed = z
  .string()
  .max(1_024)
  .regex(/^\d(?:='[\x21\x23-\x26\x28-\x5b\x5d-\x7e]*')?(?:,\d(?:='[\x21\x23-\x26\x28-\x5b\x5d-\x7e]*')?)*$/, {
    message: "must be digits with texts, as 0='a',1",
  })
  .describe("As 0='a',1.");
export const observablePath = path(1, 2, 3, 4);

const shapes = {
  read: {
    path: path(1, 2, 3, 4),
    format: z
      .enum(LWM2M_FORMATS)
      .optional()
      .describe("The content format to ask for; the server's choice if left out."),
  },
  write: {
    path: path(2, 3, 4),
    value: value.optional(),
    values: values.optional(),
    mode: z.enum(['replace', 'update']).optional().describe('update leaves what is not given (replace).'),
  },
  execute: { path: path(3), arguments: executed.optional() },
  observe: {
    path: observablePath,
    attributes: attributes.optional().describe('Written before: pmin=10&pmax=60.'),
  },
  cancel: { path: path(1, 2, 3, 4).optional().describe('Every observation, if left out.') },
  create: { path: path(1, 2), values: values.optional() },
  delete: { path: path(2, 4) },
  discover: { path: path(1, 2, 3) },
} as const;
export type Lwm2mOperation = keyof typeof shapes;
type Given = Readonly<Record<string, unknown>>;

/** A value where the path is that of one, several where it is that of several. */
function checkWritten({ path: where, value: one, values: several }: Given, context: z.RefinementCtx): void {
  const depth = String(where).split('/').length - 1;
  const wrong = (field: string, message: string): void => context.addIssue({ code: 'custom', path: [field], message });
  if ((one === undefined) === (several === undefined)) wrong('value', 'give it, or values');
  else if (one !== undefined && depth < 3) wrong('value', 'is of a resource: give values, or the path of a resource');
  else if (several !== undefined && depth > 3) wrong('values', 'are of an instance or a resource');
}

/** What an operation takes.  @param more members beside */
export function lwm2mArguments<M extends z.ZodRawShape>(operation: Lwm2mOperation, more: M) {
  const schema = z.strictObject({ ...(shapes[operation] as z.ZodRawShape), ...more });
  return (operation === 'write' ? schema.superRefine(checkWritten) : schema) as z.ZodType<
    Given & { readonly [K in keyof M]: z.output<M[K]> }
  >;
}
