import { ProblemAnswer } from '../http/schemas.ts';
import type { Invitation } from './invitations.ts';
import type { Member } from './members.ts';
import type { Org } from './orgs.ts';
import type { Role } from './roles.ts';
import { DeletedAnswer } from './schemas.ts';
import type { Membership, User } from './users.ts';

/** What people's entities look like from outside, and the refusals that their routes have in common. */

export const problem = (description: string) => ({
  description,
  schema: ProblemAnswer,
  type: 'application/problem+json',
});
export const slower = problem('Too many tries; try again after Retry-After.');
export const changedSince = problem('It was changed since: If-Match holds an older ETag.');
export const removed = {
  200: { description: 'It is gone; what went with it (Prefer: return=representation).', schema: DeletedAnswer },
  204: { description: 'It is gone; the header Deleted tells what went with it.' },
};

const times = ({ createdAt, updatedAt }: { readonly createdAt: Date; readonly updatedAt: Date }) => ({
  created_at: createdAt.toISOString(),
  updated_at: updatedAt.toISOString(),
});

export const userAnswer = (user: User) => ({
  id: user.id,
  email: user.email,
  name: user.name,
  picture: user.picture,
  admin: user.admin,
  enabled: user.enabled,
  verified: user.verified,
  metadata: user.metadata,
  tags: user.tags,
  version: user.version,
  ...times(user),
});
export const personAnswer = ({ id, email, name, picture, enabled }: User | Member) => ({
  id,
  email,
  name,
  picture,
  enabled,
});
export const membershipAnswer = ({ org, name, role, roleId }: Membership) => ({ id: org, name, role, role_id: roleId });
export const orgAnswer = (org: Org) => ({
  id: org.id,
  name: org.name,
  alias: org.alias,
  frozen: org.frozen,
  retention_days: org.retentionDays,
  rollup_retention_days: org.rollupRetentionDays,
  metadata: org.metadata,
  tags: org.tags,
  version: org.version,
  ...times(org),
});
export const memberAnswer = (member: Member) => ({
  ...personAnswer(member),
  role: member.role,
  role_id: member.roleId,
  created_at: member.createdAt.toISOString(),
});
export const roleAnswer = (role: Role) => ({
  id: role.id,
  org: role.org,
  name: role.name,
  description: role.description,
  actions: role.actions,
  metadata: role.metadata,
  tags: role.tags,
  version: role.version,
  ...times(role),
});
export const invitationAnswer = (invitation: Invitation) => ({
  id: invitation.id,
  org: invitation.org,
  org_name: invitation.orgName,
  email: invitation.email,
  role: invitation.role,
  role_id: invitation.roleId,
  state: invitation.state,
  inviter: invitation.inviter,
  expires_at: invitation.expiresAt.toISOString(),
  created_at: invitation.createdAt.toISOString(),
});
