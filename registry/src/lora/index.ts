import type { LoraDirectory } from '@millrace/core';
import type { Route } from '../http/route.ts';
import type { Inventory } from '../inventory/index.ts';
import type { Parts, Topic } from '../parts.ts';
import { codecRoutes } from './codec-routes.ts';
import { codecTestRoute } from './codec-test-route.ts';
import { type CodecStore, createCodecs } from './codecs.ts';
import { createLoraDirectory } from './directory.ts';
import { createNetworkServers, type NetworkServers } from './network-servers.ts';
import { createProvisioner, type Provisioner } from './provisioning.ts';
import { networkServerRoutes } from './server-routes.ts';
import { createServerStates, type ServerStates } from './server-states.ts';

/** LoRaWAN: the network servers of organisations, codecs, and who is who there. */
export interface Lora extends Topic {
  readonly directory: LoraDirectory;
  readonly servers: NetworkServers;
  readonly states: ServerStates;
  readonly provisioner: Provisioner;
  readonly codecs: CodecStore;
}

export function createLora(parts: Parts, { things, connections }: Pick<Inventory, 'things' | 'connections'>): Lora {
  const { database: session, feed, credentials, config, node, now, logger } = parts;
  const perOrgMax = config.MILLRACE_NETWORK_SERVERS_PER_ORG_MAX;
  const servers = createNetworkServers({ session, feed, credentials, perOrgMax, logger });
  const codecs = createCodecs(session, feed, config.MILLRACE_CODECS_PER_ORG_MAX);
  const provisioner = createProvisioner({ session, feed, things, connections, now, logger });
  const states = createServerStates({ session, node, now, logger });
  return {
    directory: createLoraDirectory({ session, feed, servers, codecs, provisioner, states, logger }),
    servers,
    states,
    provisioner,
    codecs,
    start: async () => states.start(),
    stop: () => states.stop(),
  };
}

export const loraRoutes: readonly Route[] = [...networkServerRoutes, ...codecRoutes, codecTestRoute];
