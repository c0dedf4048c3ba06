import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { channelRoutes } from './channel-routes.ts';
import { type Channels, createChannels } from './channels.ts';
import { connectionRoutes } from './connection-routes.ts';
import { type Connections, createConnections } from './connections.ts';
import { createPresence, type PresenceStore } from './presence.ts';
import { thingRoutes } from './thing-routes.ts';
import { createThings, type Things } from './things.ts';

/** Things, channels, what connects them, and the groups that they are in. */
export interface Inventory extends Topic {
  readonly things: Things;
  readonly channels: Channels;
  readonly connections: Connections;
  /** Which things are there. */
  readonly presence: PresenceStore;
}

export function createInventory(parts: Parts): Inventory {
  const { database, feed, credentials, config, node, now, metrics, logger } = parts;
  const everyMs = config.MILLRACE_PRESENCE_WRITE_MS;
  const presence = createPresence({ database, node, now, metrics, logger, everyMs });
  return {
    things: createThings(database, feed, credentials),
    channels: createChannels(database, feed),
    connections: createConnections(database, feed),
    presence,
    start: async () => presence.start?.(),
    stop: async () => presence.stop?.(),
  };
}

export const inventoryRoutes: readonly Route[] = [...thingRoutes, ...channelRoutes, ...connectionRoutes];
