import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { channelRoutes } from './channel-routes.ts';
import { type Channels, createChannels } from './channels.ts';
import { connectionRoutes } from './connection-routes.ts';
import { type Connections, createConnections } from './connections.ts';
import { groupMemberRoutes } from './group-member-routes.ts';
import { createGroupMembers, type GroupMembers } from './group-members.ts';
import { createGroupRoles, type GroupRoles } from './group-roles.ts';
import { groupRoutes } from './group-routes.ts';
import { type GroupNode, readTree, type TreeQuery } from './group-tree.ts';
import { createGroups, type Groups } from './groups.ts';
import { createPresence, type PresenceStore } from './presence.ts';
import { thingKeyRoutes } from './thing-key-routes.ts';
import { createThingKeys, type ThingKeys } from './thing-keys.ts';
import { thingRoutes } from './thing-routes.ts';
import { createThings, type Things } from './things.ts';

/** Things, channels, what connects them, and the groups that they are in. */
export interface Inventory extends Topic {
  readonly things: Things;
  readonly thingKeys: ThingKeys;
  readonly channels: Channels;
  readonly connections: Connections;
  readonly groups: Groups;
  readonly groupMembers: GroupMembers;
  readonly groupRoles: GroupRoles;
  groupTree(query: TreeQuery): Promise<{ total: number; groups: GroupNode[] }>;
  /** Which things are there. */
  readonly presence: PresenceStore;
}

export function createInventory(parts: Parts): Inventory {
  const { database, feed, credentials, config, node, now, metrics, logger } = parts;
  const everyMs = config.MILLRACE_PRESENCE_WRITE_MS;
  const presence = createPresence({ database, node, now, metrics, logger, everyMs });
  return {
    things: createThings(database, feed, credentials, now),
    thingKeys: createThingKeys(feed, credentials, now),
    channels: createChannels(database, feed),
    connections: createConnections(database, feed),
    groups: createGroups(database, feed),
    groupMembers: createGroupMembers(feed),
    groupRoles: createGroupRoles(database, feed),
    groupTree: (query) => readTree(database, query),
    presence,
    start: async () => presence.start?.(),
    stop: async () => presence.stop?.(),
  };
}

export const inventoryRoutes: readonly Route[] = [
  ...thingRoutes,
  ...thingKeyRoutes,
  ...channelRoutes,
  ...connectionRoutes,
  ...groupRoutes,
  ...groupMemberRoutes,
];
