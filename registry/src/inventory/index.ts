import type { Route } from '../http/route.ts';
import type { Parts, Topic } from '../parts.ts';
import { channelRoutes } from './channel-routes.ts';
import { type Channels, createChannels } from './channels.ts';
import { connectionRoutes } from './connection-routes.ts';
import { type Connections, createConnections } from './connections.ts';
import { thingRoutes } from './thing-routes.ts';
import { createThings, type Things } from './things.ts';

/** Things, channels, what connects them, and the groups that they are in. */
export interface Inventory extends Topic {
  readonly things: Things;
  readonly channels: Channels;
  readonly connections: Connections;
}

export function createInventory({ database, feed, credentials }: Parts): Inventory {
  return {
    things: createThings(database, feed, credentials),
    channels: createChannels(database, feed),
    connections: createConnections(database, feed),
  };
}

export const inventoryRoutes: readonly Route[] = [...thingRoutes, ...channelRoutes, ...connectionRoutes];
