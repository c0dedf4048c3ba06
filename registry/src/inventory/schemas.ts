import { z } from '@hono/zod-openapi';
import { bulk, count, id, metadata, PageQuery, page, StatusListQuery, shared, tags, text } from '../http/schemas.ts';
import { RETENTION_DAYS_MAX } from '../retention/config.ts';
import { thingTypes } from './things.ts';

const GIVEN_KEY_CHARACTERS_MIN = 8;
const OVERLAP_SECONDS_MAX = 7 * 86_400;
const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

const key = text(256)
  .min(GIVEN_KEY_CHARACTERS_MIN)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII without spaces');
const groupId = z.uuid().nullable().optional().describe('The group that it is in.');
const onOff = z
  .enum(['true', 'false'])
  .transform((value) => value === 'true')
  .optional();

export const NewThingBody = z.strictObject({
  id: id.optional(),
  key: key.optional().describe('Left out, a 256-bit random one is made.'),
  name: text(1_024).optional(),
  type: z.enum(thingTypes).optional(),
  enabled: z.boolean().optional(),
  metadata: metadata.optional(),
  tags: tags.optional(),
  external_id: text(256).min(1).nullable().optional().describe('What others know it by; unique in the organisation.'),
  external_key: key.optional().describe('Proves who says the external_id. Made if left out where there is one.'),
  group_id: groupId,
  gateway: z.uuid().nullable().optional().describe('The thing of type gateway that it is reached through.'),
});
export const ThingPatchBody = NewThingBody.omit({ id: true, key: true });
export const KeyBody = z.strictObject({
  key: key.optional().describe('Left out, a 256-bit random one is made.'),
  overlap_seconds: z
    .int()
    .min(0)
    .max(OVERLAP_SECONDS_MAX)
    .optional()
    .describe('So long the old key holds beside the new one (0: it is void at once, and what it opened is cut).'),
});

const PresenceAnswer = z.object({
  online: z.boolean(),
  online_since: z.iso.datetime().nullable(),
  last_seen: z.iso.datetime().nullable(),
  protocol: z.string().nullable().describe('By which it was last heard of.'),
  address: z.string().nullable(),
});
export const ThingPresenceAnswer = PresenceAnswer.openapi('Presence');
export const ThingAnswer = z
  .object({
    ...shared,
    type: z.enum(thingTypes),
    external_id: z.string().nullable(),
    group_id: z.uuid().nullable(),
    gateway: z.uuid().nullable(),
    presence: PresenceAnswer,
    key: z.string().optional().describe('Only to who may update the thing.'),
    previous_key_until: z.iso.datetime().optional().describe('Until then the key before this one holds too.'),
    external_key: z.string().optional().describe('Only to who may update the thing.'),
  })
  .openapi('Thing');
export const ThingListQuery = StatusListQuery.extend({
  type: z.enum(thingTypes).optional().describe('All if left out.'),
  group: z.uuid().optional().describe('Those in this group.'),
  below: onOff.describe('With group: also those in groups below it.'),
  gateway: z.uuid().optional().describe('Those that are reached through this thing.'),
  online: onOff.describe('Those that are connected now, or that are not.'),
});

/** As the ingress takes it in a path. */
const alias = text(128).regex(
  /^(?![0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$)[\p{L}\p{N}._~@:-]+$/u,
  'must be no UUID and hold only letters, digits and . _ ~ @ : -',
);
const contentType = text(128).regex(/^[\w.+-]+\/[\w.+-]+$/, 'must be a media type without parameters');

const profile = z
  .strictObject({
    time_field: text(256)
      .min(1)
      .optional()
      .describe('Member of JSON messages that holds their time; a path with dots.'),
    time_format: z.enum(['s', 'ms', 'us', 'ns', 'rfc3339']).optional().describe('Of time_field.'),
    fields: z
      .array(text(256).min(1))
      .max(1_000)
      .optional()
      .describe('Names of readings that are kept; a * at the end stands for any rest. All if left out.'),
    keep_raw: z.boolean().optional().describe('Keep the payload too, whatever its content type.'),
    retention_days: z
      .int()
      .min(1)
      .max(RETENTION_DAYS_MAX)
      .optional()
      .describe('Delete what is stored after so long. Left out, what the organisation says holds.'),
    rollup_retention_days: z
      .int()
      .min(1)
      .max(RETENTION_DAYS_MAX)
      .optional()
      .describe('Keep rollups and last values so long, if that is longer.'),
  })
  .describe('How messages are read and kept.');
const limits = z
  .strictObject({
    messages_per_second: z.number().min(0.01).max(1_000_000).optional().describe('On each node.'),
    payload_bytes_max: z.int().min(1).max(PAYLOAD_BYTES_MAX).optional(),
  })
  .describe("What publishers may ask of the channel; the node's own limits hold beside.");

export const NewChannelBody = z.strictObject({
  id: id.optional(),
  name: text(1_024).optional(),
  alias: alias.nullable().optional().describe('May stand for the id; unique in the organisation.'),
  enabled: z.boolean().optional(),
  metadata: metadata.optional(),
  tags: tags.optional(),
  content_type: contentType.nullable().optional().describe('Of messages that name none.'),
  group_id: groupId,
  profile: profile.optional(),
  limits: limits.optional(),
});
export const ChannelPatchBody = NewChannelBody.omit({ id: true });
export const ChannelDeletionQuery = z.object({
  data: z
    .enum(['keep', 'delete'])
    .optional()
    .describe('What becomes of what is stored of it: keep if left out; delete needs deletions.create.'),
});
export const ChannelAnswer = z
  .object({
    ...shared,
    alias: z.string().nullable(),
    content_type: z.string().nullable(),
    group_id: z.uuid().nullable(),
    profile: z.object(profile.shape),
    limits: z.object(limits.shape),
  })
  .openapi('Channel');
export const ChannelListQuery = StatusListQuery.extend({
  group: z.uuid().optional().describe('Those in this group.'),
  below: onOff.describe('With group: also those in groups below it.'),
});

const references = z.array(text(128).min(1)).min(1).max(1_000);
const types = z.array(z.enum(['publish', 'subscribe']));
export const ConnectBody = z
  .strictObject({
    channel_ids: references.describe('Ids or aliases.'),
    thing_ids: z.array(z.uuid()).min(1).max(1_000),
    types: types.min(1).max(2).optional().describe('Both if left out.'),
  })
  .refine((body) => body.channel_ids.length * body.thing_ids.length <= 10_000, 'connects more than 10000 pairs');
export const ConnectAnswer = z
  .object({ channel_ids: z.array(z.uuid()), thing_ids: z.array(z.uuid()), types })
  .openapi('Connect');
export const ConnectedAnswer = z
  .object({ id: z.uuid(), name: z.string(), enabled: z.boolean(), types })
  .openapi('Connected');
export const ConnectedQuery = PageQuery.extend({
  disconnected: onOff.describe('true: those of the organisation that are not connected.'),
});
export const ConnectionListQuery = PageQuery.extend({
  thing: z.uuid().optional().describe('Those of this thing.'),
  channel: z.uuid().optional().describe('Those of this channel.'),
});
export const ConnectionAnswer = z
  .object({ thing_id: z.uuid(), channel_id: z.uuid(), types, created_at: z.iso.datetime() })
  .openapi('Connection');

export const NewGroupBody = z.strictObject({
  id: id.optional(),
  name: text(1_024).optional(),
  parent_id: z.uuid().nullable().optional().describe('The group that it is below; null: none.'),
  description: text(4_096).optional(),
  enabled: z.boolean().optional().describe('False: nothing of it and below it works.'),
  metadata: metadata.optional(),
  tags: tags.optional(),
});
export const GroupPatchBody = NewGroupBody.omit({ id: true });
export const MoveBody = z.strictObject({ parent_id: z.uuid().nullable() });
export const MembersBody = z
  .strictObject({
    thing_ids: z.array(z.uuid()).max(1_000).optional(),
    channel_ids: z.array(z.uuid()).max(1_000).optional(),
  })
  .refine((body) => (body.thing_ids?.length ?? 0) + (body.channel_ids?.length ?? 0) > 0, 'names nothing');
export const MembersAnswer = z.object({ things: z.int(), channels: z.int() });
const group = {
  ...shared,
  parent_id: z.uuid().nullable(),
  ancestors: z.array(z.uuid()).describe('The groups that it is below, from the topmost.'),
  description: z.string(),
  active: z.boolean().describe('False while it or a group above it is disabled.'),
};
export const GroupAnswer = z.object(group).openapi('Group');
export const GroupListQuery = StatusListQuery.extend({
  parent: z
    .union([z.uuid(), z.literal('none')])
    .optional()
    .describe('Those right below this group; none: the topmost.'),
  below: z.uuid().optional().describe('Those anywhere below this group.'),
});
export const TreeQuery = z.object({
  depth: count(32)
    .pipe(z.number().min(1))
    .optional()
    .describe('Levels below the topmost that are told; all if left out.'),
  org: z.uuid().optional().describe('The organisation, if you are a member of several.'),
});
const GroupNode = z
  .object({
    id: z.uuid(),
    name: z.string(),
    enabled: z.boolean(),
    get children() {
      return z.array(GroupNode);
    },
  })
  .openapi('GroupNode');
export const TreeAnswer = z.object({ total: z.int(), groups: z.array(GroupNode) }).openapi('GroupTree');
export const CascadeQuery = z.object({
  cascade: onOff.describe('true: also what is in it that can not be without it.'),
});
export const BranchQuery = PageQuery.extend({ below: onOff.describe('Also those in groups below it.') });
export const GroupRoleBody = z
  .strictObject({
    role: z.enum(['owner', 'admin', 'editor', 'viewer']).optional(),
    role_id: z.uuid().optional().describe('A role that the organisation made.'),
  })
  .refine((body) => (body.role === undefined) !== (body.role_id === undefined), 'needs either role or role_id');
export const GroupRoleAnswer = z
  .object({
    user_id: z.uuid(),
    email: z.string(),
    role: z.string().describe('Its name.'),
    role_id: z.uuid().nullable().describe('null: built in.'),
    created_at: z.iso.datetime(),
  })
  .openapi('GroupRole');

export const bulkThings = bulk(NewThingBody);
export const bulkChannels = bulk(NewChannelBody);
export const ThingsPage = page('things', ThingAnswer);
export const ChannelsPage = page('channels', ChannelAnswer);
export const GroupsMadeAnswer = z.object({ groups: z.array(GroupAnswer) });
export const GroupsPage = page('groups', GroupAnswer);
export const DeletedAnswer = z
  .object({ deleted: z.record(z.string(), z.int()) })
  .describe('What went with it, if you asked by Prefer: return=representation.');
