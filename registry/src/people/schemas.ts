import { z } from '@hono/zod-openapi';
import { orgRoles } from '@millrace/core';
import { id, ListQuery, metadata, page, shared, tags, text } from '../http/schemas.ts';
import { RETENTION_DAYS_MAX } from '../retention/config.ts';
import { invitationStates } from './invitations.ts';
import { isAction } from './roles.ts';

const PICTURE_BYTES_MAX = 64 * 1024;
const LINK_CHARACTERS_MAX = 2_048;

const email = z.email().max(320);
const password = text(256).min(8);
const token = z.string().min(1).max(256);
const name = text(1_024);
const picture = z
  .string()
  .max(PICTURE_BYTES_MAX)
  .refine(isPicture, 'must be an https URL, or data:image/png, jpeg, gif or webp in base64, of 64 KiB at most')
  .nullable()
  .describe('An https URL, or the picture itself: data:image/…;base64,….');
const alias = text(128).regex(
  /^(?![0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$)[\p{L}\p{N}._~-]+$/u,
  'must be no UUID and hold only letters, digits and . _ ~ -',
);

function isPicture(value: string): boolean {
  // No SVG: it can hold scripts.
  if (/^data:image\/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+={0,2}$/.test(value)) return true;
  if (value.length > LINK_CHARACTERS_MAX || !/^https:\/\/[\x21-\x7e]+$/.test(value)) return false;
  const url = URL.canParse(value) ? new URL(value) : null;
  return url !== null && url.username === '' && url.password === '';
}

export const CredentialsBody = z.strictObject({ email: z.string().max(320), password: z.string().max(1_024) });
export const NewUserBody = z.strictObject({
  id: id.optional(),
  email,
  password,
  name: name.optional(),
  invitation: token.optional().describe('Token of an invitation: works also where registration is closed.'),
});
export const RefreshBody = z.strictObject({ refresh_token: z.string().max(256) });
export const PasswordBody = z.strictObject({ old_password: z.string().max(1_024), password });
export const ResetRequestBody = z.strictObject({ email: z.string().max(320) });
export const ResetBody = z.strictObject({ token, password });
export const TokenBody = z.strictObject({ token });
export const EmailBody = z.strictObject({ email, password: z.string().max(1_024).describe('Your password.') });
export const ProfileBody = z.strictObject({
  name: name.optional(),
  picture: picture.optional(),
  metadata: metadata.optional(),
  tags: tags.optional(),
});
export const UserPatchBody = ProfileBody.extend({
  admin: z.boolean().optional().describe('Makes an administrator of the installation, or none.'),
});
const days = z.int().min(1).max(RETENTION_DAYS_MAX).nullable();
export const NewOrgBody = z.strictObject({
  id: id.optional(),
  name: name.min(1),
  alias: alias.nullable().optional().describe('May stand for the id in paths; unique in the installation.'),
  metadata: metadata.optional(),
  tags: tags.optional(),
  retention_days: days
    .optional()
    .describe(
      'Delete what is stored after so long, where a channel does not say otherwise; null: as the installation does.',
    ),
  rollup_retention_days: days.optional().describe('Keep rollups and last values so long, if that is longer.'),
});
export const OrgPatchBody = NewOrgBody.omit({ id: true }).partial();
const roleChoice = {
  role: z.enum(orgRoles).optional().describe('A built-in role.'),
  role_id: z.uuid().optional().describe('A role that the organisation made.'),
};
const oneRole = (body: { role?: string | undefined; role_id?: string | undefined }): boolean =>
  (body.role === undefined) !== (body.role_id === undefined);
export const MemberBody = z.strictObject(roleChoice).refine(oneRole, 'needs either role or role_id');
export const InvitationBody = z.strictObject({ email, ...roleChoice }).refine(oneRole, 'needs either role or role_id');
export const NewRoleBody = z.strictObject({
  id: id.optional(),
  name: text(128)
    .min(1)
    .refine(
      (value) => !(orgRoles as readonly string[]).includes(value.toLowerCase()),
      'is the name of a built-in role',
    ),
  description: text(4_096).optional(),
  actions: z
    .array(z.string().max(64).refine(isAction, 'is no action: publish, subscribe, *, or <entity>.<verb>'))
    .min(1)
    .max(200)
    .describe('`publish`, `subscribe`, `things.read`, `things.*`, `*.read`, `*`.'),
  metadata: metadata.optional(),
  tags: tags.optional(),
});
export const RolePatchBody = NewRoleBody.omit({ id: true }).partial();

const emailPart = text(320).optional().describe('Part of the e-mail, in any case.');
const { org: _org, tags: _tags, ...listQuery } = ListQuery.shape;
const PeopleListQuery = z.object(listQuery);
const { tag: _tag, metadata: _metadata, ...plainQuery } = listQuery;
export const UserListQuery = PeopleListQuery.extend({
  org: z
    .uuid()
    .optional()
    .describe('Members of this organisation; administrators of the installation see all without.'),
  email: emailPart,
  status: z.enum(['enabled', 'disabled', 'all']).optional().describe('all if left out'),
});
export const OrgListQuery = PeopleListQuery.extend({
  status: z.enum(['enabled', 'disabled', 'all']).optional().describe('disabled: frozen. all if left out'),
});
export const MemberListQuery = z.object({
  ...plainQuery,
  email: emailPart,
  role: text(128).optional().describe('Name of a role.'),
});
const { name: _name, ...invitationQuery } = plainQuery;
export const InvitationListQuery = z.object({
  ...invitationQuery,
  email: emailPart,
  status: z
    .enum([...invitationStates, 'all'])
    .optional()
    .describe('pending if left out'),
});
export const MyInvitationsQuery = z.object(invitationQuery);
export const RoleListQuery = z.object({ ...plainQuery, tag: listQuery.tag, org: ListQuery.shape.org });
export const CascadeQuery = z.object({
  cascade: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .optional()
    .describe('Deletes also what depends on it.'),
});

const times = { created_at: shared.created_at, updated_at: shared.updated_at };
export const UserAnswer = z
  .object({
    id: z.uuid(),
    email: z.string(),
    name: z.string(),
    picture: z.string().nullable(),
    admin: z.boolean().describe('Of the installation.'),
    enabled: z.boolean(),
    verified: z.boolean().describe('Whether the address is confirmed.'),
    metadata: shared.metadata,
    tags: shared.tags,
    version: z.int(),
    ...times,
  })
  .openapi('User');
const MembershipAnswer = z.object({
  id: z.uuid(),
  name: z.string(),
  role: z.string().describe('Its name.'),
  role_id: z.uuid().nullable().describe('null: built in.'),
});
export const MeAnswer = UserAnswer.extend({ orgs: z.array(MembershipAnswer) }).openapi('Me');
/** What members of an organisation see of each other. */
export const PersonAnswer = z
  .object({ id: z.uuid(), email: z.string(), name: z.string(), picture: z.string().nullable(), enabled: z.boolean() })
  .openapi('Person');
export const UsersPage = page('users', z.union([UserAnswer, PersonAnswer]));
export const OrgAnswer = z
  .object({
    id: z.uuid(),
    name: z.string(),
    alias: z.string().nullable(),
    frozen: z.boolean().describe('Nothing gets in or out; nothing is lost.'),
    retention_days: z.int().nullable(),
    rollup_retention_days: z.int().nullable(),
    metadata: shared.metadata,
    tags: shared.tags,
    version: z.int(),
    ...times,
  })
  .openapi('Organisation');
export const MemberAnswer = z
  .object({
    id: z.uuid().describe('Of the user.'),
    email: z.string(),
    name: z.string(),
    picture: z.string().nullable(),
    enabled: z.boolean(),
    role: z.string().describe('Its name.'),
    role_id: z.uuid().nullable().describe('null: built in.'),
    created_at: z.iso.datetime().describe('When they became a member.'),
  })
  .openapi('Member');
export const RoleAnswer = z
  .object({
    id: z.uuid(),
    org: z.uuid(),
    name: z.string(),
    description: z.string(),
    actions: z.array(z.string()),
    metadata: shared.metadata,
    tags: shared.tags,
    version: z.int(),
    ...times,
  })
  .openapi('Role');
export const InvitationAnswer = z
  .object({
    id: z.uuid(),
    org: z.uuid(),
    org_name: z.string(),
    email: z.string(),
    role: z.string().describe('Its name.'),
    role_id: z.uuid().nullable().describe('null: built in.'),
    state: z.enum(invitationStates),
    inviter: z.string().nullable(),
    expires_at: z.iso.datetime(),
    created_at: z.iso.datetime(),
  })
  .openapi('Invitation');
export const DeletedAnswer = z.object({ deleted: z.record(z.string(), z.int()) });
