import { z } from '@hono/zod-openapi';
import { StatementBody } from '../access/documents.ts';
import { NewPolicyBody } from '../access/schemas.ts';
import { text } from '../http/schemas.ts';
import { NewChannelBody, NewGroupBody, NewThingBody } from '../inventory/schemas.ts';
import { NewRoleBody } from '../people/schemas.ts';

/** How an organisation is written down as one document. Members that are left out are left as they are. */

/** Entities of one manifest. */
export const ENTITIES_MAX = 10_000;
/** Connections of one manifest, each pair counted. */
export const CONNECTIONS_MAX = 100_000;

/** A path or a name can not be longer than this many levels of names. */
const reference = text(8_192).min(1);
const types = z
  .array(z.enum(['publish', 'subscribe']))
  .min(1)
  .max(2);
const group = reference.nullable().optional().describe('Its path, as plant/hall-1, or its id; null: in none.');
const list = <S extends z.ZodType>(one: S) => z.array(one).max(ENTITIES_MAX).optional();

const { id, name, description, enabled, metadata, tags } = NewGroupBody.shape;
const GroupEntry = z
  .strictObject({
    id,
    name,
    description,
    enabled,
    metadata,
    tags,
    path: reference.optional().describe('Instead of a name: where it is in the tree, as plant/hall-1.'),
    get groups() {
      return z.optional(z.array(GroupEntry));
    },
  })
  .openapi('ManifestGroup');
const RoleEntry = NewRoleBody;
const ChannelEntry = z.strictObject({ ...NewChannelBody.omit({ group_id: true }).shape, group });
const ThingEntry = z.strictObject({
  ...NewThingBody.omit({ group_id: true, gateway: true }).shape,
  group,
  gateway: reference.nullable().optional().describe('Name or id of the thing that it is reached through.'),
  channels: z
    .array(z.strictObject({ channel: reference.describe('Name, alias or id.'), types: types.optional() }))
    .max(ENTITIES_MAX)
    .optional()
    .describe('What it is connected with.'),
});
const references = z.array(reference).min(1).max(ENTITIES_MAX);
const ConnectionEntry = z.strictObject({
  things: references.describe('Names or ids.'),
  channels: references.describe('Names, aliases or ids.'),
  types: types.optional().describe('Both if left out.'),
});
const AttachEntry = z
  .strictObject({
    thing: reference.optional(),
    app: reference.optional(),
    group: reference.optional().describe('Path or id.'),
    role: reference.optional().describe('owner, admin, editor, viewer, or one of the organisation’s own.'),
    user: reference.optional().describe('E-mail or id of a member.'),
  })
  .refine((entry) => Object.keys(entry).length === 1, 'must name one thing, app, group, role or user');
const StatementEntry = z.strictObject({
  ...StatementBody.shape,
  resources: z
    .array(reference)
    .min(1)
    .max(100)
    .describe('As in any policy; or by names: channels/{temperatures}/messages/*, group:{plant/hall-1}/things/*.'),
});
const PolicyEntry = z.strictObject({
  ...NewPolicyBody.shape,
  statements: z.array(StatementEntry).min(1).max(100),
  attach: z.array(AttachEntry).max(ENTITIES_MAX).optional(),
});

export const ManifestBody = z
  .strictObject({
    version: z.literal(1),
    org: text(1_024).optional().describe('Name, alias or id of the organisation that it is for.'),
    groups: list(GroupEntry),
    roles: list(RoleEntry),
    channels: list(ChannelEntry),
    things: list(ThingEntry),
    connections: list(ConnectionEntry),
    policies: list(PolicyEntry),
  })
  .openapi('Manifest');
export type ManifestInput = z.output<typeof ManifestBody>;
export type GroupInput = z.output<typeof GroupEntry>;
export type StatementInput = z.output<typeof StatementEntry>;
export type AttachInput = z.output<typeof AttachEntry>;

const prune = z
  .boolean()
  .optional()
  .describe('Also delete what the manifest does not name, of the kinds that it has a list of.');
export const PlanBody = z.strictObject({ manifest: ManifestBody, prune });
export const ApplyBody = z.strictObject({
  manifest: ManifestBody,
  prune,
  if_version: z
    .string()
    .max(128)
    .optional()
    .describe('Of the plan that was looked at: refused (412) if the organisation was changed since.'),
});

export const changeKinds = ['group', 'role', 'channel', 'thing', 'connection', 'policy', 'attachment'] as const;
export const PlanAnswer = z
  .object({
    changes: z.array(
      z.object({
        action: z.enum(['create', 'update', 'delete']),
        kind: z.enum(changeKinds),
        name: z.string(),
        id: z.uuid().optional().describe('Absent where it is not known before it is made, and of what has none.'),
        before: z.record(z.string(), z.unknown()).optional(),
        after: z.record(z.string(), z.unknown()).optional(),
        fields: z.array(z.string()).describe('What an update changes, as paths. Keys are told by their name alone.'),
      }),
    ),
    summary: z.object({ create: z.int(), update: z.int(), delete: z.int(), unchanged: z.int() }),
    version: z.string().describe('Of all that a manifest can tell of the organisation.'),
  })
  .openapi('ManifestPlan');

const onOff = z
  .enum(['true', 'false'])
  .transform((value) => value === 'true')
  .optional();
export const manifestKinds = ['groups', 'roles', 'channels', 'things', 'connections', 'policies'] as const;
export type ManifestKind = (typeof manifestKinds)[number];
export const ManifestQuery = z.object({
  kinds: text(128)
    .transform((value) => value.split(','))
    .pipe(z.array(z.enum(manifestKinds)).min(1))
    .optional()
    .describe('Only these lists, separated by commas: groups, roles, channels, things, connections, policies.'),
  ids: onOff.describe('true: with all ids; else only where a name alone would not do.'),
  keys: onOff.describe('true: with the keys of things. Needs the right to update each of them.'),
  full: onOff.describe('true: also what is as it would be if left out.'),
});
