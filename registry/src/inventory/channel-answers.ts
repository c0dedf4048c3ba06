import type { z } from '@hono/zod-openapi';
import type { ChannelLimits, ChannelProfile } from '@millrace/core';
import type { Channel, ChannelPatch, NewChannel } from './channels.ts';
import type { ChannelPatchBody, NewChannelBody } from './schemas.ts';

type Body = z.output<typeof ChannelPatchBody>;

export function channelAnswer(channel: Channel) {
  return {
    id: channel.id,
    org: channel.org,
    name: channel.name,
    alias: channel.alias,
    enabled: channel.enabled,
    metadata: channel.metadata,
    tags: channel.tags,
    content_type: channel.contentType,
    group_id: channel.groupId,
    profile: profileAnswer(channel.profile),
    limits: limitsAnswer(channel.limits),
    version: channel.version,
    created_at: channel.createdAt.toISOString(),
    updated_at: channel.updatedAt.toISOString(),
  };
}

// JSON leaves out what is undefined.
export const profileAnswer = (profile: ChannelProfile) => ({
  time_field: profile.timeField,
  time_format: profile.timeFormat,
  fields: profile.fields,
  keep_raw: profile.keepRaw,
  retention_days: profile.retentionDays,
  rollup_retention_days: profile.rollupRetentionDays,
});
export const limitsAnswer = (limits: ChannelLimits) => ({
  messages_per_second: limits.messagesPerSecond,
  payload_bytes_max: limits.payloadBytesMax,
});

export function profileOf(body: NonNullable<Body['profile']>): ChannelProfile {
  return present({
    timeField: body.time_field,
    timeFormat: body.time_format,
    fields: body.fields,
    keepRaw: body.keep_raw,
    retentionDays: body.retention_days,
    rollupRetentionDays: body.rollup_retention_days,
  });
}
export function limitsOf(body: NonNullable<Body['limits']>): ChannelLimits {
  return present({ messagesPerSecond: body.messages_per_second, payloadBytesMax: body.payload_bytes_max });
}

export const channelPatch = ({ content_type, group_id, profile, limits, ...rest }: Body): ChannelPatch => ({
  ...rest,
  contentType: content_type,
  groupId: group_id,
  profile: profile === undefined ? undefined : profileOf(profile),
  limits: limits === undefined ? undefined : limitsOf(limits),
});
export const newChannel = ({ id, ...rest }: z.output<typeof NewChannelBody>): NewChannel => ({
  id,
  ...channelPatch(rest),
});

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };
/** Without the members that are undefined. */
export const present = <T extends object>(value: T): Present<T> =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Present<T>;
