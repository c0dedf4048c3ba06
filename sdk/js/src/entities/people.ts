import { Collection, conditions, type DeleteOptions, List, Switchable, type UpdateOptions } from '../collection.ts';
import type { BodyOf, QueryOf, Schema } from '../schema.ts';
import { type CallOptions, type Query, segment, type Transport } from '../transport.ts';
import { type RoleChoice, roleBody } from './inventory.ts';

export type User = Schema<'User'>;
export type Person = Schema<'Person'>;
export type NewUser = BodyOf<'/users', 'post'>;
export type Me = Schema<'Me'>;
export type Org = Schema<'Organisation'>;
export type Member = Schema<'Member'>;
export type Role = Schema<'Role'>;
export type Invitation = Schema<'Invitation'>;

export class Users extends Switchable<
  'users',
  User | Person,
  NewUser,
  BodyOf<'/users/{id}', 'patch'>,
  QueryOf<'/users'>
> {
  constructor(transport: Transport) {
    super(transport, '/users', 'users');
  }

  me(options: CallOptions = {}): Promise<Me> {
    return this.call('GET', '/users/me', { ...options, anyOrg: true });
  }

  updateMe(patch: BodyOf<'/users/me', 'patch'>, { ifVersion, ...options }: UpdateOptions = {}): Promise<Me> {
    return this.call('PATCH', '/users/me', {
      ...options,
      body: patch,
      headers: conditions(ifVersion, options.headers),
    });
  }

  /** Ends all other sessions.  @returns new tokens */
  changePassword(oldPassword: string, password: string, options: CallOptions = {}): Promise<Schema<'Tokens'>> {
    return this.call('PUT', '/users/me/password', { ...options, body: { old_password: oldPassword, password } });
  }

  /** Everywhere: every token of the user is void at once. */
  async logOutEverywhere(options: CallOptions = {}): Promise<void> {
    await this.call('POST', '/users/me/logout', options);
  }

  /** Answers the same whether or not there is such a user. */
  async requestPasswordReset(email: string, options: CallOptions = {}): Promise<void> {
    await this.call('POST', '/password/reset-request', { ...options, body: { email }, anonymous: true });
  }

  access(id: string, query?: Query, options: CallOptions = {}): Promise<Schema<'Access'>> {
    return this.call('GET', this.at(id, 'access'), { ...options, query });
  }

  async resetPassword(token: string, password: string, options: CallOptions = {}): Promise<void> {
    await this.call('POST', '/password/reset', { ...options, body: { token, password }, anonymous: true });
  }
}

export class Orgs extends Collection<
  'orgs',
  Org,
  BodyOf<'/orgs', 'post'>,
  BodyOf<'/orgs/{id}', 'patch'>,
  QueryOf<'/orgs'>
> {
  constructor(transport: Transport) {
    super(transport, '/orgs', 'orgs');
  }

  /** Nothing gets in or out any more, and nothing is lost. */
  freeze(id: string, options: CallOptions = {}): Promise<Org> {
    return this.call('POST', this.at(id, 'freeze'), options);
  }

  unfreeze(id: string, options: CallOptions = {}): Promise<Org> {
    return this.call('POST', this.at(id, 'unfreeze'), options);
  }

  members(org: string): Members {
    return new Members(this.transport, org);
  }

  invitations(org: string): OrgInvitations {
    return new OrgInvitations(this.transport, org);
  }
}

export class Members extends List<'members', Member, Query> {
  constructor(transport: Transport, org: string) {
    super(transport, `/orgs/${segment(org)}/members`, 'members');
  }

  async set(user: string, role: RoleChoice, options: CallOptions = {}): Promise<void> {
    await this.call('PUT', this.at(user), { ...options, body: roleBody(role) });
  }

  async remove(user: string, options: DeleteOptions = {}): Promise<void> {
    await this.call('DELETE', this.at(user), options);
  }
}

export class OrgInvitations extends List<'invitations', Invitation, Query> {
  constructor(transport: Transport, org: string) {
    super(transport, `/orgs/${segment(org)}/invitations`, 'invitations');
  }

  invite(email: string, role: RoleChoice, options: CallOptions = {}): Promise<Invitation> {
    return this.call('POST', this.path, { ...options, body: { email, ...roleBody(role) } });
  }

  async revoke(id: string, options: CallOptions = {}): Promise<void> {
    await this.call('DELETE', this.at(id), options);
  }
}

/** Those that ask for whoever asks. */
export class Invitations extends List<'invitations', Invitation, Query> {
  constructor(transport: Transport) {
    super(transport, '/invitations', 'invitations');
  }

  async accept(id: string, options: CallOptions = {}): Promise<void> {
    await this.call('POST', this.at(id, 'accept'), options);
  }

  async decline(id: string, options: CallOptions = {}): Promise<void> {
    await this.call('POST', this.at(id, 'decline'), options);
  }
}

export class Roles extends Collection<
  'roles',
  Role,
  BodyOf<'/roles', 'post'>,
  BodyOf<'/roles/{id}', 'patch'>,
  QueryOf<'/roles'>
> {
  constructor(transport: Transport) {
    super(transport, '/roles', 'roles');
  }
}
