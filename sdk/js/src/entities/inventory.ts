import { createInBulk, List, type ManyOptions, Switchable } from '../collection.ts';
import { everyItem } from '../pages.ts';
import type { BodyOf, Page, QueryOf, Schema } from '../schema.ts';
import { type CallOptions, type Query, segment, type Transport } from '../transport.ts';
import type { Job } from './platform.ts';

export type Thing = Schema<'Thing'>;
export type NewThing = BodyOf<'/things', 'post'>;
export type ThingPatch = BodyOf<'/things/{id}', 'patch'>;
export type ThingFilter = QueryOf<'/things'>;
export type Channel = Schema<'Channel'>;
export type NewChannel = BodyOf<'/channels', 'post'>;
export type ChannelPatch = BodyOf<'/channels/{id}', 'patch'>;
export type ChannelFilter = QueryOf<'/channels'>;
export type Group = Schema<'Group'>;
export type NewGroup = BodyOf<'/groups', 'post'>;
export type GroupPatch = BodyOf<'/groups/{id}', 'patch'>;
export type GroupFilter = QueryOf<'/groups'>;
export type Connected = Schema<'Connected'>;
export type MessageRight = 'publish' | 'subscribe';

export interface RotateOptions extends CallOptions {
  /** The new key; left out, one is made. */
  readonly key?: string;
  /** For so long the old key is taken too, and open sessions live on. @units s */
  readonly overlapSeconds?: number;
}

export class Things extends Switchable<'things', Thing, NewThing, ThingPatch, ThingFilter> {
  constructor(transport: Transport) {
    super(transport, '/things', 'things');
  }

  /** In calls of up to 1,000, each of which makes all of its or none. */
  createMany(bodies: readonly NewThing[], options: ManyOptions = {}): Promise<Thing[]> {
    return createInBulk(bodies, options, async (chunk) => {
      const { things } = await this.call<{ things: Thing[] }>('POST', '/things/bulk', { ...options, body: chunk });
      return things;
    });
  }

  /** More than 1,000 at once: a job of the node, which outlives this program. See `jobs.wait`. */
  createByJob(bodies: readonly NewThing[], options: CallOptions = {}): Promise<Job> {
    return this.call('POST', `${this.path}/bulk`, { ...options, body: bodies });
  }

  /** A new key; the old one is void at once unless an overlap is asked for. */
  rotateKey(id: string, { key, overlapSeconds, ...options }: RotateOptions = {}): Promise<Thing> {
    const body = {
      ...(key === undefined ? {} : { key }),
      ...(overlapSeconds === undefined ? {} : { overlap_seconds: overlapSeconds }),
    };
    return this.call('POST', this.at(id, 'key'), { ...options, body });
  }

  /** What a thing may do, and by which rule. */
  access(id: string, query?: Query, options: CallOptions = {}): Promise<Schema<'Access'>> {
    return this.call('GET', this.at(id, 'access'), { ...options, query });
  }

  /** Whether it is connected, since when, by what. */
  presence(id: string, options: CallOptions = {}): Promise<Schema<'Presence'>> {
    return this.call('GET', this.at(id, 'presence'), options);
  }

  /** Channels that it is connected with. */
  channels(id: string, options: CallOptions = {}): AsyncGenerator<Connected, void, undefined> {
    return everyItem({}, 'channels', (query) => this.call('GET', this.at(id, 'channels'), { ...options, query }));
  }
}

export class Channels extends Switchable<'channels', Channel, NewChannel, ChannelPatch, ChannelFilter> {
  constructor(transport: Transport) {
    super(transport, '/channels', 'channels');
  }

  /** In calls of up to 1,000, each of which makes all of its or none. */
  createMany(bodies: readonly NewChannel[], options: ManyOptions = {}): Promise<Channel[]> {
    return createInBulk(bodies, options, async (chunk) => {
      const body = { ...options, body: chunk };
      const { channels } = await this.call<{ channels: Channel[] }>('POST', '/channels/bulk', body);
      return channels;
    });
  }

  /** More than 1,000 at once: a job of the node, which outlives this program. See `jobs.wait`. */
  createByJob(bodies: readonly NewChannel[], options: CallOptions = {}): Promise<Job> {
    return this.call('POST', `${this.path}/bulk`, { ...options, body: bodies });
  }

  /** Things that are connected with it. */
  things(id: string, options: CallOptions = {}): AsyncGenerator<Connected, void, undefined> {
    return everyItem({}, 'things', (query) => this.call('GET', this.at(id, 'things'), { ...options, query }));
  }
}

export interface Pairs {
  readonly things: readonly string[];
  /** Ids or aliases. */
  readonly channels: readonly string[];
  /** Both if left out. */
  readonly types?: readonly MessageRight[];
}

export type Connection = Schema<'Connection'>;

export class Connections extends List<'connections', Connection, QueryOf<'/connections'>> {
  constructor(transport: Transport) {
    super(transport, '/connections', 'connections');
  }

  /** Connects each thing with each channel; doing it again changes nothing. */
  async connect(pairs: Pairs, options: CallOptions = {}): Promise<void> {
    await this.call('POST', '/connect', { ...options, body: bodyOf(pairs) });
  }

  /** Takes effect at once, also on sessions that are open. */
  async disconnect(pairs: Pairs, options: CallOptions = {}): Promise<void> {
    await this.call('POST', '/disconnect', { ...options, body: bodyOf(pairs) });
  }
}

const bodyOf = ({ things, channels, types }: Pairs) => ({
  thing_ids: things,
  channel_ids: channels,
  ...(types === undefined ? {} : { types }),
});

export class Groups extends Switchable<'groups', Group, NewGroup, GroupPatch, GroupFilter> {
  constructor(transport: Transport) {
    super(transport, '/groups', 'groups');
  }

  /** The branch below a group, or all that the organisation has. */
  tree(id?: string, query?: Query, options: CallOptions = {}): Promise<Schema<'GroupTree'>> {
    return this.call('GET', id === undefined ? `${this.path}/tree` : this.at(id, 'tree'), { ...options, query });
  }

  children(id: string, query?: Query, options: CallOptions = {}): Promise<Page<'groups', Group>> {
    return this.call('GET', this.at(id, 'children'), { ...options, query });
  }

  /** With all that is below it.  @param parent null: to the top */
  move(id: string, parent: string | null, options: CallOptions = {}): Promise<Group> {
    return this.call('POST', this.at(id, 'move'), { ...options, body: { parent_id: parent } });
  }

  /** Puts things and channels into a group; they leave the one that they are in. */
  async add(
    id: string,
    members: { readonly things?: readonly string[]; readonly channels?: readonly string[] },
    options: CallOptions = {},
  ): Promise<void> {
    const { things, channels } = members;
    const body = {
      ...(things === undefined ? {} : { thing_ids: things }),
      ...(channels === undefined ? {} : { channel_ids: channels }),
    };
    await this.call('POST', this.at(id, 'members'), { ...options, body });
  }

  async remove(id: string, kind: 'things' | 'channels', member: string, options: CallOptions = {}): Promise<void> {
    await this.call('DELETE', this.at(id, kind, segment(member)), options);
  }

  /** @param query `below: true` for the whole branch */
  things(id: string, query: Query = {}, options: CallOptions = {}): AsyncGenerator<Thing, void, undefined> {
    return everyItem(query, 'things', (page) => this.call('GET', this.at(id, 'things'), { ...options, query: page }));
  }

  channels(id: string, query: Query = {}, options: CallOptions = {}): AsyncGenerator<Channel, void, undefined> {
    return everyItem(query, 'channels', (page) =>
      this.call('GET', this.at(id, 'channels'), { ...options, query: page }),
    );
  }

  /** Who has which role in the group and below it. */
  roles(id: string, query?: Query, options: CallOptions = {}): Promise<Page<'roles', Schema<'GroupRole'>>> {
    return this.call('GET', this.at(id, 'roles'), { ...options, query });
  }

  async setRole(id: string, user: string, role: RoleChoice, options: CallOptions = {}): Promise<void> {
    await this.call('PUT', this.at(id, 'roles', segment(user)), { ...options, body: roleBody(role) });
  }

  async removeRole(id: string, user: string, options: CallOptions = {}): Promise<void> {
    await this.call('DELETE', this.at(id, 'roles', segment(user)), options);
  }
}

/** A built-in role by its name, or one that the organisation made by its id. */
export type RoleChoice = 'owner' | 'admin' | 'editor' | 'viewer' | { readonly id: string };

export const roleBody = (role: RoleChoice) => (typeof role === 'string' ? { role } : { role_id: role.id });
