import { type Credentials, type OrgRole, uuidV7 } from '@millrace/core';
import type { ChangeFeed, ChangeSession } from '../changes.ts';
import type { Session } from '../database/database.ts';
import { RegistryError } from '../error.ts';
import { Conditions, containing, type ListRequest, listPage, type Page } from './listing.ts';
import { invitationMail } from './mail-texts.ts';
import type { Mails } from './mails.ts';
import { lockOrg, placesTaken, putMember } from './members.ts';
import type { RoleReference } from './roles.ts';
import { insertUser, normaliseEmail, type User } from './users.ts';

export const invitationStates = ['pending', 'accepted', 'declined', 'revoked', 'expired'] as const;
export type InvitationState = (typeof invitationStates)[number];
export interface Invitation {
  readonly id: string;
  readonly org: string;
  readonly orgName: string;
  readonly email: string;
  readonly role: string;
  readonly roleId: string | null;
  readonly state: InvitationState;
  /** E-mail of who invites; null if they are gone. */
  readonly inviter: string | null;
  readonly expiresAt: Date;
  readonly createdAt: Date;
}
export interface NewInvitation {
  readonly email: string;
  readonly role: RoleReference;
  readonly inviter: User;
}
export type InvitationRefusal =
  /** No such invitation, or it is answered, revoked or expired. */
  | 'gone'
  /** They are a member already. */
  | 'member'
  /** MILLRACE_MEMBERS_PER_ORG_MAX */
  | 'full'
  /** So many were sent within an hour: by the organisation, by who invites, or to this address. */
  | 'too_many'
  /** It is for another address. */
  | 'other_address';

/** Who is invited: by a token that came by mail, or by the invitation's id and a confirmed address. */
export type Shown = { readonly token: string } | { readonly id: string };

export interface Invitations {
  /** Mails a token; an earlier invitation of the same address is void.  @throws RegistryError REGISTRY_NOT_FOUND role */
  create(org: string, invitation: NewInvitation): Promise<Invitation | InvitationRefusal>;
  list(
    org: string,
    filter: { readonly state?: InvitationState | undefined; readonly email?: string | undefined },
    request: ListRequest,
  ): Promise<Page<Invitation>>;
  /** Those that a confirmed address has and may answer. */
  of(email: string, request: ListRequest): Promise<Page<Invitation>>;
  get(id: string): Promise<Invitation | null>;
  revoke(id: string): Promise<boolean>;
  accept(shown: Shown, user: User): Promise<Invitation | InvitationRefusal>;
  /** @param user null: the token says enough */
  decline(shown: Shown, user: User | null): Promise<Invitation | InvitationRefusal>;
  /** What a token is for. */
  look(token: string): Promise<Invitation | null>;
  /** Registers who is invited, as a member; their address is confirmed by the token. null unless it is good for them.
   *  @throws RegistryError REGISTRY_CONFLICT with field email or id */
  register(
    token: string,
    user: { id?: string | undefined; email: string; password: string; name?: string | undefined },
  ): Promise<User | null>;
}

const DAYS_GOOD = 7;
const AN_HOUR_MAX = 500;
/** To one address, whoever invites: a mailbox can not be filled from many organisations either. */
const TO_ONE_AN_HOUR_MAX = 10;
const SENT = `SELECT (SELECT count(*)::integer FROM registry.invitations WHERE org = $1 AND created_at > now() - interval '1 hour') AS "byOrg",
  (SELECT count(*)::integer FROM registry.invitations WHERE inviter = $2 AND created_at > now() - interval '1 hour') AS "byInviter",
  (SELECT count(*)::integer FROM registry.invitations WHERE email = $3 AND created_at > now() - interval '1 hour') AS "toAddress"`;
const STATE = `CASE WHEN invitations.state = 'pending' AND invitations.expires_at <= now() THEN 'expired' ELSE invitations.state END`;
const COLUMNS = `invitations.id, invitations.org, orgs.name AS "orgName", invitations.email,
  coalesce(invitations.role, roles.name) AS role, invitations.custom_role AS "roleId", ${STATE} AS state,
  users.email AS inviter, invitations.expires_at AS "expiresAt", invitations.created_at AS "createdAt"`;
const FROM = `registry.invitations JOIN registry.orgs ON orgs.id = invitations.org
  LEFT JOIN registry.roles ON roles.id = invitations.custom_role LEFT JOIN registry.users ON users.id = invitations.inviter`;
const SOURCE = {
  columns: COLUMNS,
  from: FROM,
  id: 'invitations.id',
  order: { created: 'invitations.created_at', updated: 'invitations.updated_at', name: 'invitations.email' },
} as const;

interface InvitationParts {
  readonly session: Session;
  readonly feed: ChangeFeed;
  readonly credentials: Credentials;
  readonly mails: Mails;
  readonly publicUrl: () => string;
  readonly membersMax: number;
}

export function createInvitations(parts: InvitationParts): Invitations {
  const { session, feed, credentials, mails, publicUrl, membersMax } = parts;
  const one = async (tx: Session, id: string): Promise<Invitation | null> =>
    (await tx.query<Invitation>(`SELECT ${COLUMNS} FROM ${FROM} WHERE invitations.id = $1`, [id]))[0] ?? null;
  /** An invitation that can be answered, locked. */
  const open = async (
    tx: Session,
    shown: Shown,
  ): Promise<(RoleReference & { id: string; org: string; email: string }) | null> => {
    const [column, value] = 'token' in shown ? ['digest', credentials.digest(shown.token)] : ['id', shown.id];
    const [found] = await tx.query<RoleReference & { id: string; org: string; email: string }>(
      `SELECT id, org, email, role, custom_role AS "roleId" FROM registry.invitations
       WHERE ${column} = $1 AND state = 'pending' AND expires_at > now() FOR UPDATE`,
      [value],
    );
    return found ?? null;
  };
  const settle = async (tx: ChangeSession, id: string, state: 'accepted' | 'declined' | 'revoked'): Promise<void> => {
    const [row] = await tx.query<{ org: string; email: string }>(
      `UPDATE registry.invitations SET state = $2, digest = NULL, updated_at = now() WHERE id = $1 RETURNING org, email`,
      [id, state],
    );
    const verb = { accepted: 'accept', declined: 'decline', revoked: 'delete' }[state];
    const audited = { action: `invitations.${verb}`, entity: 'invitations', id, org: row?.org ?? null };
    tx.audit({ ...audited, detail: { email: row?.email } });
  };

  return {
    create: (org, { email, role, inviter }) =>
      feed.transaction(async (tx) => {
        if (!(await lockOrg(tx, org))) return 'gone';
        const to = normaliseEmail(email);
        const member = `SELECT 1 FROM registry.memberships JOIN registry.users ON users.id = user_id WHERE org = $1 AND email = $2`;
        if ((await tx.query(member, [org, to])).length > 0) return 'member';
        if ((await placesTaken(tx, org)) >= membersMax) return 'full';
        const sent = await tx.query<{ byOrg: number; byInviter: number; toAddress: number }>(SENT, [
          org,
          inviter.id,
          to,
        ]);
        for (const { byOrg, byInviter, toAddress } of sent)
          if (Math.max(byOrg, byInviter) >= AN_HOUR_MAX || toAddress >= TO_ONE_AN_HOUR_MAX) return 'too_many';
        await tx.query(
          `UPDATE registry.invitations SET state = 'revoked', digest = NULL, updated_at = now()
           WHERE org = $1 AND email = $2 AND state = 'pending'`,
          [org, to],
        );
        const id = uuidV7();
        const token = credentials.newKey();
        await tx.query(
          `INSERT INTO registry.invitations (id, org, email, role, custom_role, digest, inviter, expires_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8 * interval '1 day')`,
          [id, org, to, role.role, role.roleId, credentials.digest(token), inviter.id, DAYS_GOOD],
        );
        const made = await one(tx, id);
        if (made === null) return 'gone';
        const told = { token, org: made.orgName, role: made.role, inviter: inviter.name || inviter.email };
        if (!(await mails.put(tx, invitationMail(publicUrl(), to, told))))
          throw new RegistryError('REGISTRY_UNREACHABLE', 'later', { mails: 'too many wait' });
        const detail = { email: to, role: made.role };
        tx.audit({ action: 'invitations.create', entity: 'invitations', id, org, detail });
        return made;
      }),

    list(org, { state, email }, request) {
      const conditions = new Conditions().add((value) => `invitations.org = ${value}`, org);
      if (state !== undefined) conditions.add((value) => `${STATE} = ${value}`, state);
      if (email !== undefined) conditions.add((value) => `invitations.email ILIKE ${value}`, containing(email));
      return listPage<Invitation>(session, SOURCE, conditions, request);
    },

    of(email, request) {
      const conditions = new Conditions().add(
        (value) => `invitations.email = ${value} AND invitations.state = 'pending' AND invitations.expires_at > now()`,
        email,
      );
      return listPage<Invitation>(session, SOURCE, conditions, request);
    },

    get: (id) => one(session, id),

    revoke: (id) =>
      feed.transaction(async (tx) => {
        if ((await open(tx, { id })) === null) return false;
        await settle(tx, id, 'revoked');
        return true;
      }),

    accept: (shown, user) =>
      feed.transaction(async (tx) => {
        const invitation = await open(tx, shown);
        if (invitation === null) return 'gone';
        if (invitation.email !== user.email) return 'other_address';
        if ('token' in shown) await confirmAddress(tx, user.id);
        const member = 'SELECT 1 FROM registry.memberships WHERE org = $1 AND user_id = $2';
        await settle(tx, invitation.id, 'accepted');
        // Who became a member in another way keeps the role that they were given there.
        if ((await tx.query(member, [invitation.org, user.id])).length === 0) await join(tx, invitation, user);
        return (await one(tx, invitation.id)) ?? 'gone';
      }),

    decline: (shown, user) =>
      feed.transaction(async (tx) => {
        const invitation = await open(tx, shown);
        if (invitation === null) return 'gone';
        if (user !== null && invitation.email !== user.email) return 'other_address';
        await settle(tx, invitation.id, 'declined');
        return (await one(tx, invitation.id)) ?? 'gone';
      }),

    async look(token) {
      const found = await session.query<Invitation>(
        `SELECT ${COLUMNS} FROM ${FROM} WHERE digest = $1 AND invitations.state = 'pending' AND invitations.expires_at > now()`,
        [credentials.digest(token)],
      );
      return found[0] ?? null;
    },

    async register(token, { id, email, password, name }) {
      const to = normaliseEmail(email);
      // A hash is dear: not for who just guesses.
      if ((await this.look(token))?.email !== to) return null;
      const hash = await credentials.hashPassword(password);
      return feed.transaction(async (tx) => {
        const invitation = await open(tx, { token });
        if (invitation === null || invitation.email !== to) return null;
        const user = await insertUser(tx, { id, email: to, hash, admin: false, name, verified: true });
        await settle(tx, invitation.id, 'accepted');
        await join(tx, invitation, user);
        return user;
      });
    },
  };
}

const confirmAddress = (tx: Session, user: string): Promise<unknown> =>
  tx.query('UPDATE registry.users SET email_verified_at = coalesce(email_verified_at, now()) WHERE id = $1', [user]);

async function join(
  tx: ChangeSession,
  invitation: RoleReference & { readonly org: string },
  user: User,
): Promise<void> {
  const role: OrgRole | null = invitation.role;
  await putMember(tx, invitation.org, user.id, invitation);
  const detail = { email: user.email, ...(role === null ? { role_id: invitation.roleId } : { role }) };
  tx.audit({ action: 'members.create', entity: 'members', id: user.id, org: invitation.org, detail });
}
